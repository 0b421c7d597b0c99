"""The pages and CSV files of the report against what the inputs say, computed apart."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from clipsieve.cli.page_options import parse_facts
from clipsieve.io.tables import read_table
from clipsieve.report import registry
from clipsieve.report.build import build_table
from clipsieve.report.facts import PAPER_GENERATORS
from clipsieve.report.html.page import number
from clipsieve.report.published import published
from clipsieve.report.reading import origin
from tests.helpers.html_reader import read_page
from tests.helpers.report_inputs import facts_of, make_run
from tests.helpers.score_files import read_score_table


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("demo"), seeds=(0, 1))


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("paper"), paper=True)


def inputs_for(made, name):
    found = {k: list(v) for k, v in made.inputs.items()}
    kind = registry.TABLES[name].texts
    if kind not in (None, "every"):
        found["interpretation"] = [p for p in found["interpretation"] if p.stem == kind]
    return found


def build(made, name):
    csv, html = build_table(name, inputs_for(made, name), facts_of(made))
    return pd.read_csv(StringIO(csv)), html


@pytest.mark.parametrize("name", sorted(registry.TABLES))
def test_every_page_is_whole_escaped_and_self_contained(demo, name):
    table, html = build(demo, name)
    text, links = read_page(html)
    assert not links
    assert "@import" not in html
    assert "url(" not in html
    assert "Style network <mosaic>" in text  # a title with markup stays text
    assert "<mosaic>" not in html
    assert "<b>&bold" not in html.replace("&lt;b&gt;&amp;bold", "")
    assert registry.TABLES[name].title in text
    for generator in demo.generators.values():
        assert generator["title"] in text
    assert text.count("simulated") >= 6  # the roster says it of each
    assert "2 are real networks and 6 are simulated" in text
    if name not in ("leakage", "what_if"):  # one run alone has nothing to compare
        assert len(table)
    for column in ("train", "test", "generator"):
        if column in table:
            kinds = {g: e["kind"] for g, e in demo.generators.items()}
            known = table[table[column].isin(list(kinds))]
            assert (known[f"{column}_kind"] == known[column].map(kinds)).all()
    if "encoder" in table:
        assert "tiny ViT has random weights: its words" in text
        tiny = table[table["encoder"] == "tiny"]
        assert (tiny["encoder_weights"] == "random").all()


@pytest.mark.parametrize("name", ["table1", "table4", "means", "overview"])
def test_same_inputs_give_the_same_bytes(demo, name):
    first = build_table(name, inputs_for(demo, name), facts_of(demo))
    assert first == build_table(name, inputs_for(demo, name), facts_of(demo))


def test_words_are_those_of_the_files_in_their_order(demo):
    for name, kinds in (("table3", {"probe"}), ("table7", {"probe", "residual"})):
        table, html = build(demo, name)
        whole = pd.concat(
            [pd.read_parquet(p) for p in demo.inputs["interpretation"] if p.stem == "vocabulary"]
        )
        whole = whole[whole["kind"].isin(kinds) & (whole["side"] == "nearest")]
        assert len(table) == len(whole)
        text, _ = read_page(html)
        for word in set(whole["text"]):
            assert word in text
        one = whole[
            (whole["encoder"] == "clip_b16")
            & (whole["seed"] == 0)
            & (whole["kind"] == "probe")
            & (whole["direction"] == "up_nearest")
            & (whole["rank"] <= 5)
        ].sort_values("rank")
        start = text.index("CLIP ViT-B/16, vocabulary")
        card = text[text.index("Nearest-neighbour up-sampler simulated Text", start) :]
        places = [card.index(word) for word in one["text"]]
        assert places == sorted(places)


def test_words_within_the_null_are_marked(demo):
    _, html = build(demo, "table3")
    whole = pd.concat(
        [pd.read_parquet(p) for p in demo.inputs["interpretation"] if p.stem == "vocabulary"]
    )
    shown = whole[
        (whole["kind"] == "probe")
        & (whole["side"] == "nearest")
        & (whole["seed"] == 0)
        & (whole["rank"] <= 5)
    ]
    assert html.count("<small>within null</small>") == int((~shown["above_null"]).sum())


def test_stability_of_words_counts_seeds(demo):
    table, _ = build(demo, "table3")
    top = table[table["rank"] <= 5]
    key = ["encoder", "kind", "direction", "side", "text"]
    for _, row in top.sample(12, random_state=1).iterrows():
        same = top[(top[key] == row[key]).all(axis=1)]
        assert row["stability"] == same["seed"].nunique()


def test_table2_shows_both_sides_of_every_head(demo):
    table, html = build(demo, "table2")
    assert set(table["side"]) == {"nearest", "farthest"}
    text, _ = read_page(html)
    assert text.count("Head (4, 6)") == 2 * len(demo.pairs)  # two encoders


def test_table4_left_holds_the_means_of_the_files(demo):
    table, html = build(demo, "table4")
    means = pd.concat([pd.read_parquet(p) for p in demo.inputs["means"]])
    left = table[table["part"] == "left"]
    assert {"accuracy", "balanced_accuracy", "auc"} == set(left["metric"])
    left = left[left["metric"] == "accuracy"]
    for row in left.to_dict("records"):
        same = means[
            (means["encoder"] == row["encoder"])
            & (means["seed"] == row["seed"])
            & (means["feature_set"] == row["feature_set"])
            & (means["cells"] == "all")
            & (means["metric"] == "accuracy")
        ]
        assert row["value"] == pytest.approx(float(same["value"].iloc[0]), abs=1e-9)
    # two seeds: the page shows their average
    a, b = demo.pairs[0]
    mine = left[(left["encoder"] == "clip_b16") & (left["feature_set"] == f"components/{a}--{b}")]
    text, _ = read_page(html)
    assert number(mine["value"].mean()) in text
    assert table["published"].isna().all()
    assert "Not set beside these" in text


def test_table4_right_averages_over_pairs(demo):
    table, _ = build(demo, "table4")
    means = pd.concat([pd.read_parquet(p) for p in demo.inputs["means"]])
    mine = means[
        means["feature_set"].str.startswith("heads/")
        & (means["metric"] == "accuracy")
        & (means["cells"] == "gan_to_diffusion")
        & (means["encoder"] == "tiny")
        & (means["seed"] == 1)
    ]
    row = table[
        (table["part"] == "right")
        & (table["method"] == "heads")
        & (table["cells"] == "gan_to_diffusion")
        & (table["metric"] == "accuracy")
        & (table["encoder"] == "tiny")
        & (table["seed"] == 1)
    ]
    assert len(row) == 1
    assert row["value"].iloc[0] == pytest.approx(mine["value"].mean(), abs=1e-9)
    assert row["difference"].iloc[0] == pytest.approx(mine["difference"].mean(), abs=1e-9)
    assert row["pairs"].iloc[0] == 2 * len(demo.pairs)


def test_table4_beside_the_paper_only_in_the_papers_run(paper):
    table, html = build(paper, "table4")
    compared = table[table["published"].notna()]
    row = compared[
        (compared["encoder"] == "clip_b16")
        & (compared["feature_set"] == "heads/gaugan--glide_base")
        & (compared["part"] == "left")
    ].iloc[0]
    assert row["published"] == 0.785  # validation GLIDE base, training GauGAN
    assert row["difference_to_published"] == pytest.approx(row["value"] - 0.785)
    reach = row["value"] - row["low"] if row["value"] > 0.785 else row["high"] - row["value"]
    assert row["tolerance"] == pytest.approx(reach + 0.0005)
    assert bool(row["within_tolerance"]) == (abs(row["value"] - 0.785) <= reach + 0.0005)
    components = compared[
        (compared["encoder"] == "clip_l14")
        & (compared["feature_set"] == "components/cyclegan--kandinsky_20")
    ]
    assert components["published"].tolist() == [0.812]
    text, _ = read_page(html)
    assert "Beside the paper's values" in text


def test_a_simulated_generator_makes_it_no_run_of_the_paper(paper):
    generators = json.loads(paper.generators_json)
    assert parse_facts(json.dumps(generators), None).is_paper_run()
    generators["progan"]["kind"] = "simulated"
    assert not parse_facts(json.dumps(generators), None).is_paper_run()


def test_published_values_are_whole():
    left, right = published("table4_left"), published("table4_right")
    assert set(left["train"].dropna()) | set(left["val"].dropna()) <= set(PAPER_GENERATORS)
    # The heads and components of CLIP-base: ten ordered and five unordered pairs.
    base = left[(left["encoder"] == "clip_b16") & left["train"].notna()]
    assert base["method"].value_counts().to_dict() == {"heads": 10, "components": 5}
    for key, rows in right.groupby(["encoder", "method"]):
        assert len(rows) == 4, key
        if key[1] != "baseline":
            start = right[(right["encoder"] == key[0]) & (right["method"] == "baseline")]
            merged = rows.merge(start, on="cells", suffixes=("", "_base"))
            printed = merged["value"] - merged["value_base"]
            assert np.allclose(printed, merged["difference"], atol=0.0011), key
    assert published("words").groupby(["table", "kind", "direction", "side"]).size().eq(5).all()
    gains = published("figure_means").set_index(["figure", "family", "cells"])["value"]
    assert gains[2, "components_intercept", "all"] - gains[2, "all_intercept", "all"] > 0.02


def test_cells_page_shows_interval_and_n_and_what_was_given_up(paper):
    table, html = build(paper, "cells")
    cells = pd.concat([pd.read_parquet(p) for p in paper.inputs["cells"]])
    drawn = set(cells.loc[cells["draw"] > 0, "feature_set"])
    assert len(table) == int((~cells["feature_set"].isin(drawn)).sum())
    assert not set(table["feature_set"]) & drawn
    # In each of five pairs' matrices 14 * 14 - 12 * 12 cells are given up, in both encoders, for
    # components, with intercept, residual and Fisher; 27 for the validation generator of heads.
    assert html.count('title="used for the selection"') == 2 * (4 * 5 * 52 + 10 * 27)
    assert "n 90" in html


def test_the_shortcut_warning_stands_first_and_names_the_generator(demo, tmp_path):
    for name in ("shortcuts", "overview"):
        _, html = build(demo, name)
        text, _ = read_page(html)
        assert "File facts alone separate real from generated for 1 of 8" in text
        assert text.index("File facts alone separate") < 400
        assert "Style network <mosaic>" in text[text.index("File facts") :][:120]
    clean = [tmp_path / "run" / "seed0" / "shortcuts.parquet"]
    clean[0].parent.mkdir(parents=True)
    rows = pd.read_parquet(demo.inputs["shortcuts"][0])
    rows[["auc", "auc_low", "auc_high", "separates"]] = [0.56, 0.45, 0.63, False]
    rows.to_parquet(clean[0])
    _, html = build_table("shortcuts", {"shortcuts": clean}, facts_of(demo))
    text, _ = read_page(html)
    assert "separate no generator" in text
    assert 'role="alert"' not in html.split("<main>")[0].replace("random weights", "") or (
        "File facts alone separate real" not in text
    )


def test_the_originals_and_unlike_treatment_of_an_aligned_run_are_shown(demo, tmp_path):
    path = tmp_path / "run" / "seed0" / "shortcuts.parquet"
    path.parent.mkdir(parents=True)
    rows = pd.read_parquet(demo.inputs["shortcuts"][0])
    used = rows.assign(auc=0.51, separates=False)
    own = (used["train"] == used["test"]) & (used["facts"] == "file")
    said = "real images: 100 % reduced; generated images: 100 % untouched"
    used.loc[own & (used["test"] == "up_nearest"), "unlike_treatment"] = said
    pd.concat([used, rows.assign(files="originals")]).to_parquet(path)
    inputs = {"shortcuts": [path], "cells": demo.inputs["cells"]}
    csv, html = build_table("shortcuts", inputs, facts_of(demo))
    text, _ = read_page(html)
    assert "By generator, aligned files" in text
    assert "By generator, original files" in text
    assert "Align did not resample real and generated images alike" in text
    assert said in text
    originals = text[text.index("original files") : text.index("Transfer of the facts")]
    # one generator: three AUCs and the upper bound of its balanced accuracy
    assert originals.count("0.990") == 4
    assert len(pd.read_csv(StringIO(csv))) == 2 * len(rows)


def test_swapped_reals_are_shown_where_sources_differ(demo, tmp_path):
    path = tmp_path / "run" / "seed0" / "shortcuts.parquet"
    path.parent.mkdir(parents=True)
    rows = pd.read_parquet(demo.inputs["shortcuts"][0])
    first, second = list(demo.generators)[:2]
    pair = rows[rows["train"].isin([first, second]) & rows["test"].isin([first, second])].copy()
    pair.loc[pair["test"] == second, "reals"] = "paintings"
    cross = pair[pair["train"] != pair["test"]]
    reals = cross["reals"].map({"paintings": "photographs", "photographs": "paintings"})
    pd.concat([pair, cross.assign(reals=reals, auc=0.333)]).to_parquet(path)
    _, html = build_table("shortcuts", {"shortcuts": [path]}, facts_of(demo))
    text, _ = read_page(html)
    assert "Swap of real images" in text
    assert text.count("0.333") == 4  # two directions, by file facts and by spectrum
    _, plain = build(demo, "shortcuts")
    assert "Swap of real images" not in plain


def test_a_leak_is_an_alert_with_both_images(demo, tmp_path):
    path = tmp_path / "run" / "seed0" / "leakage.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame(
        [
            {
                **{"kind": "near_duplicate", "first": "a/1.png", "second": "b/2.png"},
                **{"first_split": "train", "second_split": "test", "distance": 3.0},
            }
        ]
    ).to_parquet(path)
    inputs = {"leakage": [path], "manifest": demo.inputs["manifest"]}
    csv, html = build_table("leakage", inputs, facts_of(demo))
    text, _ = read_page(html)
    assert "1 pair of images occurs in two splits" in text
    assert "a/1.png train" in text
    assert "b/2.png test" in text
    assert pd.read_csv(StringIO(csv))["distance"].tolist() == [3.0]
    _, clean = build(demo, "leakage")
    assert "None does in this run" in clean


def test_split_counts_are_those_of_the_manifest(demo):
    _, html = build(demo, "leakage")
    text, _ = read_page(html)
    manifest = pd.read_parquet(demo.inputs["manifest"][0])
    counts = manifest[manifest["image_set"] == "photographs"]["split"].value_counts()
    assert f"photographs real (1) {counts['train']} {counts['val']} {counts['test']} 0" in text


def test_controls_page_shows_rank_and_gain(demo):
    table, html = build(demo, "controls")
    assert set(table["rank"]) == {2}
    text, _ = read_page(html)
    assert "2 of 101" in text
    assert "+0.180" in text  # optimism: (0.9 - 0.7) - (0.77 - 0.75)
    assert 'class="num good"' in html


def test_a_rank_is_coloured_by_its_corrected_p(demo, tmp_path):
    inputs = dict(demo.inputs)
    inputs["controls"] = []
    for k, path in enumerate(demo.inputs["controls"]):
        copy = tmp_path / f"demo/seed{k // 2}/{path.parent.name}/controls.parquet"
        copy.parent.mkdir(parents=True, exist_ok=True)
        pd.read_parquet(path).assign(p=0.01, p_holm=0.21).to_parquet(copy)
        inputs["controls"].append(copy)
    html = build_table("controls", inputs, facts_of(demo))[1]
    assert "0.21" in html
    assert 'class="num good"' not in html


def test_a_leaderboard_of_two_runs_names_them_and_their_coverage(demo, tmp_path):
    table = pd.read_csv(demo.inputs["leaderboard"][0])
    both = pd.concat([table, table.assign(run="aligned")]).assign(confidence=0.9)
    path = tmp_path / "leaderboard.csv"
    both.to_csv(path, index=False)
    html = build_table("leaderboard", {"leaderboard": [path]}, facts_of(demo))[1]
    text, _ = read_page(html)
    assert text.count("aligned") > len(table)
    assert "90 %" in text
    assert "95 %" not in text


def test_selection_overlap_is_the_jaccard_index(demo):
    _, html = build(demo, "selection")
    text, _ = read_page(html)
    sets = {}
    for path in demo.inputs["features"]:
        if path.stem == "components" and "clip_b16" in path.parts:
            for entry in json.loads(path.read_text()):
                sets[origin("features", path)["seed"], entry["feature_set"]] = set(
                    entry["draws"][0]
                )
    found = [
        len(sets[0, f] & sets[1, f]) / len(sets[0, f] | sets[1, f])
        for f in {name for _, name in sets}
    ]
    section = text[text.index("CLIP ViT-B/16: how stable") :]
    shown = re.search(r"components two seeds, one pair (\d+) ([\d.]+) ([\d.]+)", section)
    assert int(shown[1]) == len(found)
    assert float(shown[2]) == pytest.approx(np.mean(found), abs=6e-4)
    # two random sets of 9 out of 60: every size of the overlap with its number of ways
    ways = [math.comb(9, k) * math.comb(51, 9 - k) for k in range(10)]
    chance = sum(w * k / (18 - k) for k, w in enumerate(ways)) / math.comb(60, 9)
    assert float(shown[3]) == pytest.approx(chance, abs=6e-4)


def test_robustness_levels_stand_from_mild_to_strong_whatever_the_file_says(tmp_path):
    plain = tmp_path / "a" / "seed0" / "clip_b16" / "robustness.parquet"
    named = tmp_path / "b" / "seed0" / "clip_b16" / "robustness.parquet"
    numbers = {"feature_set": "all", "metric": "accuracy", "low": 0.6, "high": 0.8, "n": 90}
    rows = [("none", "none", 0.0), ("jpeg_50", "jpeg", 50.0), ("jpeg_95", "jpeg", 5.0)]
    frame = pd.DataFrame(rows, columns=["perturbation", "family", "level"]).assign(**numbers)
    frame = frame.assign(value=[0.8, 0.7, 0.75])
    other = frame.assign(perturbation=frame["family"], level=[0.0, 50.0, 95.0])
    for path, table in ((named, frame), (plain, other.drop(columns="family"))):
        path.parent.mkdir(parents=True)
        table.to_parquet(path)
    facts = parse_facts(None, None)
    text, _ = read_page(build_table("robustness", {"robustness": [named]}, facts)[1])
    assert text.index("jpeg 95 0.750") < text.index("jpeg 50 0.700")
    text, _ = read_page(build_table("robustness", {"robustness": [plain]}, facts)[1])
    assert text.index("untouched 0.800") < text.index("jpeg 50 0.700") < text.index("jpeg 95 0.750")


def test_the_overview_answers_with_the_intervals_over_generators_first(paper):
    _, html = build(paper, "overview")
    text, _ = read_page(html)
    means = pd.concat([pd.read_parquet(p) for p in paper.inputs["means"]])
    base = means[
        (means["encoder"] == "clip_b16")
        & (means["feature_set"] == "all")
        & (means["cells"] == "all")
        & (means["metric"] == "auc")
    ].iloc[0]
    over = [number(base[f"value_generators_{end}"]) for end in ("low", "high")]
    plain = [number(base[end]) for end in ("low", "high")]
    said = f"AUC {number(base['value'])} ({over[0]} to {over[1]} over generators;"
    assert f"{said} {plain[0]} to {plain[1]} over photographs)" in text
    pairs = pd.concat([pd.read_parquet(p) for p in paper.inputs["pairs"]])
    joint = pairs[
        (pairs["encoder"] == "clip_b16")
        & (pairs["family"] == "components")
        & (pairs["against"] == "all")
        & (pairs["cells"] == "all")
        & (pairs["metric"] == "auc")
    ].iloc[0]
    assert f"selecting components changes AUC by {number(joint['difference'], sign=True)}" in text
    assert "over generators and pairs, p (Holm) 0.40" in text
    assert "rank 3 of 101" in text
    assert "in 5 of 10 component searches the score sat at its ceiling" in text
    assert "Chance, the score of an answer that does not depend on the image, is 0.5" in text


def test_no_page_leads_with_an_encoder_of_random_weights(demo):
    for name in ("overview", "table4", "means", "cells", "ranking", "pairs", "leaderboard"):
        text, _ = read_page(build(demo, name)[1])
        assert text.index("CLIP ViT-B/16") < text.index("Stages run"), name
    overview, _ = read_page(build(demo, "overview")[1])
    assert "How well: CLIP ViT-B/16" in overview[: overview.index("Images in each split")]
    assert overview.index("How well: tiny ViT") > overview.index("Images in each split")


def test_few_generators_are_said_to_allow_no_statement(demo, tmp_path):
    path = tmp_path / "demo/seed0/clip_b16/means.parquet"
    path.parent.mkdir(parents=True)
    columns = ["generators_low", "generators_high", "generators_p", "generators_p_holm"]
    columns += ["value_generators_low", "value_generators_high"]
    rows = pd.read_parquet(demo.inputs["means"][0])
    rows[columns] = np.nan
    rows.to_parquet(path)
    inputs = {**demo.inputs, "means": [path]}
    del inputs["pairs"]
    _, html = build_table("overview", inputs, facts_of(demo))
    text, _ = read_page(html)
    assert "With fewer than four generators, nothing can be said" in text
    assert "too few to say anything of generators that are not in this run" in text
    assert 'class="num good"' not in html


def test_the_search_table_shows_the_stop_that_was_used(demo):
    text, _ = read_page(build(demo, "selection")[1])
    a, b = demo.pairs[0]
    path = next(p for p in demo.inputs["searches"] if p.stem == f"{a}--{b}")
    table, note = read_table(path)
    step = note["stops"]["log_loss"]["step"]
    score = float(table.set_index("step")["score"][step])
    title = facts_of(demo).pair_title(f"{a}--{b}", " \N{RIGHTWARDS ARROW} ")
    start = text.index(f"{title} 0 60") + len(f"{title} 0 60 ")
    assert text[start:].startswith(f"least log-loss {number(score)} {step} {60 - step} ")


def test_ranks_are_means_over_seeds(demo):
    table, html = build(demo, "ranking")
    mine = table[(table["encoder"] == "clip_b16") & (table["metric"] == "auc")]
    best = mine.groupby("feature_set")["average_rank"].mean().sort_values()
    text, _ = read_page(html)
    start = text.index("CLIP ViT-B/16: every pair, AUC")
    assert f" {number(best.iloc[0], 2)} " in text[start : start + 500]
    assert "critical difference" in text


def test_every_printed_mean_stands_beside_ours_or_says_why_not(paper, demo):
    table, _ = build(paper, "paper_vs_ours")
    assert len(table) == sum(
        len(published(n)) for n in ("table4_left", "table4_right", "figure_means")
    )
    compared = table["ours"].notna()
    assert table.loc[~compared, "reason"].str.len().gt(0).all()
    assert (table["difference"] - (table["ours"] - table["published"]))[compared].abs().max() < 1e-9
    means = pd.concat([pd.read_parquet(p) for p in paper.inputs["means"]])
    mine = means[(means["metric"] == "accuracy") & (means["encoder"] == "clip_b16")]
    heads = mine[
        (mine["feature_set"] == "heads/gaugan--glide_base") & (mine["cells"] == "all")
    ].iloc[0]
    row = table[
        (table["encoder"] == "clip_b16") & (table["feature_set"] == "heads/gaugan--glide_base")
    ]
    assert row["published"].tolist() == [0.785]
    assert row["ours"].iloc[0] == pytest.approx(heads["value"], abs=1e-9)
    part = mine[mine["feature_set"].str.startswith("components/") & (mine["cells"] == "within_gan")]
    right = table[
        (table["where"] == "Table 4, right")
        & (table["encoder"] == "clip_b16")
        & (table["feature_set"] == "components")
        & (table["cells"] == "within_gan")
    ]
    assert right["ours"].iloc[0] == pytest.approx(part["value"].mean(), abs=1e-9)
    # the pair of the figures is not in this made-up run, and some captions count the pair in
    caption = table[table["where"].str.startswith("Figure") & ~compared]
    assert caption["reason"].str.contains("is not in this run|search pair counted in").all()
    other, _ = build(demo, "paper_vs_ours")
    assert other["ours"].isna().all()
    assert other["reason"].str.contains("other generators than the paper").all()


def test_every_printed_cosine_stands_beside_ours_or_says_why_not(paper, demo):
    table, html = build(paper, "paper_cosines")
    words = published("words")
    printed = words[words["rank"] == 1].set_index(["table", "kind", "direction", "side"])["cosine"]
    found = {(r["where"], r["kind"], r["direction"], r["side"]) for _, r in table.iterrows()}
    assert found == {(f"Table {t}", *rest) for t, *rest in printed.index}
    mine = pd.concat(
        [pd.read_parquet(p).assign(texts=p.stem) for p in paper.inputs["interpretation"]]
    )
    row = table[
        (table["where"] == "Table 7")
        & (table["kind"] == "residual")
        & (table["direction"] == "gaugan")
        & (table["encoder"] == "clip_l14")
    ].iloc[0]
    assert row["published"] == printed.loc[7, "residual", "gaugan", "nearest"] == 0.16
    ours = mine[
        (mine["texts"] == "vocabulary")
        & (mine["encoder"] == "clip_l14")
        & (mine["kind"] == "residual")
        & (mine["direction"] == "gaugan")
        & (mine["feature_set"] == "residual")
        & (mine["side"] == "nearest")
    ].sort_values("rank")
    assert row["ours"] == pytest.approx(ours.iloc[0]["cosine"])
    assert row["our_text"] == ours.iloc[0]["text"]
    theirs = {"manatee", "generative", "と", "digital", "octane"}
    assert row["shared"] == len(theirs & {str(text).lower() for text in ours["text"].head(5)})
    assert row["difference"] == pytest.approx(row["ours"] - 0.16)
    lacking = table[table["ours"].isna()]
    assert lacking["reason"].str.len().gt(0).all()
    assert "list absent" in html
    other, _ = build(demo, "paper_cosines")
    assert other["reason"].str.contains("other generators than the paper").all()


def test_what_another_choice_gives_is_the_change_of_gains_over_shared_sets(demo, tmp_path):
    board = pd.read_csv(demo.inputs["leaderboard"][0])
    mine = board.loc[board["run"] == "demo"]
    there = mine[~mine["feature_set"].eq(f"components/{'--'.join(demo.pairs[0])}")].copy()
    there["run"] = "demo_first"
    there["difference"] += 0.02
    there.loc[there["feature_set"] == "all", "value"] -= 0.01
    path = tmp_path / "results/demo/leaderboard.csv"
    path.parent.mkdir(parents=True)
    # the other run leads the file: whose it is follows from its place
    pd.concat([there, mine]).to_csv(path, index=False)
    changed = replace(demo, inputs={**demo.inputs, "leaderboard": [path]})
    table, html = build(changed, "what_if")
    assert set(table["run"]) == {"demo"}
    assert set(table["compared"]) == {"demo_first"}
    found = table[table["metric"] == "auc"].set_index(["encoder", "family"])
    assert found.loc[("clip_b16", "components"), "sets"] == len(demo.pairs) - 1
    assert found.loc[("clip_b16", "components"), "change"] == pytest.approx(0.02)
    assert found.loc[("clip_b16", "all"), "change"] == pytest.approx(-0.01)
    heads = mine[(mine["metric"] == "auc") & mine["feature_set"].str.startswith("heads/")]
    heads = heads[heads["encoder"] == "clip_b16"]
    assert found.loc[("clip_b16", "heads"), "value"] == pytest.approx(heads["difference"].mean())
    assert "demo_first" in html
    alone, _ = build(demo, "what_if")
    assert alone.empty


def test_the_papers_phrases_are_said_to_be_absent_where_the_list_is(paper):
    text, _ = read_page(build(paper, "table1")[1])
    assert "List absent: the paper's texts are of another list" in text
    assert "of the paper's 5 texts are among ours" not in text
    words, _ = read_page(build(paper, "table3")[1])
    assert "of the paper's 5 texts are among ours" in words


def test_errors_by_size_are_shares_of_wrong_answers(demo):
    table, _ = build(demo, "errors_by_size")
    manifest = pd.read_parquet(demo.inputs["manifest"][0]).set_index("image_id")
    path = next(p for p in demo.inputs["scores"] if "clip_b16" in p.parts and "seed1" in p.parts)
    right, wrong = 0, 0
    for row in read_score_table(path).to_dict("records"):
        size = manifest.loc[row["image_id"], ["width", "height"]].max()
        if row["label"] == 0 and 128 < size <= 256 and row["train"] != row["generator"]:
            right += row["logit"] <= 0
            wrong += row["logit"] > 0
    mine = table[(table["encoder"] == "clip_b16") & (table["seed"] == 1) & ~table["real"]]
    mine = mine[mine["size"] == "129 to 256"]
    assert mine["error"].iloc[0] == pytest.approx(wrong / (right + wrong))
    assert mine["groups"].iloc[0] == 6
