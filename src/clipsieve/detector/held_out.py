"""A detector's logits on test images, where each generator is judged by members that exclude it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipsieve.errors import UserError
from clipsieve.io.scores import Scores
from clipsieve.io.training import ALL_BUT_ONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsieve.io.scores import AllScores


@dataclass(frozen=True)
class HeldOut:
    """Logits of a detector on test images, each generator's by members that exclude it.

    Attributes
    ----------
    rows : Scores
        One row for each generator that is judged, named after it: logits of its images and of all
        real images by the members without it, NaN elsewhere; and their threshold.
    whole : float64 [n]
        Logits of all members together; NaN where a member was not applied.
    threshold : float
        Mean of the thresholds of all members.
    held_out : bool
        Whether no row's generator was trained on by the members that judge it.
    """

    rows: Scores
    whole: NDArray[np.float64]
    threshold: float
    held_out: bool

    @property
    def tested(self) -> list[str]:
        """Generators that are judged."""
        return list(self.rows.train)


def held_out_logits(
    scores: AllScores, feature_set: str, train: Sequence[str], members: Sequence[str] = ()
) -> HeldOut:
    """Join the logits of a detector's probes, leaving out each generator that they were trained on.

    Parameters
    ----------
    scores
        Score files of one encoder and seed.
    feature_set
        Which; its draw 0.
    train
        Training generators of the probes, or the one training set.
    members
        Generators of the training set.

    Raises
    ------
    UserError
        The scores lack the feature set or a probe, or have no generated or real images.
    """
    own = scores.several if members else scores.scores
    mine = [s for s in own if s.feature_set == feature_set and s.draw == 0]
    if members:
        mine = [s for s in mine if set(train) <= set(s.train)]
    if not mine:
        known = ", ".join(sorted({s.feature_set for s in own if s.draw == 0}))
        raise UserError(f"detector: no scores of the feature set {feature_set}; there are {known}")
    found = mine[0]
    missing = sorted(set(train) - set(found.train))
    if missing:
        raise UserError(
            f"detector: no scores of {feature_set} trained on {missing[0]}; there are"
            f" {', '.join(found.train)}"
        )
    at = {name: found.train.index(name) for name in train}
    images = scores.images
    real = images.label == 1
    every = list(at.values())
    scored = np.isfinite(found.logits[every]).all(axis=0)
    if not (scored & real).any():
        raise UserError("detector: the scores need both real and generated test images")
    logits, thresholds, tested = [], [], []
    for name in np.unique(images.image_set[~real]).tolist():
        own_images = ~real & (images.image_set == name)
        rows = [row for member, row in at.items() if member != name]
        if not rows or not np.isfinite(found.logits[rows][:, own_images]).all():
            continue
        z = found.logits[rows].mean(axis=0)
        logits.append(np.where(own_images | real, z, np.nan))
        thresholds.append(float(found.threshold[rows].mean()))
        tested.append(name)
    held_out = bool(tested)
    whole = found.logits[every].mean(axis=0)
    threshold = float(found.threshold[every].mean())
    if not held_out:  # of one generator there is nothing to leave out
        for name in np.unique(images.image_set[scored & ~real]).tolist():
            keep = real | (images.image_set == name)
            logits.append(np.where(keep, whole, np.nan))
            thresholds.append(threshold)
            tested.append(name)
    if not tested:
        raise UserError("detector: the scores need both real and generated test images")
    # images of a perturbed or excluded set are no part of any row
    rows_of = Scores(feature_set, 0, tested, np.stack(logits), np.array(thresholds), ALL_BUT_ONE)
    return HeldOut(rows_of, whole, threshold, held_out)


def stacked(
    found: HeldOut, scores: AllScores
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.str_], NDArray[np.str_]]:
    """Return the rows one below the other: logits, whether real, set, group.

    Of each row its generator's images and the real images of its source; the set of a real image is
    ``<source> for <generator>``, so that the reals of each generator can weigh the same.
    """
    images = scores.images
    names = group_names(scores)
    parts = []
    for row, name in zip(found.rows.logits, found.tested, strict=True):
        own = (images.image_set == name) & (images.label == 0)
        source = images.source[own][0]
        reals = (images.image_set == source) & (images.label == 1)
        for keep, is_real in ((own, False), (reals, True)):
            title = f"{source} for {name}" if is_real else name
            n = int(keep.sum())
            parts.append((row[keep], np.full(n, is_real), np.full(n, title), names[keep]))
    z, real, sets, group = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not real.any() or real.all():
        raise UserError("detector: the scores need both real and generated test images")
    return z, real, sets, group


def group_names(scores: AllScores) -> NDArray[np.str_]:
    """Name the groups apart from those of another source."""
    images = scores.images
    pairs = zip(images.source.tolist(), images.group.tolist(), strict=True)
    return np.array([f"{source}\t{group}" for source, group in pairs])
