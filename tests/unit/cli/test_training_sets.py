"""Training sets through the commands: fit, transfer and evaluate on planted image sets."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from clipsieve.io import store
from clipsieve.io.feature_sets import FeatureSet
from clipsieve.io.probes import read_probes
from clipsieve.io.scores import read_scores
from clipsieve.selection.training_sets import balanced_weights
from tests.helpers.planted_sources import SOURCE_OF, Planted

ALL = FeatureSet("all", "all")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    planted = Planted(tmp_path_factory.mktemp("planted"))
    pair = FeatureSet("components/a--c", "components", ("a", "c"), draws=([0, 1, 2],),
                      excluded=("a", "c"))  # fmt: skip
    features = planted.select(ALL, pair)
    probes = planted.fit_everything(features, ("mine=b,d", "small=a,d"))
    scores = planted.transfer(features, probes)
    return planted, scores, planted.evaluate([features], [scores])


def rows_of(planted, *names):
    """Embeddings, labels, image sets and places (0 to 3: train, train, val, test) in plain arrays."""
    X = [store.read_embeddings(planted.file(name)).embedding.astype(float) for name in names]
    place = np.concatenate([np.arange(len(part)) % 4 for part in X])
    name = np.repeat(names, [len(part) for part in X])
    return np.concatenate(X), np.isin(name, list(SOURCE_OF.values())).astype(int), name, place


def test_the_probe_of_a_set_is_the_weighted_regression_on_its_pooled_rows(run):
    planted, _, _ = run
    probe = read_probes(planted.folder / "probes" / "all_but_e.npz")[0]
    X, y, name, place = rows_of(planted, "a", "b", "c", "d", "coco", "laion")
    fitted = place < 3
    weights = balanced_weights(y[fitted], name[fitted])
    model = LogisticRegression(C=probe.params["C"], fit_intercept=False, tol=1e-10, max_iter=9999)
    model.fit(X[fitted], y[fitted], sample_weight=weights)
    np.testing.assert_allclose(probe.coef, model.coef_[0], atol=1e-5)
    assert (probe.training, probe.members) == ("all_but_one", ["a", "b", "c", "d"])


def test_c_is_chosen_on_weighted_val_rows(run):
    planted, _, _ = run
    probe = read_probes(planted.folder / "probes" / "all_but_e.npz")[0]
    X, y, name, place = rows_of(planted, "a", "b", "c", "d", "coco", "laion")
    train, val = place < 2, place == 2
    scores = {}
    for C in (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0):
        model = LogisticRegression(C=C, fit_intercept=False, tol=1e-10, max_iter=9999)
        model.fit(X[train], y[train], sample_weight=balanced_weights(y[train], name[train]))
        weights = balanced_weights(y[val], name[val])
        scores[C] = roc_auc_score(y[val], X[val] @ model.coef_[0], sample_weight=weights)
    assert scores[probe.params["C"]] == pytest.approx(max(scores.values()), abs=1e-9)


def test_no_probe_is_scored_on_a_member_of_its_set(run):
    _, path, _ = run
    scores = read_scores([path])
    assert {one.training for one in scores.scores} == {"one"}
    found = {
        (one.feature_set, name): {
            str(s)
            for s in np.unique(scores.images.image_set)
            if np.isfinite(row[scores.images.image_set == s]).all()
        }
        - set(SOURCE_OF.values())
        for one in scores.several
        for name, row in zip(one.train, one.logits, strict=True)
    }
    assert found == {
        **{("all", f"all_but_{g}"): {g} for g in SOURCE_OF},
        ("all", "mine"): {"a", "c", "e"},
        ("all", "small"): {"b", "c", "e"},
        # a and c were given up to the selection: in no set, and tested by none
        **{("components/a--c", f"all_but_{g}"): {g} for g in "bde"},
        ("components/a--c", "mine"): {"e"},
    }


def test_generators_given_up_to_a_selection_are_in_no_training_set(run):
    planted, _, _ = run
    probes = {p.feature_set: p for p in read_probes(planted.folder / "probes" / "all_but_b.npz")}
    assert probes["components/a--c"].members == ["d", "e"]
    # coco leaves with its last generator: 90 + 90 fitted rows of laion's generators, 120 * 3 / 4 real
    assert probes["components/a--c"].facts["n_train"] == 30 + 60 + 60
    assert probes["all"].facts["n_train"] == 40 + 60 + 30 + 60 + 40 + 60


def test_cells_and_means_of_sets_are_apart_from_the_transfer_matrix(run):
    _, path, tables = run
    cells, means = tables["cells"], tables["means"]
    mine = cells[(cells["feature_set"] == "all") & (cells["metric"] == "auc")]
    sets = mine[mine["training"] == "all_but_one"]
    assert sorted(zip(sets["train"], sets["test"], strict=True)) == [
        (f"all_but_{g}", g) for g in SOURCE_OF
    ]
    assert set(sets["train_family"]) == {"several"}
    scores = read_scores([path])
    images = scores.images
    for _, row in sets.iterrows():
        one = next(
            s for s in scores.several if (s.feature_set, s.training) == ("all", "all_but_one")
        )
        at = np.isin(images.image_set, [row["test"], SOURCE_OF[row["test"]]])
        logits = one.logits[one.train.index(row["train"]), at]
        assert row["value"] == pytest.approx(roc_auc_score(1 - images.label[at], -logits))
    auc = means[(means["metric"] == "auc") & (means["feature_set"] == "all")].set_index("cells")
    assert auc.loc["all_but_one", "value"] == pytest.approx(sets["value"].mean())
    assert auc.loc["all_but_one", ["n_cells", "n_generators"]].tolist() == [5, 5]
    assert auc.loc["all_but_one", "training"] == "all_but_one"
    ones = mine[(mine["training"] == "one") & (mine["train"] != mine["test"])]
    assert auc.loc["all", "value"] == pytest.approx(ones["value"].mean())
    assert auc.loc["set_mine", "n_cells"] == 3


def test_the_interval_over_generators_is_the_jackknife_over_tested_ones(run):
    from scipy.stats import t

    _, _, tables = run
    rows = tables["means"]
    row = rows[
        (rows["metric"] == "auc")
        & (rows["feature_set"] == "all")
        & (rows["cells"] == "all_but_one")
    ].iloc[0]
    cells = tables["cells"]
    values = cells[
        (cells["metric"] == "auc")
        & (cells["feature_set"] == "all")
        & (cells["training"] == "all_but_one")
    ]["value"]
    reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    # at least: photographs that all cells share are added
    assert row["value_generators_low"] <= values.mean() - reach + 1e-9
    assert row["value_generators_low"] > 0


def test_selected_sets_are_held_against_the_baseline_on_the_same_cells(run):
    _, _, tables = run
    means = tables["means"]
    row = means[
        (means["feature_set"] == "components/a--c")
        & (means["cells"] == "all_but_one")
        & (means["metric"] == "auc")
    ].iloc[0]
    cells = tables["cells"]
    base = cells[
        (cells["feature_set"] == "all")
        & (cells["metric"] == "auc")
        & (cells["training"] == "all_but_one")
        & cells["test"].isin(["b", "d", "e"])
    ]
    assert row["baseline"] == pytest.approx(base["value"].mean())
    assert row["n_generators"] == 3
    assert 0 <= row["better"] <= 3


def test_images_of_the_tested_generator_and_test_images_change_no_probe(run, tmp_path):
    planted, _, _ = run
    other = Planted(tmp_path)
    other.shift("e", None)
    for name in (*SOURCE_OF, *set(SOURCE_OF.values())):
        other.shift(name, "test")
    features = other.select(ALL)
    rest = [g for g in SOURCE_OF if g != "e"]
    again = other.fit(features, "all_but_e", *rest, kind="all_but_one", tested="e")
    first = read_probes(planted.folder / "probes" / "all_but_e.npz")[0]
    second = read_probes(again)[0]
    np.testing.assert_array_equal(first.coef, second.coef)
    assert first.threshold == second.threshold


def test_a_set_that_would_test_its_own_member_is_refused(tmp_path, capsys):
    from clipsieve.cli import main

    planted = Planted(tmp_path)
    features = planted.select(ALL)
    command = ["fit", "--features", str(features), *planted.image_sets("a", "b")]
    command += ["--train-set", "x", "--kind", "set", "--sources", '{"a": "coco", "b": "coco"}']
    command += ["--tested", "b", "--output", str(tmp_path / "x.npz")]
    assert main(command) == 2
    assert "--tested: b is in the training set" in capsys.readouterr().err
    command[command.index("--tested") + 1] = "c"
    assert main([*command, "--twin", "fast"]) == 2
    assert "--twin: only probes of one generator have twins" in capsys.readouterr().err
