"""clipsieve fit: on whose rows hyperparameters are found, and draws fitted together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipsieve.cli import main
from clipsieve.io.dataset import read_rows
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.files import seed_of
from clipsieve.io.probes import StoredProbe, read_probes
from clipsieve.probes import TuneRows, batch, fit_probe
from clipsieve.probes.features import features_of
from clipsieve.probes.grid import FastGrid, PaperGrid
from clipsieve.selection.filters import shuffled_labels
from tests.helpers.data_sets import write_image_set

HEADS = [[1, 2], [0, 1]]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    """Three generators; a and c share real images, b has its own."""
    found = {
        name: write_image_set(tmp_path, name, label=0, shift=shift)
        for name, shift in (("a", 1.5), ("b", 0.8), ("c", 1.0))
    }
    reals = {
        name: write_image_set(tmp_path, name, label=1, seed=seed)
        for name, seed in (("shared", 5), ("own", 6))
    }
    source = {"a": "shared", "b": "own", "c": "shared"}
    return {
        name: [found[name][0], reals[source[name]][0], found[name][1], reals[source[name]][1]]
        for name in found
    }


def fit(files, tmp_path: Path, sets: list[FeatureSet], generator: str, *options: str):
    features, output = tmp_path / "features.json", tmp_path / "probes.npz"
    write_feature_sets(features, sets)
    paths = [str(path) for path in files[generator]]
    command = [
        "fit",
        "--features",
        str(features),
        "--embeddings",
        *paths[:2],
        "--splits",
        *paths[2:],
    ]
    assert main([*command, *options, "--output", str(output)]) == 0
    return read_probes(output)


def tuned_on(files, *generators: str) -> list[str]:
    options = []
    for name in generators:
        paths = [str(path) for path in files[name]]
        options += ["--tune-embeddings", *paths[:2], "--tune-splits", *paths[2:]]
    return options


def heads_of(pair: tuple[str, str], draws=(HEADS,)) -> FeatureSet:
    return FeatureSet(
        f"heads/{pair[0]}--{pair[1]}", "heads", pair, space="heads", draws=tuple(draws),
        excluded=pair[1:],
    )  # fmt: skip


def read(files, generator: str, *splits: str):
    paths = files[generator]
    return read_rows(paths[:2], paths[2:], ("train", "val"), "test").of(*splits)


def alone(files, generator: str, val: str, heads, grid: str):
    """The probe by `fit_probe` itself, groups written out by source."""
    train, own = read(files, generator, "train"), read(files, generator, "val")
    other = read(files, val, "train", "val")
    source = {"a": "shared", "b": "own", "c": "shared"}

    def named(rows, name):
        return [f"{source[name]}:{group}" for group in rows.group]

    trained = set(named(train, generator))
    scored = [name not in trained for name in named(other, val)]
    X = [features_of(rows, "heads", heads) for rows in (train, own, other)]
    tune = TuneRows(X[2], other.label, named(other, val), scored)
    return fit_probe(
        X[0], train.label, X[1], own.label, grid=grid,
        groups=(named(train, generator), named(own, generator)), tune=tune,
    ), sum(scored)  # fmt: skip


@pytest.mark.parametrize(("generator", "val"), [("a", "b"), ("c", "a"), ("a", "c")])
@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_heads_are_tuned_on_the_validation_generator(files, tmp_path, generator, val, grid):
    """On its train and val rows less the groups trained on, as the ranking was scored."""
    options = ["--grid", grid, *tuned_on(files, "a", "b", "c")]
    (probe,) = fit(files, tmp_path, [heads_of(("x", val))], generator, *options)
    expected, n = alone(files, generator, val, HEADS, grid)
    assert probe.facts["tuned_on"] == val
    assert probe.facts["n_tune"] == n
    assert n == (60 if val == "b" else 20)  # with shared photographs only those in val are left
    assert probe.params["C"] == expected.params["C"]
    np.testing.assert_allclose(probe.coef, expected.coef)
    assert probe.facts["val_accuracy"] == expected.val_accuracy


def test_without_the_option_it_is_its_own_val(files, tmp_path):
    (probe,) = fit(files, tmp_path, [heads_of(("a", "b"))], "a")
    assert probe.facts["tuned_on"] == "a"
    assert probe.facts["n_tune"] == probe.facts["n_val"] == 20
    assert probe.facts["thresholds"]["n"] == 60


def same(one: StoredProbe, other: StoredProbe) -> None:
    np.testing.assert_array_equal(one.coef, other.coef)
    assert (one.threshold, one.params, one.facts) == (other.threshold, other.params, other.facts)


def test_test_rows_bear_on_nothing(files, tmp_path):
    sets = [heads_of(("a", "b")), FeatureSet("all", "all")]
    before = fit(files, tmp_path, sets, "a", *tuned_on(files, "b"))
    (tmp_path / "again").mkdir()
    changed = {name: list(paths) for name, paths in files.items()}
    import h5py

    for path in {p for paths in changed.values() for p in paths[:2]}:
        with h5py.File(path, "r+") as handle:
            for name in ("embedding", "heads"):
                values = handle[name][:]
                values[3::4] = 1e3  # every fourth row is a test row
                handle[name][:] = values
    for one, other in zip(
        before, fit(changed, tmp_path, sets, "a", *tuned_on(files, "b")), strict=True
    ):
        same(one, other)


@pytest.mark.parametrize("grid", ["fast", "paper"])
@pytest.mark.parametrize("family", ["random", "random_heads", "shuffled"])
def test_draws_are_fitted_as_each_by_itself(files, tmp_path, monkeypatch, family, grid):
    monkeypatch.setattr(batch, "_LEAST", 1)
    rng = np.random.default_rng(0)
    if family == "random_heads":
        draws = [[[0, 0], [1, 1]], [[0, 2], [1, 2]], [[1, 0], [1, 2]]]
        many = replace(heads_of(("a", "b"), draws), family=family, feature_set="random_heads/a--b")
    elif family == "random":
        draws = [sorted(int(c) for c in rng.choice(12, 4, replace=False)) for _ in range(3)]
        many = FeatureSet("random/a--b", "random", ("a", "b"), draws=tuple(draws))
    else:
        many = FeatureSet("shuffled", "shuffled", shuffle=True, draws=(None,) * 3)
    options = ["--grid", grid, *(tuned_on(files, "b") if family == "random_heads" else [])]
    found = fit(files, tmp_path, [many], "c", *options)
    assert [probe.draw for probe in found] == [0, 1, 2]
    shared = family == "random" and grid == "fast"
    assert all((probe.params["n_iter"] is None) == shared for probe in found)
    if family == "shuffled":
        assert len({tuple(probe.coef) for probe in found}) == 3
        return  # labels by draw
    for draw, probe in enumerate(found):
        assert probe.columns == many.draws[draw]
        assert probe.params["grid"] == grid
        assert probe.facts["thresholds"]["folds"] == 0  # draws have none of their own
        assert probe.facts["thresholds"]["note"].startswith("found with the fit on train alone")
        X = [features_of(read(files, "c", s), many.space, probe.columns) for s in ("train", "val")]
        y = [read(files, "c", s).label for s in ("train", "val")]
        tune = None
        if family == "random_heads":
            b = read(files, "b", "train", "val")
            rows = features_of(b, "heads", probe.columns)
            tune = TuneRows(rows, b.label, [f"b/{g}" for g in b.group])
        alone = fit_probe(X[0], y[0], X[1], y[1], grid=grid, tune=tune, cross_fit=False)
        assert alone.params["C"] == probe.params["C"]
        assert probe.threshold == pytest.approx(alone.threshold, abs=1e-7)
        np.testing.assert_allclose(alone.coef, probe.coef, atol=1e-8)


@pytest.mark.parametrize("grid", ["fast", "paper"])
def test_a_twin_is_made_as_the_draws_are(files, tmp_path, grid):
    """The draw of a control that happens to be the selected set has the coefficients of its twin."""
    columns = [0, 3, 5, 7]
    selected = FeatureSet("components/a--b", "components", ("a", "b"), draws=(columns,))
    plain = fit(files, tmp_path, [selected], "c", "--grid", "paper")
    own = fit(files, tmp_path, [selected], "c", "--grid", "paper", "--twin", grid)
    assert len(own) == 1  # readers see no twin unless they ask
    same(own[0], plain[0])
    twin, _ = read_probes(tmp_path / "probes.npz", twins=True)
    control = FeatureSet("random/a--b", "random", ("a", "b"), draws=(columns,))
    (draw,) = fit(files, tmp_path, [control], "c", "--grid", grid)
    assert (twin.draw, twin.feature_set) == (-1, "components/a--b")
    np.testing.assert_allclose(twin.coef, draw.coef, atol=1e-8)
    assert twin.threshold == pytest.approx(draw.threshold, abs=1e-8)
    scales = [one.facts["thresholds"].pop("scale") for one in (twin, draw)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-6)
    assert twin.facts == draw.facts
    assert twin.params["grid"] == draw.params["grid"] == grid


def test_twins_and_draws_of_projections_see_the_projected_embeddings(files, tmp_path):
    """The twin of a projected set is the draw of its control that has the same directions."""
    width = read(files, "c", "train").embedding.shape[1]
    N = np.linalg.qr(np.random.default_rng(2).normal(size=(width, 2)))[0].T
    several = (N.tolist(), N[:1].tolist())
    chosen = FeatureSet("nuisance", "nuisance", directions=several[:1])
    fit(files, tmp_path, [chosen], "c", "--grid", "paper", "--twin", "fast")
    twin, own = read_probes(tmp_path / "probes.npz", twins=True)
    assert (twin.draw, own.draw) == (-1, 0)
    control = FeatureSet(
        "random_directions", "random_directions", draws=(None, None), directions=several
    )
    draws = fit(files, tmp_path, [control], "c", "--grid", "fast")
    np.testing.assert_allclose(twin.coef, draws[0].coef, atol=1e-8)
    assert twin.threshold == pytest.approx(draws[0].threshold, abs=1e-8)
    for probe, directions in zip(draws, several, strict=True):
        rows, y = (
            [getattr(read(files, "c", split), name) for split in ("train", "val")]
            for name in ("embedding", "label")
        )
        X = [part - part @ np.array(directions).T @ np.array(directions) for part in rows]
        alone = fit_probe(X[0], y[0], X[1], y[1], grid="fast", cross_fit=False)
        np.testing.assert_allclose(probe.coef, alone.coef, atol=1e-6)
        assert np.abs(np.array(directions) @ probe.coef).max() < 1e-8
        assert probe.facts["thresholds"]["folds"] == 0


def test_a_generator_that_the_selection_was_given_has_no_probe(files, tmp_path):
    sets = [heads_of(("a", "b")), FeatureSet("all", "all")]
    assert [probe.feature_set for probe in fit(files, tmp_path, sets, "b")] == ["all"]


def test_labels_are_shuffled_within_groups_anew_for_each_draw(files, tmp_path):
    """Every group holds one real and one generated image, and so it does after the shuffle."""
    many = FeatureSet("shuffled", "shuffled", shuffle=True, draws=(None,) * 3)
    probes = fit(files, tmp_path, [many], "a", "--grid", "fast", "--seed", "4")
    train, val = read(files, "a", "train"), read(files, "a", "val")
    assert all((train.group == group).sum() == 2 for group in train.group)
    for draw, probe in enumerate(probes):
        labels = []
        for rows in (train, val):
            options = {"seed": seed_of(4, draw, "a"), "groups": rows.group}
            labels.append(shuffled_labels(rows.label, 1, **options)[0])
            per_group = [labels[-1][rows.group == group].tolist() for group in set(rows.group)]
            assert {tuple(sorted(both)) for both in per_group} == {(0, 1)}
        expected = fit_probe(
            train.embedding, labels[0], val.embedding, labels[1],
            grid="fast", groups=(train.group, val.group),
        )  # fmt: skip
        assert probe.params["C"] == expected.params["C"]
        np.testing.assert_allclose(probe.coef, expected.coef, atol=1e-8)
    assert not np.allclose(probes[0].coef, probes[1].coef)


def test_own_pair_fits_the_generators_that_the_selection_was_given_and_no_other(files, tmp_path):
    pair = ("a", "b")
    sets = [
        FeatureSet("all", "all"),
        FeatureSet("components/a--b", "components", pair, draws=([0, 2],), excluded=pair),
        FeatureSet("components/b--c", "components", ("b", "c"), draws=([1],), excluded=("b", "c")),
    ]
    plain = fit(files, tmp_path, sets, "a")
    assert [probe.feature_set for probe in plain] == ["all", "components/b--c"]
    (own,) = fit(files, tmp_path, sets, "a", "--own-pair")
    assert own.feature_set == "components/a--b"
    # the same fit as that of a set that gave up no generator
    (free,) = fit(
        files, tmp_path, [FeatureSet("components/a--b", "components", draws=([0, 2],))], "a"
    )
    np.testing.assert_array_equal(own.coef, free.coef)
    assert own.params == free.params


@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_the_baseline_tuned_on_validation_generators_shares_one_grid_of_fits(
    files, tmp_path, monkeypatch, grid
):
    """Each pair's probe is that of `fit_probe` by itself, though the grid is fitted once."""
    calls = []
    kind = {"paper": PaperGrid, "fast": FastGrid}[grid]
    original = kind.fits

    def counted(self, X, y):
        calls.append(len(X))
        return original(self, X, y)

    monkeypatch.setattr(kind, "fits", counted)
    sets = [
        FeatureSet(f"all_tuned/x--{val}", "all_tuned", ("x", val), excluded=(val,))
        for val in ("b", "c")
    ]
    options = ["--grid", grid, *tuned_on(files, "b", "c")]
    probes = fit(files, tmp_path, sets, "a", *options)
    assert calls == [40]
    monkeypatch.undo()
    train, own = read(files, "a", "train"), read(files, "a", "val")
    for probe, val in zip(probes, ("b", "c"), strict=True):
        other = read(files, val, "train", "val")
        scored = other.apart_from(train)
        tune = TuneRows(features_of(other, "embedding", None), other.label, None, scored)
        expected = fit_probe(
            features_of(train, "embedding", None), train.label,
            features_of(own, "embedding", None), own.label,
            grid=grid, tune=tune, cross_fit=False,
        )  # fmt: skip
        assert (probe.facts["tuned_on"], probe.facts["n_tune"]) == (val, int(scored.sum()))
        assert probe.params == expected.params
        np.testing.assert_array_equal(probe.coef, expected.coef)
        assert probe.threshold == expected.threshold
        assert probe.facts["thresholds"]["folds"] == 0
