"""What counts as an edit of a command: on a small package, then on this one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import clipsieve
from clipsieve import families
from clipsieve.images.perturbations.records import RECORDS
from clipsieve.provenance.closure import Package, code_of
from clipsieve.report import registry

FILES = {
    "__init__.py": '__version__ = "1"\n',
    "cli/__init__.py": "",
    "cli/apply.py": """\
        '''Help of the command.'''
        import logging
        from typing import TYPE_CHECKING

        from small.cli import shared
        from small.maths import double, unused

        if TYPE_CHECKING:
            from small import heavy

        LIMIT, OTHER = 3, 4

        def add_arguments(parser):
            shared.add_file(parser)

        def run(args):
            '''Do it.'''
            from small.face import lazy_one

            # a comment
            return lazy_one(double(LIMIT))
        """,
    "cli/shared.py": "def add_file(parser): return 1\n\ndef add_other(parser): return 2\n",
    "cli/build.py": """\
        from small.records import builder

        def run(args):
            return builder(args.name)(args)

        def add_arguments(parser): pass
        """,
    "cli/title.py": """\
        from small.records import RECORDS

        def run(args):
            return sorted(RECORDS)

        def add_arguments(parser): pass
        """,
    "records.py": """\
        import importlib

        RECORDS = {"page": "pages:page", "sheet": "small.pages:sheet"}

        def builder(name):
            module, _, attribute = RECORDS[name].partition(":")
            return getattr(importlib.import_module(f"small.{module}"), attribute)
        """,
    "pages.py": """\
        from pathlib import Path

        def page(args):
            return (Path(__file__).parent / "styles" / "page.css").read_text()

        def sheet(args): return 0

        def other(args): return 1
        """,
    "styles/page.css": "a {}\n",
    "maths.py": """\
        SCALE = 2
        TABLE = {}

        class Number:
            def __init__(self, value): self.value = value
            def times(self, factor): return Number(self.value * factor)

        def double(x): return Number(x).times(SCALE)

        def unused(x): return helper(x)

        def helper(x): return x

        TABLE["double"] = 1
        """,
    "face/__init__.py": "from small.face.one import lazy_one\nfrom small.face.two import never\n",
    "face/one.py": "def lazy_one(x): return [y for y in x if y in {'a', 'b', 'c'}]\n",
    "face/two.py": "def never(): return 1\n",
    "heavy.py": "def f(): return 1\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(" " * 8) for line in text.split("\n")))
    return tmp_path / "small"


def hashes(folder):
    package = Package(folder)
    return {name: package.hash_of(f"small.cli.{name}") for name in ("apply", "build", "title")}


def edit(folder, name, old, new):
    text = (folder / name).read_text()
    assert text.count(old) == 1
    (folder / name).write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("cli/apply.py", "# a comment", "# another", set()),
        ("cli/apply.py", "'''Do it.'''", "'''Do it, or not.'''", set()),
        ("cli/apply.py", "'''Do it.'''", "", set()),
        ("cli/apply.py", "'''Help of the command.'''", "'''Other.'''\n\n\n", set()),
        ("cli/apply.py", "double(LIMIT)", "double(\n        LIMIT\n    )", set()),
        ("cli/apply.py", "double(LIMIT)", "double(LIMIT + 1)", {"apply"}),
        ("cli/apply.py", "LIMIT, OTHER = 3, 4", "LIMIT, OTHER = 5, 4", {"apply"}),
        # reached through a lazy import of a package's face, which has another function as well
        ("face/one.py", "if y", "if not y", {"apply"}),
        ("face/two.py", "return 1", "return 2", set()),
        ("face/__init__.py", "from small.face.two import never\n", "", set()),
        # reached through an alias of its module, which has another function as well
        ("cli/shared.py", "return 1", "return 3", {"apply"}),
        ("cli/shared.py", "return 2", "return 3", set()),
        # a constant, a method and a statement of a module, and functions that nothing calls
        ("maths.py", "SCALE = 2", "SCALE = 3", {"apply"}),
        ("maths.py", "value * factor", "value + factor", {"apply"}),
        ("maths.py", '["double"] = 1', '["double"] = 2', {"apply"}),
        ("maths.py", "return helper(x)", "return helper(x + 1)", set()),
        ("maths.py", "def unused(x)", "def fresh(): return 5\n\ndef unused(x)", set()),
        # lazy paths count for the command that resolves them
        ("pages.py", "return 0", "return 2", {"build"}),
        ("pages.py", "return 1", "return 2", set()),
        ("styles/page.css", "a {}", "a {color: red}", {"build"}),
        ("records.py", '"page": ', '"leaf": ', {"build", "title"}),
        ("records.py", 'f"small.{module}"', 'f"{module}"', {"build"}),
        # imported for a type checker, and not at all
        ("heavy.py", "return 1", "return 2", set()),
        ("__init__.py", '"1"', '"2"', set()),
    ],
)
def test_an_edit_counts_for_the_commands_that_can_reach_it(folder, name, old, new, changed):
    before = hashes(folder)
    edit(folder, name, old, new)
    after = hashes(folder)
    assert {command for command in before if before[command] != after[command]} == changed


def test_another_import_of_the_same_name_is_an_edit(folder):
    before = hashes(folder)
    edit(
        folder, "face/__init__.py", "face.one import lazy_one", "face.two import never as lazy_one"
    )
    assert hashes(folder)["apply"] != before["apply"]


def test_a_moved_file_and_another_data_file_are_edits(folder):
    before = hashes(folder)
    (folder / "styles/more.css").write_text("b {}\n")
    assert hashes(folder)["build"] != before["build"]
    (folder / "styles/more.css").unlink()
    assert hashes(folder) == before


def test_a_command_that_is_not_there_is_refused(folder):
    with pytest.raises(ValueError, match="nothing"):
        code_of("nothing")


def test_the_hash_is_the_same_in_every_process_and_folder(tmp_path):
    """Sets are written in another order in each process."""
    program = "from clipsieve.provenance.closure import code_of; print(code_of('evaluate'))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed}, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert printed == {code_of("evaluate") + "\n"}


def commands() -> list[str]:
    folder = Path(clipsieve.__file__).parent / "cli"
    found = []
    for path in sorted(folder.glob("*.py")):
        names = {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}
        if "run" in names:
            found.append(path.stem)
    return found


def test_all_commands_are_hashed_in_a_fraction_of_a_second():
    """The Snakefile does it each time that it is parsed; 0.2 s on an idle machine, with room for a busy one."""
    program = (
        "import time; from clipsieve.provenance.closure import code_of\n"
        "start = time.process_time()\n"
        f"for name in {commands()!r}: code_of(name)\n"
        "print(time.process_time() - start)"
    )
    call = [sys.executable, "-c", program]
    seconds = min(float(subprocess.check_output(call, text=True)) for _ in range(3))
    assert seconds < 1


def test_every_function_of_a_command_is_followed_to_its_modules():
    """Against a plain reading of imports: what a command imports in `run` is among what it reaches."""
    package = Package(Path(clipsieve.__file__).parent)
    for name in commands():
        tree = ast.parse((package.folder / "cli" / f"{name}.py").read_text())
        (run,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
        reached = package.reached(f"clipsieve.cli.{name}")
        for node in ast.walk(run):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clipsieve."):
                for alias in node.names:
                    target = package.resolve(node.module, alias.name)
                    assert target is not None, (name, alias.name)
                    start = f"{target[0]}:{target[1]}"
                    assert any(key.startswith(start) for key in reached), (name, alias.name)


def test_no_module_is_imported_relatively():
    """The closure reads absolute imports only."""
    for path in Path(clipsieve.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_a_docstring_added_before_a_try_is_no_edit(folder):
    """Compiling leaves a trace of a removed docstring, which moves the addresses of handlers."""
    plain = (
        "def lazy_one(x):\n    try:\n        return x[0]\n    except KeyError:\n        return 1\n"
    )
    (folder / "face/one.py").write_text(plain)
    before = hashes(folder)
    (folder / "face/one.py").write_text(plain.replace("(x):\n", "(x):\n    '''Text.'''\n"))
    assert hashes(folder) == before
    (folder / "face/one.py").write_text(plain.replace("x[0]\n", "x[0]\n        f()\n"))
    assert hashes(folder) != before


def reached(command):
    return set(Package(Path(clipsieve.__file__).parent).reached(f"clipsieve.cli.{command}"))


def test_what_a_record_names_is_code_of_the_command_that_imports_it():
    selectors = {family.select for family in families.FAMILIES.values()}
    assert selectors <= reached("select")
    makers = {f"clipsieve.images.perturbations.{record.maker}" for record in RECORDS.values()}
    assert makers <= reached("perturb")
    assert not makers & reached("table")
    for command, results in (("table", registry.TABLES), ("figure", registry.FIGURES)):
        builders = {f"clipsieve.report.{result.builder}" for result in results.values()}
        assert builders <= reached(command)
        assert not selectors & reached(command)
    assert not selectors & reached("perturb")
