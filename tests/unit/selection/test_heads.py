"""Head ranking against scikit-learn on the full-width head outputs E = W_O z."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from clipsieve.errors import UserError
from clipsieve.selection import fit_heads, head_features, rank_heads

LAYERS, HEADS, SIZE, WIDTH = 3, 4, 8, 48


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    y, v = np.arange(120) % 2, np.arange(90) % 2
    direction = rng.standard_normal((LAYERS, HEADS, SIZE)) * 0.4
    direction[0, 2] = 3.0  # separable
    scale = rng.uniform(0.05, 5.0, (LAYERS, HEADS, 1))

    def contexts(labels):
        z = rng.standard_normal((len(labels), LAYERS, HEADS, SIZE)) + 0.2
        z += (labels - 0.5)[:, None, None, None] * direction
        return (z * scale).astype(np.float32)

    W = rng.standard_normal((LAYERS, HEADS, WIDTH, SIZE)) / 4
    W[1, 1, :, 3] = W[1, 1, :, 2]  # a head whose map has lost a rank
    return contexts(y), y, contexts(v), v, W, np.linalg.qr(W, mode="r")


def reference(data, layer, head, C, fit_intercept):
    Z, y, Zv, _, W, _ = data
    E, Ev = (z[:, layer, head].astype(np.float64) @ W[layer, head].T for z in (Z, Zv))
    model = LogisticRegression(C=C, fit_intercept=fit_intercept, tol=1e-10, max_iter=20000)
    return model.fit(E, y).decision_function(Ev)


@pytest.mark.parametrize(("C", "fit_intercept"), [(1.0, False), (0.05, True)])
def test_scores_equal_a_probe_on_the_full_output(data, C, fit_intercept):
    Z, y, Zv, v, _, R = data
    found = rank_heads(Z, y, Zv, v, R, C=C, fit_intercept=fit_intercept)
    expected = {}
    for layer in range(LAYERS):
        for head in range(HEADS):
            logits = reference(data, layer, head, C, fit_intercept)
            loss = metrics.log_loss(v, 1 / (1 + np.exp(-logits)))
            assert found.accuracy[layer, head] == np.mean((logits > 0) == v)
            assert found.log_loss[layer, head] == pytest.approx(loss, rel=1e-5)
            assert found.auc[layer, head] == pytest.approx(metrics.roc_auc_score(v, logits))
            expected[layer, head] = (-np.mean((logits > 0) == v), loss, layer, head)
    order = sorted(expected, key=expected.__getitem__)
    assert [tuple(place) for place in found.order] == order
    assert found.best(3) == order[:3]


def test_ties_go_to_the_lower_layer_and_head(data):
    Z, y, Zv, v, _, R = data
    same = [np.repeat(np.repeat(a[:, :1, :1], 2, axis=1), 3, axis=2) for a in (Z, Zv)]
    basis = np.broadcast_to(R[0, 0], (2, 3, SIZE, SIZE))
    found = rank_heads(same[0], y, same[1], v, basis)
    assert found.order.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_threads_change_no_bit_and_progress_counts_every_head(data):
    Z, y, Zv, v, _, R = data
    calls = []
    one = rank_heads(Z, y, Zv, v, R, threads=1, progress=lambda done, all_: calls.append(done))
    two = rank_heads(Z, y, Zv, v, R, threads=2)
    assert calls == list(range(1, LAYERS * HEADS + 1))
    for name in ("accuracy", "log_loss", "auc", "order"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_one_fit_ranks_on_several_sets_and_gives_logits(data):
    Z, y, Zv, v, _, R = data
    probes = fit_heads(Z, y, R, C=0.05, fit_intercept=True)
    for rows, labels in ((Zv, v), (Zv[10:], v[10:])):
        expected = rank_heads(Z, y, rows, labels, R, C=0.05, fit_intercept=True)
        np.testing.assert_array_equal(probes.rank(rows, labels).log_loss, expected.log_loss)
    np.testing.assert_allclose(
        probes.logits(Zv)[1, 2], reference(data, 1, 2, 0.05, True), rtol=1e-5, atol=1e-6
    )


def test_projected_outputs_rank_by_their_own_basis(data):
    Z, y, Zv, v, W, _ = data
    P = np.random.default_rng(3).standard_normal((5, WIDTH))  # joint space smaller than d_head
    basis = np.einsum("dw,lhwk->lhdk", P, W)
    found = rank_heads(Z, y, Zv, v, basis)
    E, Ev = (z[:, 2, 1].astype(np.float64) @ basis[2, 1].T for z in (Z, Zv))
    model = LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=20000).fit(E, y)
    assert found.accuracy[2, 1] == model.score(Ev, v)
    assert found.log_loss[2, 1] == pytest.approx(metrics.log_loss(v, model.predict_proba(Ev)))


def test_features_of_chosen_heads_stand_for_their_concatenated_outputs(data):
    Z, y, Zv, _, W, R = data
    heads = [(2, 3), (0, 1), (1, 1)]
    E, Ev = (
        np.concatenate([z[:, a, b].astype(np.float64) @ W[a, b].T for a, b in heads], axis=1)
        for z in (Z, Zv)
    )
    F, Fv = head_features(Z, R, heads), head_features(Zv, R, heads)
    assert F.shape == (len(Z), 3 * SIZE)
    np.testing.assert_allclose(F @ F.T, E @ E.T, rtol=1e-9, atol=1e-9)
    full, reduced = (
        LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=20000).fit(a, y).decision_function(b)
        for a, b in ((E, Ev), (F, Fv))
    )  # fmt: skip
    np.testing.assert_allclose(full, reduced, rtol=1e-4, atol=1e-5)
    picked = np.stack([Z[:, a, b] for a, b in heads], axis=1)
    np.testing.assert_array_equal(F, head_features(picked, np.stack([R[a, b] for a, b in heads])))


def test_unusable_input_is_refused_by_name(data):
    Z, y, Zv, v, _, R = data
    hole = Z.copy()
    hole[3, 0, 0, 0] = np.nan
    for arguments, words in (
        ((hole, y, Zv, v, R), "Z_train holds NaN"),
        ((Z, y, Zv[:, :2], v, R), "Z_val has heads"),
        ((Z, y, Zv, v, R[:2]), "head basis has shape"),
        ((Z, np.ones_like(y), Zv, v, R), "y_train holds one class only"),
        ((Z[:, 0], y, Zv, v, R), "Z_train has shape"),
    ):
        with pytest.raises(UserError, match=words):
            rank_heads(*arguments)
    with pytest.raises(UserError, match="there is no head"):
        head_features(Z, R, [(0, HEADS)])
    with pytest.raises(UserError, match="allowed: 1 to 12"):
        rank_heads(Z, y, Zv, v, R).best(13)
