"""The feature matrix of a feature set: what a probe sees of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.io.dataset import Rows
from clipsieve.probes.checks import check_basis, check_contexts
from clipsieve.probes.residual import residual_feature

Floats = NDArray[np.float64]


def features(
    space: str,
    columns: Sequence[Any] | None,
    embedding: NDArray[Any],
    *,
    heads: NDArray[Any] | None = None,
    basis: NDArray[Any] | None = None,
    layers: NDArray[Any] | None = None,
    residual: NDArray[Any] | None = None,
    residual_kind: Literal["cosine", "dot"] = "cosine",
) -> Floats:
    """Compute the feature matrix of one draw of a feature set.

    Parameters
    ----------
    space
        One of `families.SPACES`.
    columns
        Columns of the embedding, heads as [l, h], layers, or None for all columns.
    embedding
        float [n, D].
    heads
        [n, L, H, d_head]; needed by the spaces heads and beside.
    basis
        [L, H, d_out, d_head]; needed by the spaces heads and beside.
    layers
        [n, L, width]; needed by the layers space.
    residual
        float64 [D or len(columns)]; needed by the residual space.
    residual_kind
        `cosine` or `dot` (paper, A.3).

    Returns
    -------
    float64 [n, k]
        The columns; or one column of cosines; or R z of each head, or each normalised layer, side by
        side; or all columns, and R z of each head after them.

    Raises
    ------
    ValueError
        When the space needs an array that is not given.
    """
    if space in ("heads", "beside"):
        if heads is None or basis is None:
            raise ValueError(f"the {space} space needs head outputs and their basis")
        chosen = [(int(layer), int(head)) for layer, head in columns or []]
        return _with_embedding(space, embedding, head_features(heads, basis, chosen))
    if space == "layers":
        if layers is None:
            raise ValueError("the layers space needs the tokens after the blocks")
        return layer_features(layers[:, [int(layer) for layer in columns or []]])
    X = embedding if columns is None else embedding[:, np.asarray(columns, dtype=int)]
    X = np.ascontiguousarray(X, dtype=np.float64)
    if space == "residual":
        if residual is None:
            raise ValueError("the residual space needs the residual")
        return residual_feature(X, residual, kind=residual_kind)
    return X


def features_of(
    rows: Rows,
    space: str,
    columns: Sequence[Any] | None,
    *,
    residual: NDArray[Any] | None = None,
    residual_kind: Literal["cosine", "dot"] = "cosine",
) -> Floats:
    """Compute the feature matrix of stored rows; as `features`, reading only the heads or layers needed."""
    if space in ("heads", "beside"):
        chosen = [(int(layer), int(head)) for layer, head in columns or []]
        basis = rows.head_basis()
        found = head_features(rows.heads(chosen), np.stack([basis[head] for head in chosen]))
        return _with_embedding(space, rows.embedding, found)
    if space == "layers":
        return layer_features(rows.layers([int(layer) for layer in columns or []]))
    return features(space, columns, rows.embedding, residual=residual, residual_kind=residual_kind)


def _with_embedding(space: str, embedding: NDArray[Any], heads: Floats) -> Floats:
    """Return outputs of heads as they are, or after the columns of the embedding."""
    if space == "heads":
        return heads
    return np.concatenate([np.asarray(embedding, dtype=np.float64), heads], axis=1)


def layer_features(layers: ArrayLike) -> Floats:
    """Return each layer of each image with mean 0 and variance 1 over its numbers, side by side.

    The next block reads the stream through a LayerNorm, so this is what it sees but for weights of
    its own. Without it a probe's penalty would weigh differently at every depth, since the stream
    grows from block to block; and no other image is needed for it.

    Parameters
    ----------
    layers : [n, k, width], the tokens after k blocks.

    Returns
    -------
    float64 [n, k * width]

    Examples
    --------
    >>> layer_features([[[1.0, 3.0], [5.0, 5.0]]])
    array([[-1.,  1.,  0.,  0.]])
    """
    tokens = np.asarray(layers, dtype=np.float64)
    if tokens.ndim != 3:
        raise UserError(f"layers have shape {list(tokens.shape)}; they must be [n, k, width]")
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    centred /= np.where(spread == 0, 1.0, spread)
    return np.ascontiguousarray(centred.reshape(len(tokens), -1))


def head_features(
    Z: ArrayLike, basis: ArrayLike, heads: Sequence[tuple[int, int]] | None = None
) -> Floats:
    """Return R z of the chosen heads side by side: what a probe on concatenated outputs E sees.

    Parameters
    ----------
    Z : [n, k, d_head], the cached contexts of k chosen heads; or, with `heads`, [n, L, H, d_head].
    basis : [k, d_out, d_head] in the same order; or, with `heads`, [L, H, d_out, d_head].
    heads : sequence of (layer, head), optional. Which heads to take, in this order.

    Returns
    -------
    float64 [n, k * d_out]

    Raises
    ------
    UserError
        For shapes that do not match, NaN or infinity, or a head that does not exist.
    """
    contexts, R = np.asarray(Z), np.asarray(basis)
    if heads is not None:
        contexts = check_contexts(contexts, "Z")
        layers, count = contexts.shape[1:3]
        for layer, head in heads:
            if not (0 <= layer < layers and 0 <= head < count):
                raise UserError(
                    f"there is no head {(int(layer), int(head))}; layers go from 0 to {layers - 1}, "
                    f"heads from 0 to {count - 1}"
                )
        R = check_basis(R, contexts.shape[1:])
        index = tuple(np.array(list(heads), dtype=np.int64).reshape(-1, 2).T)
        contexts, R = contexts[:, index[0], index[1]], R[index]
    if contexts.ndim != 3 or R.ndim != 3 or R.shape[0::2] != contexts.shape[1:]:
        raise UserError(
            f"Z has shape {list(contexts.shape)} and basis {list(R.shape)}; they must be "
            "[n, k, d_head] and [k, d_out, d_head]"
        )
    if not (np.isfinite(contexts).all() and np.isfinite(R).all()):
        raise UserError("the heads or their basis hold NaN or infinity; all must be finite")
    wide = contexts.astype(np.float64).transpose(1, 0, 2)
    outputs = wide @ R.astype(np.float64).transpose(0, 2, 1)  # [k, n, d_out]
    return np.ascontiguousarray(outputs.transpose(1, 0, 2).reshape(len(contexts), -1))
