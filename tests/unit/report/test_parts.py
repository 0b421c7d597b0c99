"""What the report's pages are made of: means over seeds, numbers as text, facts, inputs."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from clipsieve.cli.page_options import parse_facts
from clipsieve.errors import UserError
from clipsieve.evaluation.seeds import with_clean
from clipsieve.io.tables import write_table
from clipsieve.report import registry
from clipsieve.report.build import build_table, builder_of
from clipsieve.report.facts import Facts, cells_title
from clipsieve.report.frames import order_feature_sets, over_seeds, search_alerts, verdict
from clipsieve.report.html.page import (
    Cell,
    Content,
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
    row = {"generators_low": low, "generators_high": high, "generators_p_holm": p}
    assert verdict(row) == expected


def test_a_narrow_interval_over_photographs_tells_nothing_of_other_generators():
    row = {"difference_low": 0.01, "difference_high": 0.02, "p_holm": 0.001}
    nan = float("nan")
    few = {"generators_low": nan, "generators_high": nan, "generators_p_holm": nan}
    assert verdict({**row, **few}) == 0
    wide = {"generators_low": -0.01, "generators_high": 0.04, "generators_p_holm": 0.3}
    assert verdict({**row, **wide}) == 0


def test_a_files_place_says_what_the_registry_leaves_open():
    assert origin("cells", "results/demo/seed3/clip_b16/cells.parquet") == {
        **{"run": "demo", "seed": 3, "encoder": "clip_b16"}
    }
    assert origin("shortcuts", "/x/results/demo/seed12/shortcuts.parquet") == {
        **{"run": "demo", "seed": 12}
    }
    assert origin("searches", "r/seed0/tiny/searches/a--b.parquet") == {
        **{"run": "r", "seed": 0, "encoder": "tiny", "train": "a", "val": "b"}
    }
    # outside a run, the file's name alone says something
    assert origin("interpretation", "/elsewhere/phrases.parquet") == {"texts": "phrases"}
    assert origin("means", "/elsewhere/other.parquet") == {}


def test_a_note_says_whose_rows_they_are_before_the_place_does(tmp_path):
    table = pd.DataFrame({"step": [1], "removed": 0, "score": 0.5, "ties": 1, "left": 3})
    note = {"of": {"run": "r", "seed": 7, "encoder": "tiny"}, "train": "a", "val": "b"}
    path = tmp_path / "other" / "seed0" / "clip_b16" / "searches" / "x--y.parquet"
    write_table(table, path, note)
    row = read_tables("searches", [path]).iloc[0]
    assert (row["run"], row["seed"], row["encoder"]) == ("r", 7, "tiny")
    assert (row["train"], row["val"]) == ("a", "b")
    # a column is the nearest to the row
    write_table(table.assign(seed=3), path, note)
    assert read_tables("searches", [path])["seed"].tolist() == [3]


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
    sets = ["random/a--b", "heads/a--b", "all", "components/a--b"]
    assert order_feature_sets(sets) == ["all", "components/a--b", "heads/a--b", "random/a--b"]
    with pytest.raises(UserError, match="no family of feature sets 'other'; one of: all, "):
        order_feature_sets(["all", "other"])


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


COMPLETE = {
    **{"name": "extra", "title": "Extra", "category": registry.TRANSFER},
    **{"builder": "tables.extra:extra_page", "inputs": ("means",)},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": ""}, "title is empty"),
        ({"category": "9 Elsewhere"}, "not a category"),
        ({"builder": "tables.extra"}, "not module:function"),
        ({"inputs": ()}, "no input"),
        ({"inputs": ("meens",)}, "unknown input 'meens'"),
        ({"optional": ("means",)}, "twice"),
        ({"texts": "phrases"}, "text lists"),
        ({"inputs": ("interpretation",)}, "text lists"),
    ],
)
def test_a_record_that_is_incomplete_is_refused(changes, words):
    registry.Result(**COMPLETE)
    with pytest.raises(ValueError, match=f"extra.*{words}"):
        registry.Result(**{**COMPLETE, **changes})
    with pytest.raises(ValueError, match="two records"):
        registry.by_name([registry.Result(**COMPLETE)] * 2)


@pytest.mark.parametrize(
    "result", [*registry.TABLES.values(), *registry.FIGURES.values()], ids=lambda r: r.builder
)
def test_every_builder_is_there(result):
    assert callable(builder_of(result))


def test_a_new_table_is_a_record_and_a_function(tmp_path, monkeypatch):
    """What docs/extending-results.md says: the page's frame is made from the inputs."""
    module = ModuleType("clipsieve.report.tables.extra")

    def extra_page(inputs, facts):
        best = inputs["robustness"].groupby("perturbation", as_index=False)["value"].max()
        shown = Table([("Perturbation", "", "")], [[Cell(name)] for name in best["perturbation"]])
        return Content(["The best of each."], [Section("Best", tables=[shown])]), best

    module.extra_page = extra_page
    monkeypatch.setitem(sys.modules, module.__name__, module)
    result = registry.Result(**{**COMPLETE, "inputs": ("robustness",)})
    monkeypatch.setitem(registry.TABLES, "extra", result)
    rows = {"feature_set": "all", "metric": "accuracy", "low": 0.6, "high": 0.8, "n": 90}
    frame = pd.DataFrame(
        {"perturbation": ["none", "blur_2", "blur_2"], "level": [0, 2, 2], "value": [0.8, 0.5, 0.7]}
    )
    path = tmp_path / "r" / "seed4" / "tiny" / "robustness.parquet"
    path.parent.mkdir(parents=True)
    frame.assign(**rows).to_parquet(path)
    csv, html = build_table("extra", {"robustness": [path]}, Facts())
    assert csv == "perturbation,value\nblur_2,0.7\nnone,0.8\n"
    text, _ = read_page(html)
    assert "Extra" in text
    assert "run r" in text
    assert "tiny" in text
    assert "seed 4" in text


def test_a_difference_leads_with_what_other_generators_could_have_given():
    row = {
        **{"difference": 0.03, "difference_low": 0.01, "difference_high": 0.05, "p_holm": 0.01},
        **{"generators_low": -0.02, "generators_high": 0.08, "generators_p_holm": 0.21},
        **{"better": 9, "n_generators": 12},
    }
    cell = difference_cell(row)
    assert cell.sub == "\N{MINUS SIGN}0.020 to +0.080"
    assert cell.tip == "over new photographs +0.010 to +0.050, p (Holm) 0.010"
    assert (
        cell.css == "num"
    )  # the interval over photographs leaves out 0, that over generators does not
    assert (
        difference_cell({**row, "generators_low": 0.01, "generators_p_holm": 0.03}).css
        == "num good"
    )
    assert difference_cell({**row, "generators_low": None}).sub == "no interval over generators"


def test_encoders_of_random_weights_stand_last():
    facts = parse_facts(
        None, '{"tiny": {"weights": null}, "b": {"weights": "x"}, "a": {"weights": "y"}}'
    )
    assert facts.order_encoders(["tiny", "a", "b", "other"]) == ["b", "a", "other", "tiny"]


def test_searches_that_say_little_are_counted_once_a_direction():
    facts = parse_facts(None, None)
    known = {"alpha": "first", "warnings": {"a--b": ["the score sat at its ceiling"]}}
    row = {"encoder": "clip", "seed": 0, "pair": ["a", "b"], "facts": known}
    table = pd.DataFrame([row, row, {**row, "pair": ["c", "d"], "facts": {"alpha": "first"}}])
    (line,) = search_alerts(table, facts)
    assert line.startswith("clip: in 1 of 4 component searches")
    assert search_alerts(table.iloc[2:], facts) == []
    assert search_alerts(None, facts) == []


def test_cells_that_flatter_heads_do_not_colour_them():
    rows = {
        **{"encoder": "e", "metric": "auc", "feature_set": "heads/a--b"},
        **{"difference": [0.05, 0.01], "cells": ["all", "clean"]},
        **{"generators_low": [0.02, -0.02], "generators_high": [0.08, 0.04]},
        "generators_p_holm": [0.001, 0.5],
    }
    whole = with_clean(pd.DataFrame(rows)).iloc[0].to_dict()
    assert whole["clean_difference"] == 0.01
    assert verdict(whole) == 0
    assert "without the generator that heads were ranked on: +0.010" in difference_cell(whole).tip
    other = with_clean(pd.DataFrame(rows).iloc[:1]).iloc[0].to_dict()
    assert verdict(other) == 1  # a set without such cells is judged by its own
