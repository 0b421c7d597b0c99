"""The numbers of a detector: finished probes of one feature set, and how their mean logit is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.calibration import Band, Platt
from clipsieve.errors import UserError
from clipsieve.io.probes import StoredProbe
from clipsieve.probes.features import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Labels of every probe, as the paper has them.
LABELS = {"0": "generated", "1": "real"}


@dataclass(frozen=True)
class Reference:
    """Some of the training images, and short texts, for explanations.

    Attributes
    ----------
    image_id, image_set : list of str, length N
    label : int64 [N]
    embedding : float16 [N, D]
    texts : list of str, length T
    text_embedding : float16 [T, D]
        Empty where the run has no texts.
    """

    image_id: list[str]
    image_set: list[str]
    label: NDArray[np.int64]
    embedding: NDArray[np.float16]
    texts: list[str]
    text_embedding: NDArray[np.float16]


@dataclass(frozen=True)
class Model:
    """Probes whose mean logit is judged.

    Attributes
    ----------
    probes : list of StoredProbe
        All of one feature set.
    threshold : float
        Mean of the probes' thresholds; a mean logit above it says real.
    calibration : Platt
        From the mean logit to P(generated), both labels being equally common.
    band : Band
        Where no verdict is given.
    points : dict
        Rate of false alarms -> logit below which an image is called generated; None where there
        were too few real images for the rate.
    facts : dict
        Everything else, JSON-able: `encoder`, `feature_set`, `train`, `training`, `calibration`,
        `band`, `points`, `expected`, `run`, `seed`, `clipsieve_version` and more.
    image_mean : float64 [D]
        Mean embedding of the training images.
    reference : Reference
    """

    probes: list[StoredProbe]
    threshold: float
    calibration: Platt
    band: Band
    points: dict[float, float | None]
    facts: dict[str, Any]
    image_mean: NDArray[np.float64]
    reference: Reference = field(repr=False)

    @property
    def needs_heads(self) -> bool:
        """Whether head outputs are needed."""
        return any(probe.space in ("heads", "beside") for probe in self.probes)

    def logits(
        self, embeddings: NDArray, heads: NDArray | None = None, basis: NDArray | None = None
    ) -> NDArray[np.float64]:
        """Return the mean logit of each image, float64 [n]; large says real.

        Parameters
        ----------
        embeddings : float [n, D]
        heads : float [n, L, H, d_head], optional
            Cached head outputs; needed for probes on heads.
        basis : float [L, H, d_head, d_head], optional
            R of each head's output projection; likewise.
        """
        each = []
        for probe in self.probes:
            X = features(
                probe.space, probe.columns, embeddings,
                heads=heads, basis=basis, residual=probe.residual,
                residual_kind=probe.facts.get("residual_kind") or "cosine",
            )  # fmt: skip
            # row by row: a matrix product rounds differently for other numbers of rows
            each.append((X * probe.coef).sum(axis=1) + probe.intercept)
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    def band_at(self, max_false_alarms: float | None) -> Band:
        """Return the band in which no verdict is given, at a rate of false alarms.

        Parameters
        ----------
        max_false_alarms
            Largest share of real images called generated, one of `points`; None for the detector's
            own band.

        Raises
        ------
        UserError
            The rate is not stored, or there were too few real images for it.
        """
        if max_false_alarms is None:
            return self.band
        known = sorted(self.points)
        near = [rate for rate in known if abs(rate - max_false_alarms) < 1e-9]
        if not near:
            listed = ", ".join(f"{rate:g}" for rate in known)
            raise UserError(
                f"--max-false-alarms {max_false_alarms:g}: the detector holds operating points for"
                f" {listed}"
            )
        low = self.points[near[0]]
        if low is None:
            raise UserError(
                f"--max-false-alarms {near[0]:g}: the detector was calibrated on"
                f" {self.facts['points']['groups']} groups of real images; at least"
                f" {round(1 / near[0]) - 1} are needed"
            )
        return Band(low, max(low, self.band.high))

    def judge(self, logits: NDArray, max_false_alarms: float | None = None) -> list[dict[str, Any]]:
        """Return for each logit: `logit`, `probability_generated`, `verdict`, `label_at_threshold`.

        The label at the threshold never abstains; the verdict does where the band says so.
        """
        probability = self.calibration.generated(logits)
        verdicts = self.band_at(max_false_alarms).verdicts(logits)
        return [
            {
                "logit": float(z),
                "probability_generated": float(p),
                "verdict": str(v),
                "label_at_threshold": "real" if z > self.threshold else "generated",
            }
            for z, p, v in zip(logits, probability, verdicts, strict=True)
        ]


def check_members(probes: Sequence[StoredProbe]) -> None:
    """Refuse probes that don't make one detector: of several feature sets, or of one generator."""
    if not probes:
        raise UserError("detector: no probe of that feature set in the files given")
    sets = sorted({probe.feature_set for probe in probes})
    if len(sets) > 1:
        raise UserError(f"detector: probes of several feature sets ({', '.join(sets)}); choose one")
    if probes[0].space == "layers":
        raise UserError(
            f"detector: {sets[0]} sees layers, which a detector does not read; choose a family of"
            " columns or heads"
        )
    trains = [probe.train for probe in probes]
    twice = sorted({name for name in trains if trains.count(name) > 1})
    if twice:
        raise UserError(
            f"detector: two probes trained on {twice[0]}; only one per generator is allowed"
        )


def cautions(model: Model) -> list[str]:
    """Return what a reader of any verdict must know of the detector itself."""
    facts, found = model.facts, []
    if facts["encoder"]["spec"]["weights"] is None:
        found.append("the encoder has random weights: its verdicts mean nothing")
    if not facts["expected"]["held_out"]:
        found.append("no generator was held out: accuracy on new generators is not known")
    expected = facts["expected"]["accuracy_at_val_threshold"]
    low, high = expected["generators_low"], expected["generators_high"]
    over = "over generators"
    if low is None:
        low, high, over = expected["low"], expected["high"], "over photographs"
    interval = f" ({low:.2f} to {high:.2f} {over})" if low is not None else ""
    found.append(
        f"detector {facts['feature_set']} trained on {', '.join(facts['members'] or facts['train'])}:"
        f" accuracy {expected['value']:.2f}{interval} on {len(facts['expected']['per_generator'])}"
        " generators that it did not see"
        if facts["expected"]["held_out"]
        else f"detector {facts['feature_set']}: accuracy {expected['value']:.2f} on what it saw"
    )
    training = facts["training"]
    if len(training["formats"]) > 1 and any(0 in c.values() for c in training["formats"].values()):
        found.append("in training, the file format separated the labels: it may be a shortcut")
    return found
