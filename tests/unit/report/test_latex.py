"""Tables as LaTeX: nothing of a title or a word is read as a command, and rows fit their columns."""

from __future__ import annotations

import re

import pytest

from clipsieve.cli import main
from clipsieve.report import registry
from clipsieve.report.build import table_page
from clipsieve.report.latex import escaped, latex_of
from tests.helpers.report_inputs import facts_of, make_run


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    made = make_run(tmp_path_factory.mktemp("latex"))
    made.generators["style_mosaic"]["title"] = r"50 % \input{x} & $a_b^2$ ~{#}"
    return made


def plain(text):
    """What a reader sees: the escapes of `escaped` taken back."""
    for sign in "&%$#_{}":
        text = text.replace(f"\\{sign}", f"\0{ord(sign)}\0")
    named = {"backslash": "\\", "asciitilde": "~", "asciicircum": "^"}
    for name, sign in named.items():
        text = text.replace(f"\\text{name}{{}}", sign)
    assert not re.search(r"[&%$#_{}]", text), text
    return re.sub("\0(\\d+)\0", lambda m: chr(int(m[1])), text)


def test_every_sign_that_latex_reads_is_written_out():
    text = r"50 % \input{x} & $a_b^2$ ~{#}"
    assert plain(escaped(text)) == text
    assert escaped("a\N{RIGHTWARDS ARROW}b \N{MINUS SIGN}1 <b>") == (
        r"a$\rightarrow$b $-$1 \textless{}b\textgreater{}"
    )


@pytest.mark.parametrize("name", ["table4", "means", "selection", "overview", "table1"])
def test_rows_have_as_many_cells_as_columns(demo, name):
    page, _ = table_page(name, demo.inputs, facts_of(demo))
    text = latex_of(page)
    tables = [t for section in page.sections for t in (*section.tables, *section.cards)]
    blocks = re.findall(
        r"\\begin\{longtable\}\{([rl]+)\}\n(.*?)\\end\{longtable\}", text, re.DOTALL
    )
    assert len(blocks) == len(tables) > 0
    for (kinds, block), table in zip(blocks, tables, strict=True):
        assert len(kinds) == len(table.columns)
        for rule in ("toprule", "midrule", "bottomrule"):
            assert block.count(f"\\{rule}") == 1
        body = block.split("\\endhead\n")[1].split("\\bottomrule")[0].splitlines()
        assert len(body) == len(table.rows)
        for line, row in zip(body, table.rows, strict=True):
            assert line.endswith(" \\\\")
            assert len(re.findall(r"(?<!\\)&", line)) == len(row) - 1
        bare = re.sub(r"\\[{}]", "", block)
        assert bare.count("{") == bare.count("}")


def test_the_command_writes_it(demo, tmp_path):
    files = ["--means", *map(str, demo.inputs["means"])]
    out = [f"--{kind}" for kind in ("csv", "html", "tex")]
    paths = [str(tmp_path / f"m{name}") for name in (".csv", ".html", ".tex")]
    options = [part for pair in zip(out, paths, strict=True) for part in pair]
    facts = ["--generators", demo.generators_json, "--encoders", demo.encoders_json]
    assert main(["table", "means", *files, *facts, *options]) == 0
    assert registry.TABLES["means"].title in (tmp_path / "m.tex").read_text()
