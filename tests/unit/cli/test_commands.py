"""One rule a command, with its name; and no command knows another."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import clipsieve
from clipsieve.cli import verbs
from tests.helpers.rules import rules_with_command

CLI = Path(clipsieve.__file__).parent / "cli"
# for people; no rule runs them
BY_HAND = {"config", "doctor", "evaluate-detector", "formats", "serve", "status", "verify"}
# the same command with another output: a part of what its rule joins
PARTS = {"detect": ["detect_part"], "embed": ["embed_part"]}


def test_a_rule_runs_the_command_of_its_name():
    for name, text in rules_with_command().items():
        called = re.findall(r'"clipsieve ([a-z-]+)', text)
        assert called == [name.replace("_", "-")], name


def test_every_command_has_a_rule_or_is_for_people():
    assert {name.replace("_", "-") for name in rules_with_command()} | BY_HAND == set(verbs())


def test_a_cheap_rule_is_hashed_under_its_own_name_and_the_others_have_a_version():
    for name, text in rules_with_command().items():
        assert ("version=versions." in text) != (f'code=code_of("{name}")' in text), name
        own, *variants = text.split("use rule ")
        assert len(re.findall(r"code_of\(", own)) <= 1
        assert [variant.split()[2] for variant in variants] == PARTS.get(name, [])


def test_what_stops_a_run_comes_before_embedding_and_hides_no_change():
    rules = rules_with_command()
    for name in ("scan", "split", "manifest", "audit_leakage", "audit_shortcuts"):
        assert "priority: 10" in rules[name], name
    assert "priority" not in rules["embed"]
    # below a job that is to run, Snakemake looks for no other change, and an ancient input stops there
    assert not any("ancient(" in text for text in rules.values())


def test_no_command_imports_another():
    commands = {name.replace("-", "_") for name in verbs()}
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            wrong = {f"clipsieve.cli.{name}" for name in commands} & set(modules)
            assert not wrong, f"{path.name} imports {wrong}"
