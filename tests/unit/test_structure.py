"""The architecture as docs/architecture.md draws it: imports point down, and a name means one thing."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import clipsieve

ROOT = Path(clipsieve.__file__).parent

#: From the ground up: what stands here imports only what stands before it, at the top of a file, in a
#: function or for type checkers. A lazy path ("module:function") in a registry is no import: there
#: a record names what is built later from above.
FLOORS = (
    *("errors", "threads", "versions", "geometry", "families"),
    *("io", "images", "datasets", "generation", "config", "encoders", "probes", "selection"),
    *("evaluation", "audits", "interpretation", "detector", "report"),
    *("provenance", "demo", "run", "cli", "__init__", "__main__"),
)

#: File names that occur more than once. The list may only become shorter: a name for a command (one
#: module each, called like its rule) may occur once elsewhere, where the command's work is done.
REPEATED = {
    **{"align.py": 2, "catalogue.py": 2, "concepts.py": 2, "doctor.py": 2},
    **{"encoder.py": 2, "errors.py": 2, "evaluate.py": 2, "facts.py": 2, "fetch.py": 2},
    **{"files.py": 2, "gallery.py": 2, "geometry.py": 2, "heads.py": 2, "leaderboard.py": 3},
    **{"newton.py": 2, "pairs.py": 2, "photographs.py": 2, "prompts.py": 2, "ranking.py": 2},
    **{"ranks.py": 2, "records.py": 2, "robustness.py": 2, "scan.py": 2, "scores.py": 2},
    **{"search.py": 2, "transfer.py": 2},
}


def modules() -> dict[str, Path]:
    """Dotted name below clipsieve -> file; a package's `__init__` has the package's name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        inner = parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts
        found[".".join(inner)] = path
    return found


MODULES = modules()


def imported(module: str) -> set[str]:
    """Modules of clipsieve that a module imports anywhere in its file."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            base = ""
        else:
            continue
        for name in names:
            if name.split(".")[0] != "clipsieve":
                continue
            inner = name.partition(".")[2]
            if inner not in MODULES:  # a function of the module, or the package's __version__
                inner = base.partition(".")[2]
            if inner and inner != module:
                found.add(inner)
    return found


IMPORTS = {module: imported(module) for module in MODULES}


def package_of(module: str) -> str:
    """The innermost package (or the module itself at the root)."""
    if MODULES[module].name == "__init__.py" or "." not in module:
        return module
    return module.rpartition(".")[0]


def test_every_part_has_a_floor():
    assert sorted({module.split(".")[0] for module in MODULES}) == sorted(FLOORS)


def test_no_import_runs_up():
    up = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if FLOORS.index(module.split(".")[0]) < FLOORS.index(other.split(".")[0])
    ]
    assert not up


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other, by plain search from every node."""

    def reached(start: str) -> set[str]:
        seen, left = set(), [start]
        while left:
            for node in edges.get(left.pop(), ()):
                if node not in seen:
                    seen.add(node)
                    left.append(node)
        return seen

    reach = {node: reached(node) for node in edges}
    groups = {
        tuple(sorted({node} | {other for other in reach[node] if node in reach.get(other, ())}))
        for node in edges
        if node in reach[node]
    }
    return sorted(map(list, groups))


def test_cycles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"b"}, "b": {"c"}}) == []


def test_no_two_modules_import_each_other():
    assert cycles(IMPORTS) == []


def test_no_two_packages_within_a_package_import_each_other():
    """Beside the floors: a package and those within it are one idea, but its parts have an order."""
    edges: dict[str, set[str]] = defaultdict(set)
    for module, others in IMPORTS.items():
        mine = package_of(module)
        for theirs in map(package_of, others):
            if not f"{mine}.".startswith(f"{theirs}.") and not theirs.startswith(f"{mine}."):
                edges[mine].add(theirs)
    assert {"report.figures", "report.html", "selection.greedy"} <= edges.keys() | set().union(
        *edges.values()
    )
    assert cycles(edges) == []


def test_few_modules_stand_below_the_package_itself():
    own = sorted(path.name for path in ROOT.glob("*.py") if path.name != "__init__.py")
    assert len(own) <= 8, own


@pytest.mark.parametrize("library", ["scipy", "sklearn", "numba", "torch"])
def test_io_knows_no_statistics(library):
    for module in MODULES:
        if module.split(".")[0] == "io":
            for node in ast.walk(ast.parse(MODULES[module].read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert library not in {name.split(".")[0] for name in names}, module


def test_a_file_name_is_used_once():
    counts = Counter(path.name for path in MODULES.values() if path.name != "__init__.py")
    assert {name: n for name, n in counts.items() if n > 1} == REPEATED


def test_files_are_short():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for path in MODULES.values()
    }
    long = {name: n for name, n in lengths.items() if n > 400}
    assert not long, "divide it: a file of this length has more than one idea"
