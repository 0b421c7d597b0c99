"""Every metric against scikit-learn or a plain loop, plain and weighted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from clipsieve.evaluation.metric_records import RECORDS
from clipsieve.evaluation.metrics import METRICS, cell_metrics


def sample(seed: int, n: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    logits = rng.normal(size=n) + 1.2 * labels - 0.3
    return (np.round(logits, 1) if ties else logits), labels


def reference(logits, labels, threshold, w) -> dict[str, float]:
    generated = 1 - labels
    says_real = (logits > 0).astype(int)
    recall = sk.recall_score(
        labels, says_real, labels=[0, 1], average=None, sample_weight=w, zero_division=0
    )
    fpr, tpr, _ = sk.roc_curve(generated, -logits, sample_weight=w, drop_intermediate=False)
    p = 1 / (1 + np.exp(-logits))
    ece = 0.0
    for b in range(15):
        low, high = b / 15, (b + 1) / 15
        inside = (p >= low) & ((p < high) | (b == 14))
        if w[inside].sum():
            gap = np.average(p[inside], weights=w[inside]) - np.average(
                labels[inside], weights=w[inside]
            )
            ece += abs(gap) * w[inside].sum() / w.sum()
    return {
        "accuracy": sk.accuracy_score(labels, says_real, sample_weight=w),
        "accuracy_at_val_threshold": sk.accuracy_score(
            labels, (logits > threshold).astype(int), sample_weight=w
        ),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, says_real, sample_weight=w),
        "accuracy_real": recall[1],
        "accuracy_generated": recall[0],
        "auc": sk.roc_auc_score(generated, -logits, sample_weight=w),
        "average_precision": sk.average_precision_score(generated, -logits, sample_weight=w),
        "tpr_at_fpr_1": tpr[fpr <= 0.01 + 1e-12].max(),
        "tpr_at_fpr_5": tpr[fpr <= 0.05 + 1e-12].max(),
        "ece": ece,
        "brier": sk.brier_score_loss(labels, p, sample_weight=w),
        "log_loss": sk.log_loss(labels, p, sample_weight=w, labels=[0, 1]),
    }


def test_a_tiny_probability_of_the_other_class_is_not_rounded_to_zero() -> None:
    """1 + tanh(x / 2) cancels below -37; the squared error of a sure answer is tiny, not 0."""
    label = np.array([1, 0])
    found = cell_metrics(np.array([45.0, -60.0]), label)["brier"][0]
    assert found == pytest.approx((np.exp(-45.0) ** 2 + np.exp(-60.0) ** 2) / 2, rel=1e-9, abs=0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [7, 200, 601])
def test_plain_metrics_are_scikit_learns(n: int, ties: bool) -> None:
    logits, labels = sample(n, n, ties)
    ours = cell_metrics(logits, labels, threshold=0.4)
    expected = reference(logits, labels, 0.4, np.ones(n))
    assert tuple(ours) == METRICS
    for name in METRICS:
        assert ours[name][0] == pytest.approx(expected[name], abs=1e-12), name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(8, 80), ties=st.booleans())
def test_counts_as_weights_are_repeated_images(seed: int, n: int, ties: bool) -> None:
    logits, labels = sample(seed, n, ties)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=5).T
    both = np.array([len(set(labels[c > 0])) == 2 for c in counts.T])
    counts = counts[:, both].astype(np.float64)
    ours = cell_metrics(logits, labels, threshold=-0.2, weights=counts)
    single = cell_metrics(logits, labels, threshold=-0.2, weights=counts.astype(np.float32))
    for b in range(counts.shape[1]):
        rows = np.repeat(np.arange(n), counts[:, b].astype(int))
        expected = reference(logits[rows], labels[rows], -0.2, np.ones(len(rows)))
        for name in METRICS:
            assert ours[name][b] == pytest.approx(expected[name], abs=1e-9), name
            assert single[name][b] == pytest.approx(expected[name], abs=2e-5), name


def test_fractional_weights_are_scikit_learns() -> None:
    logits, labels = sample(5, 300, ties=True)
    weights = np.random.default_rng(1).uniform(0.1, 3, size=(300, 4))
    ours = cell_metrics(logits, labels, weights=weights)
    for b in range(4):
        expected = reference(logits, labels, 0.0, weights[:, b])
        for name in METRICS:
            assert ours[name][b] == pytest.approx(expected[name], abs=1e-9), name


def test_large_logits_mean_real() -> None:
    found = cell_metrics(np.array([9.0, 7.0, -8.0, -9.0]), np.array([1, 1, 0, 0]))
    for name, metric in RECORDS.items():
        if metric.higher_is_better:
            assert found[name][0] == 1, name
        else:
            assert 0 < found[name][0] < 1e-3, name


def test_losses_of_extreme_logits_are_finite_and_exact() -> None:
    found = cell_metrics(np.array([-800.0, 40.0]), np.array([1, 0]))
    assert found["log_loss"][0] == pytest.approx(420)
    assert found["brier"][0] == pytest.approx(1)
    right = cell_metrics(np.array([30.0, -30.0]), np.array([1, 0]))
    assert right["log_loss"][0] == pytest.approx(np.exp(-30), rel=1e-6)
    assert right["brier"][0] == pytest.approx(np.exp(-60), rel=1e-6)


def constant(logit: float, generated: int = 30, n: int = 60) -> dict[str, float]:
    labels = (np.arange(n) >= generated).astype(int)
    return {k: float(v[0]) for k, v in cell_metrics(np.full(n, logit), labels).items()}


def test_chance_levels_are_those_of_an_answer_that_ignores_the_image() -> None:
    """A probability of 1/2 for losses, the mean of all coin tosses for shares of right answers."""
    for generated in (30, 12):
        undecided = constant(0.0, generated)
        always = [constant(logit, generated) for logit in (-5.0, 5.0)]
        for name, metric in RECORDS.items():
            level = metric.chance_level(generated / 60)
            if name in ("brier", "log_loss", "ece", "auc", "average_precision"):
                assert undecided[name] == pytest.approx(level), name
            elif name.startswith("tpr"):
                # a random order catches as many generated as real images
                assert level == metric.false_positive_rate
            else:
                assert np.mean([one[name] for one in always]) == pytest.approx(0.5), name


def test_no_constant_answer_leads_a_ranking() -> None:
    """What `may_rank` says: a constant answer reaches the best value of the other metrics alone."""
    constants = [constant(logit) for logit in (-30.0, -1.0, 0.0, 1e-9, 1.0, 30.0)]
    for name, metric in RECORDS.items():
        sign = 1 if metric.higher_is_better else -1
        best = max(sign * one[name] for one in constants)
        if metric.may_rank:
            assert best <= sign * metric.chance_level() + 1e-9, name
        else:
            perfect = metric.range[1] if metric.higher_is_better else metric.range[0]
            assert best == pytest.approx(sign * perfect), name


def test_turning_the_detector_round_turns_the_auc_round() -> None:
    logits, labels = sample(3, 101, ties=True)
    there = cell_metrics(logits, labels)["auc"][0]
    back = cell_metrics(-logits, labels)["auc"][0]
    assert there + back == pytest.approx(1, abs=1e-12)
