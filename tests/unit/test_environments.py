"""The conda environments and the container's lock ask for what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from clipsieve.generation.records import ADAPTERS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# the same library under conda-forge's name
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "open_clip_torch": "open-clip-torch",
    "opencv-python-headless": "py-opencv",
    "torch": "pytorch",
}
EXTRAS = {"cpu": [], "gpu": ["embed"], "demo": ["demo"], "diffusers": ["diffusers"]}
# more packages than the core's, from elsewhere than conda-forge: each by one adapter of `generate`
OF_ADAPTERS = ("glide", "min_dalle")


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
                files = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rule)
                if rule.startswith("generate:"):  # each adapter says its own
                    files = [adapter.environment for adapter in ADAPTERS.values()]
                assert files, rule.split(":")[0]
                assert set(files) <= {*EXTRAS, *OF_ADAPTERS}, rule.split(":")[0]


@pytest.mark.parametrize("name", OF_ADAPTERS)
def test_an_environment_of_an_adapter_holds_the_core_and_its_package(name):
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    (packages,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert len(packages) == 1
    found = dict(parts(d) for d in environment["dependencies"] if isinstance(d, str))
    for package, bound in map(parts, PROJECT["dependencies"]):
        assert found[CONDA_NAMES.get(package, package)] == bound
    assert (ROOT / "envs" / f"{name}.post-deploy.sh").exists()


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
