"""Thresholds: on the finished probe's scale, by groups that its folds did not see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from clipsieve.errors import UserError
from clipsieve.probes import TuneRows, accuracy, best_threshold, fit_nearest_mean, fit_probe
from clipsieve.probes.ensemble import held_out_scale
from clipsieve.probes.grid import PaperGrid
from clipsieve.probes.saga import start
from clipsieve.probes.scores import balanced_accuracy, false_alarm_threshold
from clipsieve.probes.thresholds import FOLDS, folds_of, plan_folds, thresholds_of


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def draw(rng, n, D=10, apart=2.0, offset=0.0):
    """Two classes along the first column, both shifted along it."""
    y = np.arange(n) % 2
    X = rng.standard_normal((n, D))
    X[:, 0] += apart * (y - 0.5) + offset
    return X, y


def test_folds_hold_whole_groups_and_both_classes():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 23, 150).astype(str)
    y = rng.integers(0, 2, 150)
    fold = folds_of(groups, y)
    assert set(fold) == set(range(FOLDS))
    for name in np.unique(groups):
        assert len(set(fold[groups == name])) == 1
    order = rng.permutation(150)
    np.testing.assert_array_equal(folds_of(groups[order], y[order]), fold[order])
    one_class = folds_of(np.arange(40), np.arange(40) % 2)
    for value in range(FOLDS):
        assert sorted(np.bincount(np.arange(40)[one_class == value] % 2)) == [4, 4]


@pytest.mark.parametrize("seed", range(20))
def test_no_fold_leaves_a_class_out_of_its_fit(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))
    groups, y = rng.integers(0, 8, n), rng.integers(0, 2, n)
    planned = plan_folds(groups, y, None, None)
    if planned is None:
        return
    for left_out in np.unique(planned[1]):
        assert set(y[planned[0] != left_out]) == {0, 1}


def test_a_class_of_one_group_falls_back_to_the_fit_on_train_alone_and_says_so():
    X, y = draw(np.random.default_rng(1), 40)
    groups = np.where(y == 1, 0, np.arange(40))
    probe = fit_probe(
        X[:30], y[:30], X[30:], y[30:], grid="fast", groups=(groups[:30], groups[30:])
    )
    assert probe.threshold_facts["folds"] == 0
    assert "fit on train alone" in probe.threshold_facts["note"]
    assert probe.threshold == best_threshold(probe.val_logits, y[30:], balanced=True)


def test_threshold_comes_from_fits_that_did_not_see_the_group():
    """A slow loop over scikit-learn with the same division of groups."""
    rng = np.random.default_rng(2)
    X, y = draw(rng, 120, offset=1.0)
    groups = rng.integers(0, 30, 120)
    probe = fit_probe(
        X[:80], y[:80], X[80:], y[80:], grid="fast", groups=(groups[:80], groups[80:])
    )
    fold = folds_of(groups, y)
    logits = np.empty(120)
    for left_out in range(FOLDS):
        kept = fold != left_out
        C = probe.params["C"] * 120 / kept.sum()
        model = LogisticRegression(C=C, tol=1e-10, max_iter=5000, fit_intercept=False)
        model.fit(X[kept], y[kept])
        logits[~kept] = model.decision_function(X[~kept])
    # the same cut between the same two rows
    found = np.sort(np.append(logits, probe.threshold)).searchsorted(probe.threshold)
    expected = best_threshold(logits, y, balanced=True)
    assert probe.threshold == pytest.approx(expected, abs=1e-5), found
    assert probe.threshold_facts == {
        "folds": 5, "n": 120, "n_real": 60,
        "note": "60 real images are too few for a false-alarm rate of 1%; 99 are needed",
        "scale": pytest.approx(held_out_scale(logits, y), rel=1e-5),
    }  # fmt: skip
    assert probe.operating_points["fpr_1"] is None
    assert probe.operating_points["fpr_5"] == pytest.approx(np.sort(logits[y == 1])[2], abs=1e-5)


def test_threshold_is_on_the_scale_of_the_finished_probe():
    """Logits grow with the rows of a fit; a threshold of the fit on train alone lags behind."""
    lag, kept_up = [], []
    for seed in range(12):
        rng = np.random.default_rng([3, seed])
        X, y = draw(rng, 160, D=4, offset=2.0)
        held_out, t = draw(rng, 6000, D=4, offset=2.0)
        probe = fit_probe(X[:80], y[:80], X[80:], y[80:], grid="fast")
        assert probe.threshold != 0.0
        at_val = best_threshold(probe.val_logits, y[80:], balanced=True)
        z = probe.logits(held_out)
        best = max(accuracy(z, t, cut) for cut in np.quantile(z, np.linspace(0.1, 0.9, 81)))
        lag.append(best - accuracy(z, t, at_val))
        kept_up.append(best - accuracy(z, t, probe.threshold))
    assert np.mean(kept_up) < 0.02
    assert np.mean(kept_up) < np.mean(lag)


def test_operating_point_keeps_its_false_alarm_rate():
    rates = []
    for seed in range(12):
        rng = np.random.default_rng([4, seed])
        X, y = draw(rng, 400, D=5)
        held_out, t = draw(rng, 4000, D=5)
        probe = fit_probe(X[:300], y[:300], X[300:], y[300:], grid="fast", fit_intercept=True)
        real = probe.logits(held_out)[t == 1]
        rates.append([np.mean(real <= probe.operating_points[name]) for name in ("fpr_1", "fpr_5")])
    one, five = np.mean(rates, axis=0)
    assert 0.002 < one < 0.018
    assert 0.03 < five < 0.065


def test_false_alarm_threshold_is_the_conformal_order_statistic():
    z = np.arange(99.0)
    low = false_alarm_threshold(z, 0.01)
    assert np.sum(z <= low) == 0
    assert np.nextafter(low, np.inf) == 0.0
    assert false_alarm_threshold(z[:98], 0.01) is None
    assert np.sum(z[:19] <= false_alarm_threshold(z[:19], 0.05)) == 0
    assert np.sum(z <= false_alarm_threshold(z, 0.05)) == 4


def test_balanced_threshold_is_the_best_balanced_accuracy():
    rng = np.random.default_rng(5)
    y = (np.arange(90) % 9 == 0).astype(int)
    z = np.round(rng.standard_normal(90) + y, 1)
    found = best_threshold(z, y, balanced=True)
    everywhere = np.arange(-4.05, 5, 0.1)
    assert balanced_accuracy(z, y, found) == max(balanced_accuracy(z, y, t) for t in everywhere)
    assert accuracy(z, y, best_threshold(z, y)) > accuracy(z, y, found)


@pytest.mark.parametrize("grid", ["paper", "fast"])
def test_tuned_on_other_rows(grid):
    """Scores and thresholds come from the rows given; the final fit is on train and val as ever."""
    rng = np.random.default_rng(6)
    X, y = draw(rng, 120)
    other, t = draw(rng, 60, apart=1.0, offset=0.7)
    data = (X[:80], y[:80], X[80:], y[80:])
    tune = TuneRows(other, t, scored=np.arange(60) >= 20)
    probe = fit_probe(*data, grid=grid, tune=tune)
    own = fit_probe(X[:80], y[:80], other[20:], t[20:], grid=grid)
    assert probe.params["C"] == own.params["C"]
    np.testing.assert_array_equal(probe.val_logits, own.val_logits)
    assert probe.threshold_facts["n"] == 60
    assert probe.threshold > 0.0  # these rows are shifted towards real
    if grid == "fast":
        model = LogisticRegression(C=probe.params["C"], tol=1e-10, fit_intercept=False)
        np.testing.assert_allclose(probe.coef, model.fit(X, y).coef_[0], rtol=1e-4, atol=1e-6)


def test_rows_tuned_on_that_share_groups_are_never_scored_by_a_fit_that_saw_them():
    """The other rows are copies of fitted ones with labels swapped, in the same groups.

    A fit that had seen them would be surely wrong on every one; with labels of no meaning, logits
    of fits that did not are as often right as wrong.
    """
    rng = np.random.default_rng(7)
    X = rng.standard_normal((60, 200))
    y = np.arange(60) % 2
    tune = TuneRows(X, 1 - y, groups=np.arange(60))
    probe = fit_probe(
        X[:40], y[:40], X[40:], y[40:], grid="fast", groups=(np.arange(40), np.arange(40, 60)), tune=tune
    )  # fmt: skip
    # in-sample logits of real rows would all lie below those of generated ones
    assert probe.operating_points["fpr_5"] < np.quantile(probe.logits(X)[y == 0], 0.2) + 1.5
    assert abs(probe.threshold) < 1.5


def test_nearest_mean_and_wrong_groups():
    X, y = draw(np.random.default_rng(8), 120)
    probe = fit_nearest_mean(X[:80], y[:80], X[80:], y[80:])
    assert probe.threshold_facts["folds"] == 5
    with pytest.raises(UserError, match=r"groups_val has shape \[3\]; it must be \[40\]"):
        fit_probe(X[:80], y[:80], X[80:], y[80:], grid="fast", groups=(np.arange(80), [1, 2, 3]))


def test_folds_of_a_converged_saga_are_fitted_to_the_optimum_that_saga_converges_to(monkeypatch):
    """Thresholds and scale as from saga's own folds, but for its tolerance."""
    rng = np.random.default_rng(7)
    y = np.arange(240) % 2
    X = rng.normal(size=(240, 6)) + 0.7 * y[:, None]
    every = PaperGrid.fits

    def one_point(self, X, y):
        return [one for one in every(self, X, y) if (one.solver, one.C) == ("saga", 0.1)][-1:]

    monkeypatch.setattr(PaperGrid, "fits", one_point)
    probe = fit_probe(X[:180], y[:180], X[180:], y[180:], grid="paper")
    assert (probe.params["solver"], probe.params["converged"]) == ("saga", True)
    fold = folds_of(np.arange(240), y)
    logits = np.empty(240)
    for k in np.unique(fold):
        kept = fold != k
        lanes = start(X[kept], y[kept], np.array([0.1 * 240 / kept.sum()]))
        lanes.advance(probe.params["max_iter"])
        logits[~kept] = X[~kept] @ lanes.coef[0]
    expected = thresholds_of(logits, y, balanced=True, folds=5)
    assert probe.threshold == pytest.approx(expected.threshold, abs=2e-3)
    assert probe.threshold_facts["scale"] == pytest.approx(expected.facts["scale"], rel=2e-3)
    assert probe.operating_points["fpr_1"] == pytest.approx(
        expected.operating_points["fpr_1"], abs=2e-3
    )
