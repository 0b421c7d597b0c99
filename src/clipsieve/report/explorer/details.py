"""What stands behind a cell: how the scores are distributed, and the images that a probe is surest of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.io.scores import AllScores

#: Bins of a distribution, and images shown of each group (right or wrong) of an image set.
BINS, SUREST = 64, 4


@dataclass(frozen=True)
class Details:
    """Behind the cells of one encoder and seed: feature sets [S], probes [P], image sets [I].

    Attributes
    ----------
    feature_sets, train, image_sets
        The names along the three axes.
    edges
        float64 [S, P, 2]: the logits where the first bin begins and the last ends; whatever lies
        outside is counted in these two. NaN where there is no such probe.
    threshold
        float64 [S, P]: the logit threshold fixed on val.
    counts
        int64 [S, P, I, `BINS`]: images in each bin, all of equal width.
    surest
        int64 [S, P, I, 2, `SUREST`]: image of each place, right ones before wrong ones, the surest
        first; -1 for none. Right is by the logit 0, as in the metric accuracy.
    probability
        float64, the same shape: the probability of generated.
    """

    feature_sets: list[str]
    train: list[str]
    image_sets: list[str]
    edges: NDArray[np.float64]
    threshold: NDArray[np.float64]
    counts: NDArray[np.int64]
    surest: NDArray[np.int64]
    probability: NDArray[np.float64]


def details_of(scores: AllScores, train: list[str]) -> Details:
    """Sum up the scores of an encoder and seed.

    Parameters
    ----------
    scores
        Scores of probes of one generator; draws after the first are left out.
    train
        Training generators, the order of the second axis.
    """
    chosen = [one for one in scores.scores if one.draw == 0]
    sets, label = scores.images.image_set, scores.images.label
    image_sets = list(dict.fromkeys(sets.tolist()))
    shape = (len(chosen), len(train), len(image_sets))
    edges = np.full((*shape[:2], 2), np.nan)
    threshold = np.full(shape[:2], np.nan)
    counts = np.zeros((*shape, BINS), dtype=np.int64)
    surest = np.full((*shape, 2, SUREST), -1, dtype=np.int64)
    probability = np.full((*shape, 2, SUREST), np.nan)
    rows_of = {name: np.flatnonzero(sets == name) for name in image_sets}
    # ties by image id, as in the gallery
    by_id = np.empty(len(label), dtype=np.int64)
    by_id[np.argsort(scores.images.image_id, kind="stable")] = np.arange(len(label))
    for s, one in enumerate(chosen):
        for name, logits, limit in zip(one.train, one.logits, one.threshold, strict=True):
            if name not in train:
                continue
            p = train.index(name)
            known = logits[np.isfinite(logits)]
            if not len(known):
                continue
            low, high = np.quantile(known, [0.005, 0.995])
            edges[s, p] = low, max(high, low + 1e-6)
            threshold[s, p] = limit
            for i, rows in enumerate(rows_of.values()):
                mine = rows[np.isfinite(logits[rows])]
                if not len(mine):
                    continue
                z = logits[mine]
                place = np.floor((z - edges[s, p, 0]) / np.ptp(edges[s, p]) * BINS)
                counts[s, p, i] = np.bincount(
                    np.clip(place, 0, BINS - 1).astype(np.int64), minlength=BINS
                )
                right = (z > 0) == (label[mine] == 1)
                order = np.lexsort((by_id[mine], -np.abs(z)))
                for k, wanted in enumerate((True, False)):
                    first = order[right[order] == wanted][:SUREST]
                    surest[s, p, i, k, : len(first)] = mine[first]
                    probability[s, p, i, k, : len(first)] = 1 - (1 + np.tanh(z[first] / 2)) / 2
    names = [one.feature_set for one in chosen]
    return Details(names, train, image_sets, edges, threshold, counts, surest, probability)
