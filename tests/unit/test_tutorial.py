"""docs/tutorial.md: its config is a config, its commands have these options, and its files are those of a run."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from clipsieve import config
from clipsieve.cli import parser_of, verbs
from clipsieve.config import Run
from clipsieve.report import registry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.splitlines()]
CLIPSIEVE = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("clipsieve ")]
SNAKEMAKE = [shlex.split(line) for line in COMMANDS if line.startswith("snakemake ")]


@pytest.fixture
def chosen():
    """The config of the tutorial on top of the catalogues, as Snakemake joins them."""
    mine = yaml.safe_load(next(text for kind, text in BLOCKS if kind == "yaml"))
    whole = yaml.safe_load((ROOT / "config.yaml").read_text())
    whole.pop("demo")
    for key, value in mine.items():
        whole[key] = whole[key] | value if isinstance(whole.get(key), dict) else value
    return config.resolve(whole)


def test_the_config_is_one(chosen):
    study = Run.of(chosen)
    assert list(study.generators) == ["sd", "flux", "gan", "old_gan"]
    assert list(study.sources) == ["photographs"]
    assert list(study.directions) == [("gan", "sd"), ("sd", "gan")]
    assert chosen["align"]["size"] == 224


@pytest.mark.parametrize("words", CLIPSIEVE, ids=" ".join)
def test_commands_have_these_options(words):
    assert words[0] in verbs()
    parser = parser_of(words[0], importlib.import_module(f"clipsieve.cli.{words[0]}"))
    parser.check_options(words[1:])
    parser.parse_args(words[1:])


def test_targets_and_profiles_are_there():
    goals = (ROOT / "workflow/rules/goals.smk").read_text()
    assert len(SNAKEMAKE) == 4
    for words in SNAKEMAKE:
        assert (ROOT / words[words.index("--profile") + 1] / "config.yaml").is_file()
        if "--" in words:
            assert f"rule {words[-1]}:" in goals


def test_files_are_those_of_a_run():
    named = re.findall(r"results/mine/([\w/.]+)", TEXT)
    assert len(named) >= 4
    known = {"explorer.html", "seed0/shortcuts.parquet", "detectors/clip_b16/sd.npz"}
    known |= {f"tables/{name}.html" for name in registry.TABLES}
    assert set(named) <= known
    small = yaml.safe_load((ROOT / "config/demo-small.yaml").read_text())["run"]
    assert f"results/{small}/explorer.html" in TEXT


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([\w-]+\.md)\)", TEXT):
        assert (ROOT / "docs" / link).is_file(), link
