"""One rule a command, with its name; and no command knows another."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import clipsieve
from clipsieve.cli import verbs

ROOT = Path(__file__).parents[3]
CLI = Path(clipsieve.__file__).parent / "cli"
# for people; no rule runs them
BY_HAND = {"config", "detect", "doctor", "verify"}


def rules() -> dict[str, str]:
    """Rules that run a command, with their text."""
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        parts = re.split(r"(?m)^ *rule (\w+):$", path.read_text())
        found.update(zip(parts[1::2], parts[2::2], strict=True))
    return {name: text for name, text in found.items() if re.search(r"(?m)^ +shell:$", text)}


def test_a_rule_runs_the_command_of_its_name():
    for name, text in rules().items():
        called = re.findall(r'"clipsieve ([a-z-]+)', text)
        assert called == [name.replace("_", "-")], name


def test_every_command_has_a_rule_or_is_for_people():
    assert {name.replace("_", "-") for name in rules()} | BY_HAND == set(verbs())


def test_a_cheap_rule_is_hashed_under_its_own_name_and_the_others_have_a_version():
    for name, text in rules().items():
        assert ("version=versions." in text) != (f'code=code_of("{name}")' in text), name
        assert len(re.findall(r"code_of\(", text)) <= 1


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
