"""The conda environments and the container's lock ask for what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# the same library under conda-forge's name
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "open_clip_torch": "open-clip-torch",
    "opencv-python-headless": "py-opencv",
    "torch": "pytorch",
}
EXTRAS = {"cpu": [], "gpu": ["embed"], "demo": ["demo"]}


def parts(requirement: str) -> tuple[str, str]:
    name, bound = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", requirement).groups()
    return name, bound


@pytest.mark.parametrize("name", EXTRAS)
def test_an_environment_holds_exactly_what_its_extras_ask_for(name):
    wanted = list(PROJECT["dependencies"])
    for extra in EXTRAS[name]:
        wanted += PROJECT["optional-dependencies"][extra]
    expected = {CONDA_NAMES.get(n, n): bound for n, bound in map(parts, wanted)}
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    found = dict(map(parts, environment["dependencies"]))
    assert found.pop("python") == PROJECT["requires-python"]
    assert {"pip", "setuptools"} <= found.keys()
    del found["pip"], found["setuptools"]
    assert found == expected


def test_every_compute_rule_names_an_environment_that_exists():
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        rules = re.split(r"\n(?:    )?rule ", text)[1:]
        for rule in rules:
            if "shell:" in rule:
                (file,) = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rule)
                assert file in EXTRAS, rule.split(":")[0]


def test_the_lock_pins_every_dependency_once():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = [line.split(" ; ")[0] for line in lines if not line.startswith("#")]
    pins = dict(line.split("==") for line in found)
    assert len(pins) == len(found)
    asked = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        asked += extra
    for requirement in asked:
        name = parts(requirement)[0].lower().replace("_", "-").replace(".", "-")
        assert name in pins, name
