"""Nuisance directions: what real images of different sources differ in, removed before any probe is fitted.

A detector trained on one generator also learns how that generator's real images differ from other real
images: the subject matter, the camera, the compression of their source. None of that can be found in a
generated image, and none of it transfers. Directions in which only real images differ can be estimated
without any generated image, and projected out of every embedding. The derivation, and the literature on
nuisance attribute projection, are in docs/method/nuisance.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsieve.errors import UserError
from clipsieve.probes.checks import check_matrix

Floats = NDArray[np.float64]

# Singular values below this share of the largest one are rounding.
_ROUNDING = 1e-10


def nuisance_directions(
    embeddings: ArrayLike, source: ArrayLike, *, between: bool = True, components: int = 0
) -> Floats:
    """Return an orthonormal basis of the directions in which real images differ.

    Parameters
    ----------
    embeddings : [n, D]
        Embeddings of real training images, and of nothing else.
    source : [n]
        Source of each image, any type that sorts.
    between : bool, default True
        Span the differences between the sources' mean embeddings: one direction fewer than there
        are sources (fewer when the means are linearly dependent). Every source counts the same,
        however many images it has.
    components : int, default 0
        Add this many leading principal components of the pooled real images. They are centred
        on their source's mean when `between` is true, since the differences between sources are
        then in the basis already, and on the overall mean otherwise.

    Returns
    -------
    float64 [k, D]
        Orthonormal rows: the differences between sources first, then the components, each in
        descending order of its variance. `k` is 0 when there is nothing to remove (one source and
        no components).

    Raises
    ------
    UserError
        For embeddings that cannot be used, a source column of another length, or a number of
        components that is negative or larger than the images allow.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.array([[0.0, 1.0, 5.0], [0.0, 3.0, 5.0], [4.0, 1.0, 5.0], [4.0, 3.0, 5.0]])
    >>> np.abs(nuisance_directions(real, ["coco", "coco", "laion", "laion"])).tolist()
    [[1.0, 0.0, 0.0]]
    """
    X = check_matrix(embeddings, "embeddings").astype(np.float64)
    names = np.asarray(source)
    if names.shape != (len(X),):
        raise UserError(f"source has shape {list(names.shape)}; it must be [{len(X)}]")
    if components < 0:
        raise UserError(f"components is {components}; it must be 0 or more")
    _, place = np.unique(names, return_inverse=True)
    sums = np.zeros((place.max() + 1, X.shape[1]))
    np.add.at(sums, place, X)
    means = sums / np.bincount(place)[:, None]
    basis = np.empty((0, X.shape[1]))
    if between:
        basis = _leading(means - means.mean(axis=0), len(means) - 1)
    if components:
        centred = X - (means[place] if between else X.mean(axis=0))
        found = _leading(project_out(centred, basis), components)
        if len(found) < components:
            raise UserError(
                f"components is {components}; {len(X)} real images of {len(means)} sources in "
                f"{X.shape[1]} dimensions allow at most {len(found)}"
            )
        basis = np.concatenate([basis, found])
    return basis


def project_out(embeddings: ArrayLike, directions: ArrayLike) -> Floats:
    """Remove directions from embeddings: X - (X N^T) N.

    Parameters
    ----------
    embeddings : [n, D]
    directions : [k, D]
        Orthonormal rows, as `nuisance_directions` returns them; `k` may be 0.

    Returns
    -------
    float64 [n, D]
        Each row's part that is orthogonal to every direction. Projecting twice changes nothing.

    Raises
    ------
    UserError
        For embeddings that cannot be used, another width, or rows that are not orthonormal.

    Examples
    --------
    >>> project_out([[3.0, 4.0]], [[1.0, 0.0]]).tolist()
    [[0.0, 4.0]]
    """
    X = check_matrix(embeddings, "embeddings").astype(np.float64)
    N = np.asarray(directions, dtype=np.float64)
    if N.ndim != 2 or N.shape[1] != X.shape[1]:
        raise UserError(f"directions has shape {list(N.shape)}; it must be [k, {X.shape[1]}]")
    if not np.allclose(N @ N.T, np.eye(len(N)), atol=1e-6):
        raise UserError("directions must have orthonormal rows; nuisance_directions returns such")
    return X - (X @ N.T) @ N


def random_directions(columns: int, k: int, *, seed: int, like: ArrayLike | None = None) -> Floats:
    """Return random orthonormal directions: the control of as many nuisance directions.

    Parameters
    ----------
    columns : int
        D, the width of the embedding.
    k : int
        How many.
    seed : int
    like : [n, D], optional
        Draw from the normal distribution that has the covariance of these embeddings, so that a
        random direction carries as much variance as the data give it; without it, uniformly.

    Returns
    -------
    float64 [k, D]

    Raises
    ------
    UserError
        When `k` is not between 0 and `columns`, or more than `like` spans.
    """
    if not 0 <= k <= columns:
        raise UserError(f"the number of random directions is {k}; allowed: 0 to {columns}")
    rng = np.random.default_rng(seed)
    if like is None:
        drawn = rng.standard_normal((k, columns))
    else:
        X = check_matrix(like, "like", columns=columns).astype(np.float64)
        # a normal combination of centred rows has their covariance
        drawn = rng.standard_normal((k, len(X))) @ (X - X.mean(axis=0))
    triangle, corner = np.linalg.qr(drawn.T)
    if k and np.abs(np.diag(corner)).min() <= _ROUNDING * np.abs(np.diag(corner)).max():
        raise UserError(f"the embeddings span fewer than {k} directions")
    return np.ascontiguousarray(triangle.T)


def _leading(rows: Floats, k: int) -> Floats:
    """Return up to `k` leading right singular vectors, without those that are rounding."""
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    k = min(k, int((values > _ROUNDING * max(values[0], 1e-300)).sum()))
    signs = np.sign(vectors[np.arange(k), np.abs(vectors[:k]).argmax(axis=1)])
    return np.asarray(vectors[:k] * signs[:, None])
