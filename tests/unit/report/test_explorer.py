"""The explorer: its numbers against the run's files, and the page itself in a headless browser."""

from __future__ import annotations

import csv
import io
import json
import re

import h5py
import numpy as np
import pandas as pd
import pytest

from clipsieve.cli import main
from clipsieve.cli.page_options import parse_facts
from clipsieve.io.scores import read_scores
from clipsieve.report.explorer.details import BINS, SUREST, details_of
from clipsieve.report.explorer.document import explorer_page
from clipsieve.report.explorer.packing import Packing, unpack
from tests.helpers.browser import opened
from tests.helpers.report_inputs import make_run
from tests.helpers.score_files import read_score_table

PLANTED = "</script><script>window.planted = 1</script><img src=x onerror='window.planted = 1'>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of two seeds, in which titles, words and image names hold a planted script."""
    made = make_run(tmp_path_factory.mktemp("explorer"), seeds=(0, 1))
    made.generators["style_mosaic"]["title"] = f"Style {PLANTED}"
    for path in made.inputs["interpretation"]:
        table = pd.read_parquet(path)
        table["text"] = table["text"].replace({"<b>&bold": PLANTED, "Generated image": PLANTED})
        table.to_parquet(path)
    old, new = "up_nearest/00.png", f"up_nearest/{PLANTED}.png"
    manifest = pd.read_parquet(made.inputs["manifest"][0])
    manifest["image_id"] = manifest["image_id"].replace({old: new})
    manifest.to_parquet(made.inputs["manifest"][0])
    for path in made.inputs["scores"]:
        with h5py.File(path, "r+") as file:
            names = [n.decode().replace(old, new).encode() for n in file["image_id"][...].tolist()]
            del file["image_id"]
            file.create_dataset("image_id", data=np.array(names), fletcher32=True)
    return made


@pytest.fixture(scope="module")
def page(made):
    path = made.root / "explorer.html"
    facts = parse_facts(made.generators_json, made.encoders_json)
    path.write_text(explorer_page(made.inputs, facts, made.root / "data"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with opened() as found:
        yield found


@pytest.fixture
def shown(browser, page):
    browser.complaints()
    browser.open(page)
    yield browser
    assert browser.complaints() == []


def cells_of(made, encoder, feature_set, metric, seed=None):
    """Value, low and high by (train, test), over the draws and the seeds, by pandas alone."""
    table = pd.concat([pd.read_parquet(path) for path in made.inputs["cells"]])
    mine = table[(table["encoder"] == encoder) & (table["feature_set"] == feature_set)]
    mine = mine[mine["metric"] == metric]
    if seed is not None:
        mine = mine[mine["seed"] == seed]
    return mine.groupby(["train", "test"])[["value", "low", "high"]].mean()


def numbers_in(text):
    return [
        float(x.replace("\N{MINUS SIGN}", "-"))
        for x in re.findall(r"[+\N{MINUS SIGN}]?\d\.\d+", text)
    ]


def labels(shown):
    """What a screen reader is told of each cell, by (row, column)."""
    found = shown.texts("#matrix .cell", "aria-label")
    side = int(len(found) ** 0.5)
    return {(i, t): found[i * side + t] for i in range(side) for t in range(side)}


def test_numbers_are_kept_and_refused():
    rng = np.random.default_rng(0)
    values = np.append(np.round(rng.uniform(-3, 3, 500), 4), [np.nan, 0, -1e-4])
    places = np.append(rng.integers(0, 65535, 300), -1)
    packing = Packing()
    packing.numbers("values", values, 10_000)
    packing.indices("places", places)
    packing.raw("files", [b"abc", b"", b"\x00\xff"])
    header, arrays = unpack(packing.text({"told": "\N{SNOWMAN}</script>"}))
    assert header["told"] == "\N{SNOWMAN}</script>"
    np.testing.assert_allclose(arrays["values"], values, atol=1e-12)
    np.testing.assert_array_equal(arrays["places"], np.where(places < 0, np.nan, places))
    assert arrays["files"] == [b"abc", b"", b"\x00\xff"]
    with pytest.raises(ValueError, match="larger"):
        packing.numbers("too large", [4.0], 10_000)
    with pytest.raises(ValueError, match="there already"):
        packing.indices("places", [1])


def test_details_are_those_of_a_plain_loop(made):
    path = next(p for p in made.inputs["scores"] if "clip_b16" in p.parts and "seed0" in p.parts)
    found = details_of(read_scores([path]), list(made.generators))
    ids = read_scores([path]).images.image_id
    table = read_score_table(path)
    for p, train in enumerate(found.train):
        mine = table[table["train"] == train]
        low, high = found.edges[0, p]
        for i, image_set in enumerate(found.image_sets):
            rows = mine[mine["image_set"] == image_set]
            counted = [0] * BINS
            for z in rows["logit"]:
                counted[min(BINS - 1, max(0, int((z - low) / (high - low) * BINS // 1)))] += 1
            assert found.counts[0, p, i].tolist() == counted
            for k, wanted in enumerate((True, False)):
                right = (rows["logit"] > 0) == (rows["label"] == 1)
                best = rows[right == wanted].assign(sure=lambda t: t["logit"].abs())
                best = best.sort_values(["sure", "image_id"], ascending=[False, True])[:SUREST]
                there = found.surest[0, p, i, k]
                assert ids[there[there >= 0]].tolist() == best["image_id"].tolist()
                chance = 1 / (1 + np.exp(best["logit"].to_numpy()))
                told = found.probability[0, p, i, k]
                np.testing.assert_allclose(told[there >= 0], chance, rtol=1e-9)


def test_the_page_asks_nobody_and_complains_of_nothing(shown, page):
    assert shown.complaints() == []
    asked = [url for url in shown.requests() if not url.startswith(("data:", "about:"))]
    assert set(asked) == {page.resolve().as_uri()}
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.read_text())[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    # what the policy is for: neither a request nor code from text
    assert (
        shown.run(
            "const done = arguments[arguments.length - 1]; return fetch('https://example.org/')"
            ".then(() => 'asked', () => 'refused')"
        )
        == "refused"
    )
    assert any("violates" in text for text in shown.complaints())


def test_every_cell_is_that_of_the_files(shown, made):
    ids = shown.run("return [...document.querySelectorAll('#matrix .cell')].length")
    assert ids == len(made.generators) ** 2
    generators = [
        g
        for f in ("gan", "diffusion")
        for g in made.generators
        if made.generators[g]["family"] == f
    ]
    a, b = made.pairs[0]
    for feature_set, metric, seed in (
        ("all", "auc", None),
        (f"components/{a}--{b}", "accuracy", 1),
        (f"random/{a}--{b}", "ece", 0),
    ):
        shown.choose("set", feature_set)
        shown.choose("metric", metric)
        shown.choose("seed", "mean" if seed is None else str(seed))
        expected = cells_of(made, "clip_b16", feature_set, metric, seed)
        for (i, t), text in labels(shown).items():
            key = generators[i], generators[t]
            if key not in expected.index:
                assert "not evaluated" in text
                continue
            told = numbers_in(text.split(metric_title(metric))[-1])
            value, low, high = expected.loc[key]
            assert told[0] == pytest.approx(value, abs=6e-4)
            if feature_set.startswith("random"):
                assert "no interval" in text
            else:
                assert told[1:3] == pytest.approx([low, high], abs=6e-4)


def metric_title(metric):
    from clipsieve.report.facts import metric_title as title

    return title(metric)


def csv_of(shown, name):
    """Press the button of a CSV file and return its rows, which the browser would have saved."""
    shown.run(
        "window.saved = null; const real = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { blob.text().then((t) => { window.saved = t; }); return real(blob); };"
        "document.querySelector(`[data-csv=${arguments[0]}]`).click();"
        "URL.createObjectURL = real;",
        name,
    )
    from selenium.webdriver.support.ui import WebDriverWait

    text = WebDriverWait(shown.chrome, 10).until(lambda c: c.execute_script("return window.saved"))
    return list(csv.DictReader(io.StringIO(text)))


def test_differences_and_their_marks(shown, made):
    a, b = made.pairs[1]
    shown.choose("set", f"components/{a}--{b}")
    shown.choose("against", "shuffled")
    shown.choose("metric", "accuracy")
    mine = cells_of(made, "clip_b16", f"components/{a}--{b}", "accuracy")
    other = cells_of(made, "clip_b16", "shuffled", "accuracy")
    rows = csv_of(shown, "transfer")
    assert len(rows) == len(mine)
    apart = 0
    for row in rows:
        key = row["train"], row["test"]
        assert float(row["value"]) == pytest.approx(mine["value"][key], abs=1e-4)
        assert float(row["difference"]) == pytest.approx(
            mine["value"][key] - other["value"][key], abs=2e-4
        )
        told = mine["low"][key] > other["high"][key] or mine["high"][key] < other["low"][key]
        assert row["intervals_apart"] == str(bool(told)).lower()
        apart += told
    assert apart > 0
    assert len(shown.texts("#matrix .significant")) == apart
    assert "do not overlap" in shown.texts("#transfer-note")[0]


def test_the_means_are_those_of_the_files(shown, made):
    shown.choose("seed", "1")
    shown.choose("metric", "auc")
    means = pd.concat([pd.read_parquet(p) for p in made.inputs["means"]])
    mine = means[
        (means["encoder"] == "clip_b16") & (means["seed"] == 1) & (means["cells"] == "all")
    ]
    mine = mine[mine["metric"] == "auc"].set_index("feature_set")
    rows = {row["feature_set"]: row for row in csv_of(shown, "methods")}
    assert rows.keys() == set(mine.index)
    for name, row in rows.items():
        for column in ("value", "low", "generators_high", "difference"):
            if pd.notna(mine[column][name]):
                assert float(row[column]) == pytest.approx(mine[column][name], abs=1e-4)
            else:
                assert row[column] == ""
        assert int(row["n_cells"]) == mine["n_cells"][name]


def test_no_title_of_the_matrix_is_clipped(shown):
    script = (
        "const box = document.querySelector('#transfer .scroll').getBoundingClientRect();"
        "return [...document.querySelectorAll('#matrix text')].filter((x) => {"
        " const t = x.getBoundingClientRect(); return t.right > box.right + 1 || t.left < box.left - 1"
        " || t.top < box.top - 1; }).map((x) => x.textContent)"
    )
    assert shown.run(script) == []


def test_the_keyboard_walks_through_the_matrix(shown):
    from selenium.webdriver.common.keys import Keys

    side = round(len(shown.texts("#matrix .cell")) ** 0.5)
    shown.run("document.querySelector('#matrix .cell[tabindex=\"0\"]').focus()")
    assert (
        len(shown.run("return [...document.querySelectorAll('#matrix .cell[tabindex=\"0\"]')]"))
        == 1
    )
    shown.press(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    focused = "return [document.activeElement.dataset.row, document.activeElement.dataset.column]"
    assert shown.run(focused) == ["2", "1"]
    label = shown.run("return document.activeElement.getAttribute('aria-label')")
    assert shown.texts("#told") == [label]
    before = shown.texts("#cell h3")[0]
    shown.press(Keys.ENTER)
    assert shown.texts("#cell h3")[0] != before
    assert shown.run("return document.activeElement.getAttribute('aria-pressed')") == "true"
    assert len(shown.texts("#matrix .cell[aria-pressed=true]")) == 1
    shown.press(Keys.END, Keys.ARROW_RIGHT)
    assert shown.run(focused) == ["2", str(side - 1)]


def test_a_cell_shows_its_scores_and_its_images(shown, made):
    shown.run(
        'document.querySelector(\'#matrix .cell[data-row="0"][data-column="3"]\')'
        ".dispatchEvent(new MouseEvent('click'))"
    )
    cell = shown.texts("#cell")[0]
    assert (
        "6 real images above the line, 6 generated ones below"
        in shown.texts("#cell .histogram", "aria-label")[0]
    )
    assert "Real, taken for real" in cell
    assert len(shown.texts("#cell .roc polyline")) == 1
    path = next(p for p in made.inputs["scores"] if "clip_b16" in p.parts and "seed0" in p.parts)
    table = read_score_table(path)
    generators = [
        g
        for f in ("gan", "diffusion")
        for g in made.generators
        if made.generators[g]["family"] == f
    ]
    mine = table[(table["train"] == generators[0]) & (table["image_set"] == generators[3])]
    right = mine[mine["logit"] <= 0].sort_values("logit")["image_id"].tolist()[:SUREST]
    script = (
        "const h = [...document.querySelectorAll('#cell h3')].find((x) => x.textContent ==="
        " 'Generated, taken for generated'); const list = h.nextElementSibling;"
        "return [...list.querySelectorAll('img')].map((x) => [x.alt, x.naturalWidth])"
    )
    pictures = shown.run(script)
    assert [alt.split(", ")[0] for alt, _ in pictures] == right
    assert all(width > 0 for _, width in pictures)
    row = next(r for r in mine.to_dict("records") if r["image_id"] == right[0])
    assert f"{100 / (1 + np.exp(row['logit'])):.1f} % generated" in pictures[0][0]


def test_the_slider_reads_the_search(shown, made):
    a, b = made.pairs[0]
    shown.choose("search", f"{a}--{b}")
    path = next(
        p
        for p in made.inputs["searches"]
        if p.stem == f"{a}--{b}" and "clip_b16" in p.parts and "seed0" in p.parts
    )
    steps = pd.read_parquet(path).set_index("step")["score"]
    for step in (0, 1, 30, 59):
        shown.run(
            "const s = document.querySelector('#step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
            step,
        )
        expected = 0.69 if step == 0 else steps[step]
        text = shown.texts("#step-told")[0]
        assert f"After {step} of 60 columns" in text
        assert f"accuracy {expected:.3f}" in text
    rows = csv_of(shown, "removal")
    assert [float(r["accuracy"]) for r in rows[1:]] == pytest.approx(steps.tolist(), abs=1e-4)


def test_the_slider_moves_the_transfer_along(shown, made):
    a, b = made.pairs[0]
    shown.choose("search", f"{a}--{b}")
    path = next(p for p in made.inputs["removal"] if "clip_b16" in p.parts and "seed0" in p.parts)
    table = pd.read_parquet(path)
    mine = table[(table["search"] == f"{a}--{b}") & (table["metric"] == "auc")]
    for step, nearest in ((3, 0), (30, 20), (50, 51), (59, 59)):
        shown.run(
            "const s = document.querySelector('#step'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            step,
        )
        part = mine[mine["step"] == nearest]
        mean = part[part["train"] != part["test"]]["value"].mean()
        note = shown.texts("#removal-note")[0]
        assert f"off the diagonal with {60 - nearest} columns left" in note
        assert f": {mean:.3f} over 30 cells" in note
        told = shown.texts("#removal-matrix .cell:not(.none)", "aria-label")
        values = sorted(numbers_in(text)[-1] for text in told)
        assert values == pytest.approx(sorted(part["value"]), abs=6e-4)


def test_heads_and_words(shown, made):
    a, b = made.pairs[0]
    ranking = pd.read_parquet(made.inputs["head_rankings"][0])
    mine = ranking[(ranking["train"] == a) & (ranking["val"] == b)]
    rows = csv_of(shown, "heads")
    expected = {(r.layer, r.head): r.accuracy for r in mine.itertuples()}
    assert {(int(r["layer"]), int(r["head"])): float(r["accuracy"]) for r in rows} == pytest.approx(
        expected
    )
    words = pd.read_parquet(
        next(
            p for p in made.inputs["interpretation"] if "clip_b16" in p.parts and "seed0" in p.parts
        )
    )
    first = words[(words["kind"] == "probe") & (words["direction"] == "up_nearest")]
    shown.choose("texts", "vocabulary")
    shown.choose("direction", "probe|up_nearest|all")
    found = [r for r in csv_of(shown, "words") if r["list_or_edit"] == "vocabulary"]
    expected = {(r.side, r.rank): (r.text, r.above_null) for r in first.itertuples()}
    assert {
        (r["side"], int(r["rank"])): (r["text"], r["above_null"] == "true") for r in found
    } == expected
    cosines = {(r.side, r.rank): r.cosine for r in first.itertuples()}
    assert {(r["side"], int(r["rank"])): float(r["cosine"]) for r in found} == pytest.approx(
        cosines, abs=1e-4
    )
    assert shown.texts("#edits svg")


def test_search_and_the_address_keep_the_state(shown, browser, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    query = shown.chrome.find_element(By.ID, "query")
    query.send_keys("residual on style")
    assert all("residual" in text.lower() for text in shown.texts("#found li"))
    assert query.get_attribute("aria-activedescendant") == "found-0"
    shown.press(Keys.ENTER)
    assert shown.run("return document.querySelector('#set').value").startswith(
        "residual_components/"
    )
    shown.choose("metric", "accuracy")
    shown.choose("encoder", "tiny")
    assert "random weights" in shown.texts("#warning")[0]
    fragment = shown.run("return location.hash")
    label = labels(shown)[0, 1]
    browser.open(page, fragment)
    assert labels(browser)[0, 1] == label
    assert browser.run("return document.querySelector('#encoder').value") == "tiny"
    browser.open(page, "#encoder=nonsense&set=nonsense&seed=9")
    assert browser.run("return document.querySelector('#encoder').value") == "clip_b16"
    assert browser.complaints() == []


def test_a_planted_script_stays_text(shown):
    from selenium.webdriver.common.by import By

    assert PLANTED in shown.texts("#cell h3")[0]
    assert any(PLANTED in text for text in labels(shown).values())
    shown.chrome.find_element(By.ID, "query").send_keys("planted")
    found = " ".join(shown.texts("#found li"))
    assert f"Word “{PLANTED}”" in found
    shown.chrome.find_element(By.ID, "query").send_keys(" .png")
    assert shown.texts("#found li") == [f"Image up_nearest/{PLANTED}.png"]
    assert shown.run("return window.planted ?? null") is None
    assert shown.run("return document.querySelectorAll('script').length") == 2


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
def test_narrow_and_dark_pages_fit(page, width, dark):
    with opened(width, 844, dark=dark) as browser:
        browser.open(page)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        paper = browser.run("return getComputedStyle(document.body).backgroundColor")
        level = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
        assert (level < 80) == dark
        small = (
            "return [...document.querySelectorAll('select, button, #query')].filter((x) => x.offsetParent"
            " && x.getBoundingClientRect().height < 24).map((x) => x.id)"
        )
        assert browser.run(small) == []
        least = (
            "return Math.min(...[...document.querySelectorAll('#matrix rect')]"
            ".map((x) => x.getBoundingClientRect().width))"
        )
        assert browser.run(least) >= 23
        assert browser.complaints() == []


def test_the_command_writes_the_same_page_again(made, tmp_path):
    options = []
    for name in ("cells", "means", "manifest", "searches"):
        options += [f"--{name}", *map(str, made.inputs[name])]
    written = []
    for name in ("one.html", "two.html"):
        path = tmp_path / name
        arguments = [*options, "--data-root", str(made.root / "data"), "--html", str(path)]
        arguments += ["--generators", made.generators_json, "--encoders", made.encoders_json]
        assert main(["explorer", *arguments]) == 0
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_a_missing_input_and_a_missing_image_are_named(made, tmp_path, capsys):
    paths = ["--means", str(made.inputs["means"][0]), "--manifest", str(made.inputs["manifest"][0])]
    rest = ["--data-root", str(tmp_path), "--html", str(tmp_path / "page.html")]
    assert main(["explorer", *paths, *rest]) == 2
    assert "needs --cells" in capsys.readouterr().err
    cells = ["--cells", str(made.inputs["cells"][0]), "--scores", str(made.inputs["scores"][0])]
    assert main(["explorer", *cells, *paths, *rest]) == 2
    assert "no such file; the page shows it" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_thumbnails_fill_what_is_left(made):
    facts = parse_facts(made.generators_json, made.encoders_json)

    def built(**options):
        text = explorer_page(made.inputs, facts, made.root / "data", **options)
        data = re.search(r'id="data">([^<]+)<', text)[1]
        header, arrays = unpack(data)
        return len(data), header["images"], arrays["thumbnails"]

    size, images, thumbnails = built()
    assert len(thumbnails) == len(images) == len({json.dumps(i) for i in images})
    without, images, thumbnails = built(most=5)
    assert len(thumbnails) == 5
    assert sorted(i["thumbnail"] for i in images)[-5:] == [0, 1, 2, 3, 4]
    # room for about half of them
    half = (size - without) / 2
    smaller, _, fewer = built(megabytes=(without + 250_000 + half) / 1e6)
    assert 5 < len(fewer) < len(images)
    assert smaller < without + half
