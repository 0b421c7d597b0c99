"""Rank layers: a probe on the token after each block, trained on one set of rows, scored on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.features import layer_features
from clipsieve.selection.heads import HeadProbes, fit_heads

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerRanking:
    """Scores of every layer on the scoring rows.

    Attributes
    ----------
    accuracy, log_loss, auc : float64 [L]. At logit 0; mean in nats; ties counted half.
    order : int64 [L]. Layers, best first: by AUC, then lower log-loss, then lower layer. By AUC,
        because the threshold is chosen anew for the layer that is taken.
    """

    accuracy: Floats
    log_loss: Floats
    auc: Floats
    order: NDArray[np.int64]


@dataclass(frozen=True)
class LayerProbes:
    """One converged probe for each layer, on its normalised token (`probes.features.layer_features`)."""

    probes: HeadProbes

    def rank(self, layers: ArrayLike, y: ArrayLike) -> LayerRanking:
        """Score every layer on rows [n, L, width] with labels y [n], and rank the layers.

        Raises
        ------
        UserError
            For shapes that do not match, labels other than 0 and 1, one class only.
        """
        found = self.probes.rank(_as_heads(layers), y)
        scores = (found.accuracy[:, 0], found.log_loss[:, 0], found.auc[:, 0])
        return LayerRanking(*scores, order=np.lexsort((scores[1], -scores[2])))


def fit_layers(layers: ArrayLike, y: ArrayLike, *, C: float = 1.0, threads: int = 1) -> LayerProbes:
    """Fit a converged probe on every layer.

    Parameters
    ----------
    layers : [n, L, width]. Tokens after every block, as they are cached.
    y : [n]. 0 = generated, 1 = real.
    C : float. Inverse strength of the L2 penalty, as in scikit-learn.
    threads : int. Layers worked on at once; the result is the same for any number.

    Raises
    ------
    UserError
        As `LayerProbes.rank`.
    """
    tokens = _as_heads(layers)
    depth, _, width = tokens.shape[1:]
    one = np.broadcast_to(np.eye(width), (depth, 1, width, width))
    return LayerProbes(fit_heads(tokens, y, one, C=C, threads=threads))


def _as_heads(layers: ArrayLike) -> Floats:
    """Return normalised layers as the outputs of one head each: [n, L, 1, width], R the identity."""
    tokens = np.asarray(layers)
    if tokens.ndim != 3 or 0 in tokens.shape:
        raise UserError(f"layers have shape {list(tokens.shape)}; they must be [n, L, width]")
    depth, width = tokens.shape[1:]
    return layer_features(tokens).reshape(len(tokens), depth, 1, width)
