"""Figures and the gallery: what they draw is what the inputs say, and the same bytes each time."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.legend import Legend

from clipsieve.cli import main
from clipsieve.errors import UserError
from clipsieve.report import registry
from clipsieve.report.build import build_figure
from clipsieve.report.figures.plot import save, style
from clipsieve.report.html.gallery import gallery_page
from clipsieve.report.html.page import render
from tests.helpers.report_inputs import facts_of, make_run
from tests.helpers.score_files import read_score_table


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("demo"))


def texts_of(path):
    root = ET.parse(path).getroot()
    return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", sorted(registry.FIGURES))
def test_figures_name_generators_and_what_is_simulated(demo, name, tmp_path):
    path = tmp_path / f"{name}.svg"
    with style():
        save(build_figure(name, demo.inputs, facts_of(demo)), path)
    text = " ".join(texts_of(path))
    assert registry.FIGURES[name].title in text
    assert "6 are simulated" in text
    assert "tiny ViT has random weights" in text
    if name in ("figure2", "figure3", "figure4", "figure6", "concepts"):
        for generator in demo.generators.values():
            mark = " (sim.)" if generator["kind"] == "simulated" else ""
            first = (generator["title"] + mark).split()[0]
            assert first in text


def test_the_same_inputs_give_the_same_bytes_in_two_processes(demo, tmp_path):
    arguments = [
        *("figure", "figure5", "--searches", *map(str, demo.inputs["searches"])),
        *("--generators", demo.generators_json, "--encoders", demo.encoders_json, "--svg"),
    ]
    here, there = tmp_path / "here.svg", tmp_path / "there.svg"
    assert main([*arguments, str(here)]) == 0
    command = [sys.executable, "-m", "clipsieve", *arguments, str(there)]
    subprocess.run(command, check=True, capture_output=True)
    assert here.read_bytes() == there.read_bytes()
    assert "<dc:date>" not in here.read_text()


def test_heatmap_means_are_over_the_same_cells(demo):
    cells = pd.concat([pd.read_parquet(p) for p in demo.inputs["cells"]])
    cells = cells[
        (cells["encoder"] == "clip_b16")
        & (cells["metric"] == "accuracy")
        & (cells["train"] != cells["test"])
        & (cells["draw"] == 0)
    ]
    a, b = demo.pairs[1]
    right = cells[cells["feature_set"] == f"components/{a}--{b}"]
    left = cells[cells["feature_set"] == "all"]
    same = left.merge(right[["train", "test"]], on=["train", "test"])
    with style():
        figure = build_figure("figure3", demo.inputs, facts_of(demo), pair=f"{b}--{a}")
    first, second = figure.axes[0].get_title("left"), figure.axes[1].get_title("left")
    assert f"mean {100 * left['value'].mean():.2f} % (56 cells)" in first
    assert f"{100 * same['value'].mean():.2f} % (30 cells)" in first
    assert f"mean {100 * right['value'].mean():.2f} % (30 cells)" in second
    # train on the vertical axis, test on the horizontal
    drawn = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    order = facts_of(demo).order(demo.generators)
    row = left[(left["train"] == order[2]) & (left["test"] == order[5])]
    assert drawn[2, 5] == pytest.approx(float(row["value"].iloc[0]))
    # the cells of the pair's generators are empty on the right, and grey
    filled = np.ma.filled(figure.axes[1].images[1].get_array(), np.nan)
    out = [order.index(g) for g in (a, b)]
    assert np.isnan(filled[out]).all()
    assert np.isnan(filled[:, out]).all()
    assert np.isfinite(np.delete(np.delete(filled, out, 0), out, 1)).all()
    grey = np.ma.filled(figure.axes[1].images[0].get_array(), np.nan)
    assert (np.isfinite(grey) == np.isnan(filled)).all()


def test_an_unknown_pair_is_refused(demo):
    with pytest.raises(UserError, match="components/x--y"):
        build_figure("figure3", demo.inputs, facts_of(demo), pair="x--y")
    with pytest.raises(UserError, match="figure5 needs --searches"):
        build_figure("figure5", {}, facts_of(demo))


def test_the_four_stopping_points_of_each_direction_are_marked(demo):
    with style():
        figure = build_figure("figure5", demo.inputs, facts_of(demo))
    ax = figure.axes[0]
    a, b = demo.pairs[0]
    base = demo.root / "seed0" / "clip_b16" / "searches"
    labels = [t.get_text().replace("\n", " ") for t in ax.get_legend().get_texts()]
    for stem, label in zip((f"{a}--{b}", f"{b}--{a}"), labels, strict=True):
        steps = pd.read_parquet(base / f"{stem}.parquet")
        scores = [0.69, *steps["score"]]
        best = max(scores)
        last = len(scores) - 1 - scores[::-1].index(best)
        near = max(i for i, score in enumerate(scores) if score >= best - 0.02)
        expected = {"o": scores.index(best), "s": scores.index(best), "^": last, "D": near}
        assert label.endswith(f"(α = {'/'.join(map(str, expected.values()))})")
        for mark, step in expected.items():
            dots = [line for line in ax.lines if line.get_marker() == mark]
            assert any(
                d.get_xdata()[0] == step and d.get_ydata()[0] == scores[step] for d in dots
            ), mark


def test_forest_marks_follow_the_interval_over_generators(demo):
    with style():
        figure = build_figure("forest", demo.inputs, facts_of(demo))
    means = pd.concat([pd.read_parquet(p) for p in demo.inputs["means"]])
    mine = means[
        (means["encoder"] == "clip_b16")
        & (means["cells"] == "all")
        & (means["metric"] == "accuracy")
    ].set_index("feature_set")
    dots = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    drawn = {round(float(d.get_xdata()[0]), 9): d.get_markerfacecolor() for d in dots}
    for row in mine.dropna(subset=["difference"]).itertuples():
        told = row.generators_low > 0 or row.generators_high < 0
        clear = row.generators_p_holm <= 0.05 and told
        assert (drawn[round(row.difference, 9)] != "white") == clear


def overlapping(texts, renderer):
    """Return the first two texts that are drawn over each other, if any."""
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text()]
    for k, (first, a) in enumerate(boxes):
        for second, b in boxes[k + 1 :]:
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            if wide > 0.5 and high > 0.5:
                return first, second
    return None


@pytest.mark.parametrize("name", sorted(registry.FIGURES))
def test_texts_are_not_drawn_over_each_other_nor_far_outside(demo, name):
    """At the figure's own width, and on a narrower page."""
    with style():
        figure = build_figure(name, demo.inputs, facts_of(demo))
        for scale in (1, 0.9):
            figure.set_size_inches(figure.get_figwidth() * scale, figure.get_figheight())
            figure.canvas.draw()
            renderer = figure.canvas.get_renderer()
            titles = [ax.title for ax in figure.axes] + [ax._left_title for ax in figure.axes]
            titles += [t for legend in figure.findobj(Legend) for t in legend.get_texts()]
            assert overlapping([*titles, figure._suptitle, figure._supxlabel], renderer) is None
            for ax in figure.axes:
                assert overlapping(ax.get_yticklabels(), renderer) is None
            if scale == 1:
                # text that is wider than the panels would leave half of the page white
                tight = figure.get_tightbbox()
                assert tight.width <= figure.get_figwidth() * 1.02


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_a_pdf_and_a_png_are_the_same_each_time(demo, tmp_path, suffix, start):
    saved = []
    for k in range(2):
        with style():
            save(
                build_figure("interpretability", demo.inputs, facts_of(demo)),
                tmp_path / f"{k}{suffix}",
            )
        saved.append((tmp_path / f"{k}{suffix}").read_bytes())
    assert saved[0] == saved[1]
    assert saved[0].startswith(start)


def gallery(made, **options):
    base = made.root / "seed0" / "clip_b16" / "scores" / "all.h5"
    manifest = made.inputs["manifest"][0]
    return gallery_page([base], manifest, made.root / "data", facts_of(made), **options)


def test_gallery_shows_the_surest_right_and_wrong(demo):
    page = gallery(demo, train=["up_nearest"], count=3, side=64)
    scores = read_score_table(demo.root / "seed0" / "clip_b16" / "scores" / "all.h5")
    mine = scores[scores["train"] == "up_nearest"]
    own = mine["generator"].isin(["", "up_nearest"])
    expected = {
        "Real, taken for real": mine[(mine["label"] == 1) & (mine["logit"] > 0)],
        "Real, taken for generated": mine[(mine["label"] == 1) & (mine["logit"] <= 0)],
        "Generated, taken for generated": mine[(mine["label"] == 0) & (mine["logit"] <= 0) & own],
        "Generated, taken for real": mine[(mine["label"] == 0) & (mine["logit"] > 0) & own],
        "Generated by others, taken for real": mine[
            (mine["label"] == 0) & (mine["logit"] > 0) & ~own
        ],
    }
    shown = {s.title: [shot.tip for shot in s.shots] for s in page.sections if s.minor}
    for title, rows in expected.items():
        surest = rows.assign(sure=rows["logit"].abs()).sort_values("sure", ascending=False)
        assert shown[title] == surest["image_id"].head(3).tolist(), title


def test_gallery_is_self_contained_and_says_what_is_simulated(demo):
    html = render(gallery(demo, count=2, side=48))
    sources = re.findall(r'<img src="([^"]{0,30})', html)
    assert len(sources) > 20
    assert all(s.startswith("data:image/jpeg;base64,") for s in sources)
    assert "160, PNG, " in html
    assert 'class="badge">simulated' in html
    probability = re.findall(r"<b>([\d.]+) % generated</b>", html)
    assert all(0 <= float(p) <= 100 for p in probability)


def test_gallery_names_a_lost_image_and_an_unknown_probe(demo, tmp_path):
    with pytest.raises(UserError, match="no probe of 'nobody'"):
        gallery(demo, train=["nobody"])
    base = demo.root / "seed0" / "clip_b16" / "scores" / "all.h5"
    with pytest.raises(UserError, match=r"\.png: no such file"):
        gallery_page([base], demo.inputs["manifest"][0], tmp_path, facts_of(demo))


def test_verbs_write_their_files_and_refuse_in_one_line(demo, tmp_path, capsys):
    files = [str(p) for p in demo.inputs["means"]]
    facts = ["--generators", demo.generators_json, "--encoders", demo.encoders_json]
    csv, html = tmp_path / "m.csv", tmp_path / "m.html"
    arguments = [
        "table",
        "means",
        "--means",
        *files,
        *facts,
        "--csv",
        str(csv),
        "--html",
        str(html),
    ]
    assert main(arguments) == 0
    assert len(pd.read_csv(csv)) == sum(len(pd.read_parquet(f)) for f in files)
    assert html.read_text().startswith("<!DOCTYPE html>")
    arguments[arguments.index("--means") + 1] = str(tmp_path / "gone.parquet")
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "gone.parquet" in error
    scores = demo.root / "seed0" / "tiny" / "scores" / "all.h5"
    page = tmp_path / "gallery.html"
    assert (
        main(
            [
                *(
                    "gallery",
                    "--scores",
                    str(scores),
                    "--manifest",
                    str(demo.inputs["manifest"][0]),
                ),
                *("--data-root", str(demo.root / "data"), "--count", "1", "--side", "32"),
                *(*facts, "--html", str(page)),
            ]
        )
        == 0
    )
    assert "random weights" in page.read_text()


def test_the_registry_and_the_verbs_import_nothing_heavy():
    code = (
        "import sys, clipsieve.report.registry, clipsieve.cli.table, clipsieve.cli.figure,"
        " clipsieve.cli.gallery; heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'jinja2',"
        " 'sklearn'} & set(sys.modules); sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
