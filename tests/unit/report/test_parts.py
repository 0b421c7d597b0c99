"""What the report's pages are made of: means over seeds, numbers as text, facts, inputs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clipsieve.errors import UserError
from clipsieve.report import registry
from clipsieve.report.facts import Facts, cells_title, parse_facts
from clipsieve.report.frames import order_feature_sets, over_seeds, verdict
from clipsieve.report.html.page import (
    Cell,
    Page,
    Section,
    Table,
    difference_cell,
    interval,
    number,
    p_value,
    render,
)
from clipsieve.report.reading import origin, read_tables
from clipsieve.report.tables.build import build_table
from tests.helpers.html_reader import read_page


def test_over_seeds_is_the_plain_mean():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "seed": [0, 1, 2] * 4,
            "key": np.repeat(list("wxyz"), 3),
            "value": rng.normal(size=12),
            "n": 5,
        }
    )
    found = over_seeds(table, ["key"], ["value", "n"]).set_index("key")
    for key in "wxyz":
        values = table.loc[table["key"] == key, "value"].to_numpy()
        assert found.loc[key, "value"] == pytest.approx(values.mean())
        assert found.loc[key, "value_sd"] == pytest.approx(values.std(ddof=1))
        assert found.loc[key, "seeds"] == 3


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        *((0.01, 0.02, 0.04, 1), (0.01, 0.02, 0.06, 0), (-0.02, -0.01, 0.001, -1)),
        *((-0.01, 0.01, 0.001, 0), (float("nan"), float("nan"), float("nan"), 0)),
        *((0.01, 0.02, None, 1), (None, None, None, 0), (0.01, 0.02, float("nan"), 1)),
    ],
)
def test_a_difference_is_told_from_0_by_interval_and_corrected_p(low, high, p, expected):
    row = {"difference_low": low, "difference_high": high, "p_holm": p}
    assert verdict(row) == expected


def test_origin_reads_run_seed_and_encoder_from_the_path():
    assert origin("results/demo/seed3/clip_b16/cells.parquet") == {
        **{"run": "demo", "seed": 3, "encoder": "clip_b16"}
    }
    assert origin("/x/results/demo/seed12/shortcuts.parquet") == {"run": "demo", "seed": 12}
    assert origin("leaderboard.csv") == {}


def test_numbers_as_people_read_them():
    assert number(-0.0004) == "0.000"
    assert number(-0.0316) == "−0.032"
    assert number(0.5, 2, sign=True) == "+0.50"
    assert number(float("nan")) == "—"
    assert interval(0.1, None) == ""
    assert interval(-0.1, 0.2, 2) == "−0.10 to 0.20"
    assert [p_value(p) for p in (0.0004, 0.0312, 0.5)] == ["<0.001", "0.031", "0.50"]
    assert cells_title("gan_to_diffusion") == "GAN → diffusion"
    assert cells_title("within_flow") == "within flow"
    families = ["random/a--b", "heads/a--b", "all", "other", "components/a--b"]
    assert order_feature_sets(families) == [
        *("all", "components/a--b", "heads/a--b", "random/a--b", "other")
    ]


def test_the_interval_bar_stands_on_its_scale():
    cell = Cell(bar=(0.25, 0.5, 1.5, 0.0, 1.0))
    assert cell.drawn == {"low": 26.0, "mid": 50.0, "high": 98.0, "zero": -1.0}
    assert Cell(bar=(float("nan"), 0.5, 1.0, 0.0, 1.0)).drawn is None


def test_text_is_escaped_everywhere_on_a_page():
    evil = "<script>alert('x')</script>&"
    table = Table(
        [(evil, "", evil)], [[Cell(evil, sub=evil, tip='"' + evil, badge=evil)]], evil, evil
    )
    page = Page(
        evil, [evil], [Section(evil, [evil], [table], [table])], Facts(), [evil], [evil], evil
    )
    html = render(page)
    assert "<script>" not in html
    assert 'title=""' not in html
    read_page(html)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("generators", "{", "not JSON"),
        ("generators", '{"a": {"family": "gan"}}', "a: kind is missing"),
        ("generators", '{"a": {"family": "gan", "kind": "fake"}}', "allowed: network, simulated"),
        ("generators", "@/no/such/file", "no file"),
        ("encoders", '{"tiny": {}}', "weights is missing"),
        ("encoders", "[1]", "JSON object"),
    ],
)
def test_facts_refuse_what_they_cannot_read(option, value, words):
    with pytest.raises(UserError, match=f"--{option}.*{words}"):
        parse_facts(**{"generators": None, "encoders": None, option: value})


def test_unreadable_inputs_are_one_line_that_names_the_file(tmp_path):
    facts = Facts()
    with pytest.raises(UserError, match="table4 needs --means"):
        build_table("table4", {}, facts)
    with pytest.raises(UserError, match="no table 'table9'"):
        build_table("table9", {}, facts)
    missing = tmp_path / "means.parquet"
    with pytest.raises(UserError, match=r"no file .*means\.parquet"):
        build_table("table4", {"means": [missing]}, facts)
    missing.write_bytes(b"PAR1 half a file")
    with pytest.raises(UserError, match=r"means\.parquet: not a readable parquet"):
        build_table("table4", {"means": [missing]}, facts)
    pd.DataFrame({"feature_set": ["all"]}).to_parquet(missing)
    with pytest.raises(UserError, match=r"means\.parquet: column cells is missing"):
        read_tables("means", [missing])


def test_an_empty_table_does_not_change_the_others(tmp_path):
    names = ("kind", "first", "second", "first_split", "second_split")
    full = pd.DataFrame({**dict.fromkeys(names, "x"), "distance": [2]})
    paths = [tmp_path / f"seed{seed}" / "leakage.parquet" for seed in (0, 9)]
    for path, table in zip(paths, (full, full.iloc[:0].astype(object)), strict=True):
        path.parent.mkdir()
        table.to_parquet(path)
    found = read_tables("leakage", paths)
    assert found["seed"].tolist() == [0]
    assert found["distance"].dtype == full["distance"].dtype
    assert read_tables("leakage", paths[1:]).empty


def test_the_registry_is_consistent():
    for names in (*registry.TABLES.values(), *registry.FIGURES.values()):
        assert set(names) <= set(registry.INPUTS)
    every = {*registry.TABLES, *registry.FIGURES, "gallery"}
    assert every == set(registry.TITLES) == set(registry.CATEGORIES)
    assert set(registry.TEXT_KINDS) | set(registry.FAMILIES) <= every


def test_a_difference_says_what_other_generators_could_have_given():
    row = {
        **{"difference": 0.03, "difference_low": 0.01, "difference_high": 0.05, "p_holm": 0.01},
        **{"generators_low": -0.02, "generators_high": 0.08, "generators_p": 0.21},
        **{"better": 9, "n_generators": 12},
    }
    cell = difference_cell(row)
    assert cell.tip == (
        "over new generators \N{MINUS SIGN}0.020 to +0.080, p 0.21; better on 9 of 12 test generators"
    )
    assert difference_cell({**row, "generators_low": None, "better": None}).tip == ""
