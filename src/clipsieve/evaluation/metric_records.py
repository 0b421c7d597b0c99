"""What is known of each metric: one record holds its title, direction, chance level and interval.

A metric that is a mean over images (a share of right answers, a mean loss) is its record and no
more: sums, replicates, influences and intervals all follow from `per_image`. Any other one also
needs its computation in `metrics.py` and its derivative in `influence.py`; both modules refuse to be
imported while a record has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipsieve.probes.scores import sigmoid

Floats = NDArray[np.floating]
#: Value of each image: logits [P, n], label of all of them, thresholds [P, 1] -> [P, n].
PerImage = Callable[[Floats, int, Floats], NDArray[Any]]
Class = Literal["real", "generated"]
Witnesses = Literal["both", "fewer", "real", "generated", "pairs"]


@dataclass(frozen=True)
class Metric:
    """One metric of a cell of the transfer matrix.

    Attributes
    ----------
    name, title
        As in files, and as on pages.
    higher_is_better
        Direction.
    chance
        What an answer that does not look at the image gets: a fair coin where a metric counts
        answers, a probability of 1/2 where it judges probabilities. A number, or a function of the
        share of generated images.
    may_rank
        False where a constant answer can reach the best value, so that feature sets must not be
        ordered by this metric.
    range
        Least and largest value.
    per_image
        Value of each image, where the metric is a mean over images.
    pooled
        Whether that mean is over all images of a cell, or the mean of one mean a class.
    classes
        Classes whose images the metric is made of.
    scale
        Scale on which a studentized interval is symmetric: ``logit`` for shares, ``log`` for losses
        without an upper limit, ``plain``.
    witnesses
        Which groups bound a value of exactly 0 or 1, which no resample can vary: those of ``both``
        classes, of the class with ``fewer``, of one class, or ``pairs`` of one real and one
        generated; None where nothing bounds it.
    false_positive_rate
        Rate at which the metric is read, for those that depend on a quantile of few real images.
    errs_upwards
        Whether the value of a sample is above the truth on average, as that of absolute gaps is.
    repeats_tie
        Whether an image that a resample draws twice ties with itself, so that replicates are too
        much alike.
    """

    name: str
    title: str
    higher_is_better: bool
    chance: float | Callable[[float], float]
    may_rank: bool = True
    range: tuple[float, float] = (0.0, 1.0)
    per_image: PerImage | None = None
    pooled: Literal["images", "classes"] = "images"
    classes: tuple[Class, ...] = ("real", "generated")
    scale: Literal["logit", "log", "plain"] = "logit"
    witnesses: Witnesses | None = None
    false_positive_rate: float | None = None
    errs_upwards: bool = False
    repeats_tie: bool = False

    def __post_init__(self) -> None:
        low, high = self.range
        if not low <= self.chance_level() <= high:
            raise ValueError(f"metric {self.name}: the chance level is not in the range")
        if self.scale == "logit" and self.range != (0, 1):
            raise ValueError(f"metric {self.name}: the scale logit is for values from 0 to 1")
        if len(self.classes) == 1 and self.pooled != "classes":
            raise ValueError(f"metric {self.name}: a mean over one class is pooled by classes")

    @property
    def has_influence(self) -> bool:
        """Whether the metric has a derivative by the weight of an image; a quantile has none."""
        return self.false_positive_rate is None

    def chance_level(self, generated: float = 0.5) -> float:
        """Return the chance level where this share of the images is generated.

        Examples
        --------
        >>> RECORDS["average_precision"].chance_level(0.25)
        0.25
        """
        return float(self.chance(generated) if callable(self.chance) else self.chance)


def is_right(logits: Floats, label: int, thresholds: Floats) -> NDArray[np.bool_]:
    """Tell which images are on the right side of 0."""
    right: NDArray[np.bool_] = (logits > 0) == bool(label)
    return right


def is_right_at_threshold(logits: Floats, label: int, thresholds: Floats) -> NDArray[np.bool_]:
    """Tell which images are on the right side of their probe's threshold."""
    right: NDArray[np.bool_] = (logits > thresholds) == bool(label)
    return right


def squared_error(logits: Floats, label: int, thresholds: Floats) -> Floats:
    """Return ``(P(real) - label)^2`` (Brier 1950)."""
    # the distance to the label is P(the other class), exact also where it is tiny
    wrong = sigmoid(-logits if label else logits)
    result: Floats = wrong * wrong
    return result


def negative_log_likelihood(logits: Floats, label: int, thresholds: Floats) -> Floats:
    """Return ``-log P(label)`` in nats."""
    result: Floats = np.logaddexp(0, -logits if label else logits)
    return result


_ALL = (
    Metric(
        "accuracy",
        "accuracy",
        higher_is_better=True,
        chance=0.5,
        per_image=is_right,
        witnesses="both",
    ),
    Metric(
        "accuracy_at_val_threshold",
        "accuracy, threshold of val",
        higher_is_better=True,
        chance=0.5,
        per_image=is_right_at_threshold,
        witnesses="both",
    ),
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        higher_is_better=True,
        chance=0.5,
        per_image=is_right,
        pooled="classes",
        witnesses="fewer",
    ),
    Metric(
        "accuracy_real",
        "accuracy on real",
        higher_is_better=True,
        chance=0.5,
        may_rank=False,
        per_image=is_right,
        pooled="classes",
        classes=("real",),
        witnesses="real",
    ),
    Metric(
        "accuracy_generated",
        "accuracy on generated",
        higher_is_better=True,
        chance=0.5,
        may_rank=False,
        per_image=is_right,
        pooled="classes",
        classes=("generated",),
        witnesses="generated",
    ),
    Metric("auc", "AUC", higher_is_better=True, chance=0.5, witnesses="pairs"),
    Metric(
        "average_precision",
        "average precision",
        higher_is_better=True,
        chance=lambda generated: generated,
        witnesses="pairs",
        repeats_tie=True,
    ),
    Metric(
        "tpr_at_fpr_1",
        "TPR at 1 % FPR",
        higher_is_better=True,
        chance=0.01,
        witnesses="generated",
        false_positive_rate=0.01,
    ),
    Metric(
        "tpr_at_fpr_5",
        "TPR at 5 % FPR",
        higher_is_better=True,
        chance=0.05,
        witnesses="generated",
        false_positive_rate=0.05,
    ),
    Metric(
        "ece",
        "calibration error",
        higher_is_better=False,
        chance=lambda generated: abs(0.5 - generated),
        may_rank=False,
        scale="plain",
        errs_upwards=True,
    ),
    Metric(
        "brier",
        "Brier score",
        higher_is_better=False,
        chance=0.25,
        per_image=squared_error,
        witnesses="both",
    ),
    Metric(
        "log_loss",
        "log-loss",
        higher_is_better=False,
        chance=math.log(2),
        range=(0, math.inf),
        per_image=negative_log_likelihood,
        scale="log",
    ),
)

#: Every metric by name, in the order of files and pages.
RECORDS = {metric.name: metric for metric in _ALL}


def signs_of(metrics: Iterable[str]) -> NDArray[np.int64]:
    """Return 1 for each metric of which more is better, and -1 for the others.

    Examples
    --------
    >>> signs_of(["auc", "brier"]).tolist()
    [1, -1]
    """
    return np.array([1 if RECORDS[name].higher_is_better else -1 for name in metrics], np.int64)
