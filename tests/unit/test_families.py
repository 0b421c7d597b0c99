"""Every family is one record: what a record lacks is an error, and nothing else names a family."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipsieve import config, families
from clipsieve.errors import UserError
from clipsieve.families import FAMILIES, Family, catalogue

ROOT = Path(__file__).parents[2]
RECORDS = list(FAMILIES.values())


def changed(name, /, **changes):
    """The records with one of them changed."""
    return [replace(one, **changes) if one.name == name else one for one in RECORDS]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("fisher", {"control_of": ()}, "'fisher': a control needs control_of"),
        ("heads", {"control_of": ("all",)}, "'heads': a method has no control_of"),
        ("fisher", {"control_of": ("component",)}, "control_of: 'component' is not a method"),
        ("fisher", {"control_of": ("random",)}, "control_of: 'random' is not a method"),
        ("fisher", {"control_of": ("heads",)}, "'heads' is selected on other pairs"),
        ("fisher", {"name": "l1"}, "'l1' is recorded twice"),
        ("fisher", {"name": "Fisher"}, "must match"),
        ("fisher", {"title": " "}, "has no title"),
        ("fisher", {"role": "nul"}, "role must be method or control"),
        ("fisher", {"select": "clipsieve.selection.filters"}, "not of the form"),
        ("fisher", {"select": "clipsieve.selection.filter:select_fisher"}, "no module filter.py"),
        ("fisher", {"select": "clipsieve.selection.filters:select_fish"}, "no function select_fish"),
        ("nearest_mean", {"classifier": "clipsieve.probes.residual:fit"}, "has no function fit"),
        ("fisher", {"reads": ()}, "selected on pairs and reads nothing"),
        ("fisher", {"reads": ("rankings",)}, "rankings are not read for unordered pairs"),
        ("fisher", {"reads": ("images",)}, "images are not read"),
        ("all", {"reads": ("searches",)}, "and it has none"),
        ("all", {"pairs": "both"}, "pairs must be one of"),
        ("all", {"space": "pixels"}, "space must be one of"),
        ("all", {"settings": {"draws": "controls.draws"}}, "drawn many times is a control"),
        ("all", {"shuffle": True}, "on shuffled labels is a control"),
        ("fisher", {"tuned_on_partner": True}, "an ordered pair has a validation generator"),
        ("all", {"figure": "figure2"}, "after a selection on pairs"),
        ("heads", {"settings": {"most": "heads.best"}}, "is not a setting"),
        ("heads", {"settings": {"best": "best"}}, "is not a setting"),
        ("heads", {"figure": "figure3"}, "figure3 needs one counterpart"),
        ("random_heads", {"settings": {"best": "heads.best"}}, "repeats a setting of 'heads'"),
        ("all_intercept", {"fit_intercept": False}, "one baseline is needed"),
        ("components_intercept", {"same_choice_as": "heads"}, "not of the same selector"),
        ("components_intercept", {"same_choice_as": "comps"}, "not of the same selector"),
    ],
)  # fmt: skip
def test_a_record_that_lacks_something_is_an_error_at_import(name, changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        catalogue(changed(name, **changes))


def test_a_record_without_role_or_selector_cannot_be_made():
    with pytest.raises(TypeError):
        Family("new", "new")


def test_methods_of_one_control_must_exclude_alike():
    second = Family(
        "more_heads", "more heads", "method", "clipsieve.selection.choose:best_heads",
        pairs="ordered", reads=("rankings",), space="heads", settings={"best": "heads.best"},
    )  # fmt: skip
    records = changed("random_heads", control_of=("heads", "more_heads"))
    with pytest.raises(ValueError, match="its methods have different settings"):
        catalogue([*records, second])


def test_every_control_is_compared_with_a_method_and_every_comparison_is_as_documented():
    assert {name: families.controls_of(name) for name in families.METHODS} == {
        "all": ["shuffled", "nearest_mean"],
        "all_intercept": [],
        "residual": [],
        "components": ["random", "fisher", "variance", "l1"],
        "components_intercept": [],
        "residual_components": [],
        "heads": ["random_heads", "all_tuned"],
        "layers": ["random_layers"],
        "nuisance": ["random_directions"],
        "nuisance_components": ["random_components"],
        "nuisance_strict": ["random_directions"],
        "nuisance_chosen": ["random_chosen"],
        "block": ["random_block", "scattered_heads"],
        "block_nuisance": ["random_block", "scattered_heads"],
        "block_beside": ["random_block_beside", "columns_beside"],
        "block_beside_nuisance": ["random_block_beside", "columns_beside_less"],
        "middle_beside": ["columns_middle"],
        "middle_beside_nuisance": ["columns_middle_less"],
    }
    assert families.controls_of("components/a--b")[0] == "random/a--b"
    compared = [c for name in families.METHODS for c in families.controls_of(name)]
    assert {*compared} == {*families.CONTROLS}


def test_the_names_that_are_made_from_the_records():
    assert (families.BASELINE, families.BASELINE_INTERCEPT) == ("all", "all_intercept")
    assert families.SELECTING == ("components", "heads", "layers")
    assert families.EXPLAINED_WHOLE == ("all", "residual")
    assert families.BEFORE_AND_AFTER == {
        "figure2": ("all_intercept", "components_intercept"),
        "figure3": ("all", "components"),
        "figure4": ("residual", "residual_components"),
    }


def test_ids_are_taken_apart_as_they_were_put_together():
    name = families.feature_set_id("heads", families.pair_id("a", "b_2"))
    assert name == "heads/a--b_2"
    assert families.family_of(name) == "heads"
    assert families.generators_of(families.pair_of(name)) == ("a", "b_2")
    assert families.reverse("a--b") == "b--a"
    assert families.unordered("a--b") == families.unordered("b--a") == {"a", "b"}
    assert families.feature_set_id("all") == "all"
    assert families.pair_of("all") == ""
    assert families.of(name) is FAMILIES["heads"]
    for wrong in ("", "a", "a--", "--b", "a-b", "a--b--c"):
        with pytest.raises(UserError, match="is not a pair"):
            families.generators_of(wrong)
    with pytest.raises(UserError, match="no family of feature sets 'head'; one of: all, "):
        families.get("head")


def test_the_examples_of_the_module_hold():
    assert doctest.testmod(families).failed == 0
    assert doctest.testmod(families).attempted >= 4


def test_the_config_allows_the_recorded_families_and_has_their_settings():
    schema = config.read_schema()
    use = schema["properties"]["use"]["properties"]
    for key, names in (("feature_sets", families.METHODS), ("controls", families.CONTROLS)):
        assert tuple(use[key]["items"]["enum"]) == tuple(use[key]["default"]) == names
    for record in RECORDS:
        for key in families.settings_of(record).values():
            section, _, name = key.partition(".")
            assert name in schema["properties"][section]["properties"], key


def test_importing_the_records_imports_nothing_heavy():
    code = (
        "import sys; import clipsieve.families;"
        "print(sorted({'numpy', 'pandas', 'torch', 'scipy', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- no other module names a family -----------------------------------------------------------

#: Family names that mean something else too: a space, a group of cells, a setting, a key, a null.
AMBIGUOUS = {
    *("all", "components", "residual", "heads", "layers", "random", "shuffled", "nearest_mean"),
}
#: What an expression is called that holds a family or a feature set.
ABOUT_FAMILIES = re.compile("famil|feature_set|method|control|baseline")


def literals(path):
    """(text, line, whether it stands beside something called a family) of each string literal."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    beside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.Subscript):
            strings = [n for n in ast.walk(node) if isinstance(n, ast.Constant)]
            names = {s.id for s in ast.walk(node) if isinstance(s, ast.Name)}
            names |= {s.attr for s in ast.walk(node) if isinstance(s, ast.Attribute)}
            names |= {str(s.value) for s in strings}
            if any(map(ABOUT_FAMILIES.search, names)) and not names & {"space", "kind"}:
                beside |= {id(s) for s in strings}
        elif isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            parts = node.keys if isinstance(node, ast.Dict) else node.elts
            words = [p for p in parts if isinstance(p, ast.Constant) and p.value in FAMILIES]
            # heads and layers side by side are the arrays of a file of embeddings
            others = {word.value for word in words} - {"heads", "layers"}
            if len(words) > 1 and others and all(isinstance(p, ast.Constant) for p in parts):
                beside |= {id(word) for word in words}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value, node.lineno, id(node) in beside


def named_in(name):
    """Files of src/ and workflow/ in which a string literal means this family."""
    found = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        for text, _, beside in literals(path):
            is_id = re.fullmatch(rf"{name}/.*", text) and not text.startswith(f"{name}/kind")
            means = beside or name not in AMBIGUOUS or path.name == "all_families.py"
            # what a setting may be called is said beside the records, in their own package
            own = path.parent.name == "families" and path.name != "all_families.py"
            if is_id or (text == name and means and not own):
                found.add(path.relative_to(ROOT).as_posix())
    for path in sorted((ROOT / "workflow").rglob("*.smk")):
        text = re.sub(r"\.space [!=]= \"\w+\"", "", path.read_text(encoding="utf-8"))
        if re.search(rf"[\"']{name}[\"']", text) or f"/{name}." in text:
            found.add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_named_by_its_record_and_one_other_file_at_most(name):
    found = named_in(name)
    assert "src/clipsieve/families/all_families.py" in found
    assert len(found) <= 2, sorted(found)


@pytest.mark.parametrize(
    "line",
    [
        'x = family == "heads"',
        'x = table["method"] == "residual"',
        'x = records[f"random/{pair}"]',
        'x = ("all", "residual")',
        'x = feature_set in {"shuffled"}',
        'x = {"all": 1, "heads": 2}',
    ],
)
def test_a_named_family_is_noticed(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(line + "\n")
    words = {text.partition("/")[0] for text, _, beside in literals(path) if beside or "/" in text}
    assert words & set(FAMILIES)


def test_the_documentation_lists_every_family_as_it_is_recorded():
    rows = []
    for name, one in FAMILIES.items():
        pair = {"none": "", "unordered": "/<a>--<b>", "ordered": "/<train>--<val>"}[one.pairs]
        what = f"control of {', '.join(f'`{m}`' for m in one.control_of)}"
        rows.append(f"| `{name}{pair}` | {one.title} | {what if one.is_control else 'method'} |")
    assert "\n".join(rows) in (ROOT / "docs/formats.md").read_text(encoding="utf-8")


# ---- a new family -----------------------------------------------------------------------------


def example_of_the_docs():
    """The module and the record of docs/extending.md."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    section = page.split("## A new family of feature sets")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S)[:2]


def test_a_new_family_is_its_algorithm_and_one_record(tmp_path):
    from clipsieve.io.feature_sets import read_feature_sets
    from clipsieve.io.tables import write_table
    from tests.helpers.data_sets import write_image_set

    module, record = example_of_the_docs()
    package = tmp_path / "src" / "clipsieve"
    shutil.copytree(
        ROOT / "src" / "clipsieve", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "selection" / "mean_gap.py").write_text(module)
    text = (package / "families" / "all_families.py").read_text()
    end = "))  # fmt: skip\n"
    assert text.count(end) == 1
    lines = "".join(f"    {line}\n" for line in f"{record.rstrip()},".splitlines())
    (package / "families" / "all_families.py").write_text(text.replace(end, lines + end))

    import pandas as pd

    sets = {n: write_image_set(tmp_path, n, label=int(n == "real")) for n in ("a", "bb", "real")}
    searches = []
    for direction, kept in (("a--bb", [1, 4]), ("bb--a", [4, 9])):
        searches.append(tmp_path / f"{direction}.parquet")
        removed = [c for c in range(12) if c not in kept]
        steps = pd.DataFrame({"step": range(1, len(removed) + 1), "removed": removed})
        train, val = direction.split("--")
        stop = {"step": len(removed), "kept": len(kept), "share": len(kept) / 12}
        note = {"train": train, "val": val, "columns": 12, "steps": len(removed), "at_ceiling": 0}
        write_table(steps, searches[-1], {**note, "stops": {"log_loss": stop}})
    output = tmp_path / "mean_gap.json"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True, text=True, env=env, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    python(
        "-m", "clipsieve", "select", "--family", "mean_gap", "--pairs", "a--bb",
        "--searches", *searches, "--embeddings", *(s[0] for s in sets.values()),
        "--splits", *(s[1] for s in sets.values()), "--output", output,
    )  # fmt: skip
    (found,) = read_feature_sets(output)
    assert (found.feature_set, found.excluded) == ("mean_gap/a--bb", ("a", "bb"))
    # what the selector must have chosen, by hand
    from clipsieve.io import store

    X, y = [], []
    for name, (h5, splits) in sets.items():
        seen = (pd.read_parquet(splits)["split"] != "test").to_numpy()
        X.append(store.read_embeddings(h5).embedding[seen])
        y += [int(name == "real")] * int(seen.sum())
    X, y = np.concatenate(X), np.array(y)
    gap = np.abs(X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0))
    assert found.draws == (sorted(np.argsort(-gap)[:3].tolist()),)
    # the config allows it, it is compared with its method, and the report knows it
    code = (
        "from clipsieve import config, families\n"
        "from clipsieve.report.facts import Facts\n"
        "use = config.read_schema()['properties']['use']['properties']\n"
        "print('mean_gap' in use['controls']['items']['enum'],"
        " 'mean_gap/a--b' in families.controls_of('components/a--b'),"
        " Facts().feature_set_title('mean_gap/a--b'))"
    )
    assert python("-c", code) == "True True class mean gap: a / b"
