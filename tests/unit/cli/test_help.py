"""Every command explains itself: its examples and those of the docs parse, and help states the defaults."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clipsieve import cli

ROOT = Path(__file__).parents[3]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
VERBS = sorted(cli.verbs())


def parser_of(verb):
    return cli.parser_of(verb, importlib.import_module(f"clipsieve.cli.{verb.replace('-', '_')}"))


def commands_in(lines):
    """Commands `clipsieve ..` of a text, lines that end with a backslash joined."""
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.strip() for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in found if line.startswith("clipsieve ")]


def parse(words):
    parser = parser_of(words[1])
    parser.check_options(words[2:])
    parser.parse_args(words[2 : words.index(">") if ">" in words else None])


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_parses_and_lines_that_fit(verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "102")
    parser = parser_of(verb)
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= 100
    examples = commands_in(parser.epilog.splitlines())
    assert any(words[1] == verb for words in examples)
    for words in examples:
        parse(words)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is_and_its_default(verb):
    for action in parser_of(verb)._actions:
        assert action.help, action.dest
        said = action.help % {
            **vars(action),
            "prog": verb,
            "choices": ", ".join(map(str, action.choices or ())),
        }
        if isinstance(action, argparse._StoreTrueAction | argparse._HelpAction):
            continue
        if action.required or action.nargs == "*" or not action.option_strings:
            continue
        if action.default is None or action.default is False:
            continue
        assert "default" in said, action.option_strings


def test_an_example_of_the_docs_parses():
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S)
        blocks += re.findall(r"(?:^ {4}.*\n)+", text, flags=re.M)
        found += [(page, words) for block in blocks for words in commands_in(block.splitlines())]
    assert len(found) >= 5
    for page, words in found:
        assert words[1] in VERBS or words[1].startswith("-"), page
        if words[1] in VERBS:
            parse(words)


def test_commands_and_options_named_in_the_docs_exist():
    for page in PAGES:
        for span in re.findall(r"`(clipsieve [^`]+)`", page.read_text(encoding="utf-8")):
            words = span.split()
            if words[1] not in VERBS:
                assert words[1].startswith(("-", "COMMAND", "<")), f"{page}: {span}"
                continue
            known = parser_of(words[1])._option_string_actions
            for word in words[2:]:
                assert not word.startswith("--") or word in known, f"{page}: {span}"


def test_options_of_the_rules_exist():
    """Every rule calls a verb by the full names of its options; abbreviations are refused."""
    called = set()
    for rules in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        shells = re.findall(r'shell:\n((?:\s+"[^\n]*"\n)+)', rules.read_text(encoding="utf-8"))
        for text in shells:
            verb = re.search(r"clipsieve ([a-z-]+)", text)
            known = parser_of(verb[1])._option_string_actions
            for option in re.findall(r" (--[A-Za-z][a-z0-9-]*)", text):
                assert option in known, f"{rules.name}: {verb[1]} {option}"
            called.add(verb[1])
    assert len(called) >= 25


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "--embedings", "x"], "no option --embedings; did you mean --embeddings?"),
        (["fit", "--feat", "x"], "no option --feat; did you mean --features?"),
        (["fit"], "the following arguments are required: --features"),
        (["search", "--threads", "two"], "--threads: 'two' is not a whole number of at least 1"),
        (["split", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["verify", "nowhere"], "provenance.json: no such file"),
        (["config", "--configfile", "none.yaml"], "none.yaml: no such file"),
        (["config", "--configfile", "."], ".: Is a directory"),
        (["encoder", "--spec", "{", "--output", "x.h5"], "--spec: not JSON"),
        (["encoder", "--spec", "@none.json", "--output", "x.h5"], "--spec: no file none.json"),
        (["fro"], "no command 'fro'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    assert status == 2
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_only_the_verbs_that_run_an_encoder_import_torch():
    """The parsers of all verbs together need neither torch nor pandas."""
    code = (
        "import sys, argparse, importlib\nfrom clipsieve.cli import verbs\n"
        "for verb in verbs():\n"
        "    module = importlib.import_module('clipsieve.cli.' + verb.replace('-', '_'))\n"
        "    module.add_arguments(argparse.ArgumentParser())\n"
        "print({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "set()"
