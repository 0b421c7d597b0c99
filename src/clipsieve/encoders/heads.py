"""The linear algebra of head outputs, on arrays: what the d_head cached numbers represent.

A head's cached numbers z are its attention-weighted values for the CLS query; what it adds to the
residual stream is `E = W_O^h z` (paper, equation 2), a vector of the model's width but of rank
d_head. With `W_O^h = Q R` (Q with orthonormal columns), inner products of E are inner products of
`R z`, so an L2-penalised linear probe on E is the same problem as on `R z`.
"""

from __future__ import annotations

import numpy as np


def head_basis(weights: np.ndarray) -> np.ndarray:
    """Return R of `W_O^h = Q R` for every head, with a diagonal that is not negative.

    Parameters
    ----------
    weights : float array [L, H, width, d_head]
        The output projection of each head, LayerScale included.

    Returns
    -------
    float32 array [L, H, d_head, d_head]
    """
    basis: np.ndarray = np.asarray(np.linalg.qr(weights.astype(np.float64), mode="r"))
    diagonal = np.diagonal(basis, axis1=-2, axis2=-1)
    signs = np.where(diagonal < 0, -1.0, 1.0)
    return (basis * signs[..., None]).astype(np.float32)


def head_outputs(heads: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `E^{l,h} = W_O^h z`, float32 [n, L, H, width], from z [n, L, H, d_head]."""
    return np.einsum("nlhd,lhwd->nlhw", heads.astype(np.float32), weights, optimize=True)


def head_projection(weights: np.ndarray, projection: np.ndarray | None) -> np.ndarray:
    """Return `P W_O^h`, float32 [L, H, D, d_head], `projection` is P [width, D] or None."""
    if projection is None:
        return weights.astype(np.float32)
    return np.einsum("wk,lhwd->lhkd", projection, weights, optimize=True).astype(np.float32)
