"""Logits of the probes of one feature set and draw, and of choices that are made for each tested generator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clipsieve.io.tested_images import Images
from clipsieve.io.training import ONE

#: Thresholds for a rate of false alarms, as probes name them.
OPERATING = ("fpr_1", "fpr_5")


@dataclass
class Scores:
    """Logits of the probes of one feature set and draw.

    Attributes
    ----------
    feature_set, draw
        Which.
    train
        Training generator of each probe, P names in sorted order.
    logits
        float64 [P, n] on the columns of `Images`; NaN where the probe was not applied.
    threshold
        float64 [P].
    training
        `one`: each probe is trained on one generator. Otherwise the kind of the training sets
        (`clipsieve.io.training.KINDS`), whose names stand in `train`; such a probe is applied to the
        generators outside its set alone.
    operating
        float64 [P] for each of `OPERATING`: threshold fixed on val for that rate of false alarms, NaN
        where there were too few real images. Where a name is missing, no probe has such a threshold.
    nested
        Where the feature set is chosen for each tested generator apart: the scores of each choice,
        which are of its own tested generators and of all real images. `logits` then holds those of
        each generator's own choice, and of real images, and `threshold`, those of the first; the
        metrics of a cell are made from `nested`. Empty for all others.
    choice, tested
        Of an entry of `nested`: its number, from 1, and the generators that it was chosen for.
    """

    feature_set: str
    draw: int
    train: list[str]
    logits: NDArray[np.float64]
    threshold: NDArray[np.float64]
    training: str = ONE
    operating: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    nested: tuple[Scores, ...] = ()
    choice: int = 0
    tested: tuple[str, ...] = ()

    def operating_threshold(self, name: str) -> NDArray[np.float64]:
        """Return the thresholds [P] for one rate of false alarms; NaN where there is none."""
        return self.operating.get(name, np.full(len(self.train), np.nan))

    def row(self, place: int) -> Scores:
        """Return the scores of one probe alone."""
        at = slice(place, place + 1)
        return replace(
            self,
            train=self.train[at],
            logits=self.logits[at],
            threshold=self.threshold[at],
            operating={name: limits[at] for name, limits in self.operating.items()},
            nested=tuple(one.row(place) for one in self.nested),
        )

    def of_images(self, keep: NDArray[np.bool_]) -> Scores:
        """Return the scores of the images where the mask `keep` [n] is true."""
        nested = tuple(one.of_images(keep) for one in self.nested)
        return replace(self, logits=self.logits[:, keep], nested=nested)


def joined_choices(choices: list[Scores], images: Images) -> Scores:
    """Join the scores of choices that were made for different tested generators.

    Parameters
    ----------
    choices
        One entry for each choice of a feature set, draw and kind of training. A training set that is
        tested on generators of other choices alone is missing from `train`.
    images
        The columns of the logits.
    """
    ordered = sorted(choices, key=lambda one: one.choice)
    train = sorted({name for one in ordered for name in one.train})
    real = images.label == 1
    whole = np.full((len(train), len(real)), np.nan)
    threshold, nested = np.full(len(train), np.nan), []
    for one in ordered:
        rows = [train.index(name) for name in one.train]
        logits, cuts = np.full(whole.shape, np.nan), np.full(len(train), np.nan)
        logits[rows], cuts[rows] = one.logits, one.threshold
        limits = {name: np.full(len(train), np.nan) for name in OPERATING}
        for name in OPERATING:
            limits[name][rows] = one.operating_threshold(name)
        nested.append(replace(one, train=train, logits=logits, threshold=cuts, operating=limits))
        whole = np.where(np.isnan(whole), logits, whole)
        threshold = np.where(np.isnan(threshold), cuts, threshold)
    first = ordered[0]
    return Scores(
        first.feature_set, first.draw, train, whole, threshold, first.training,
        nested=tuple(nested),
    )  # fmt: skip
