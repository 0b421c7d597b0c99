"""A self-contained detector: finished probes of one feature set with all that judging needs.

One file (npz without pickle) holds the probes' numbers and a JSON description: encoder and the
sha256 of its weights, label meaning, threshold, calibration, band of abstention, what the training
images were like, and how well it did on generators that it was not trained on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.calibration import Band, Platt
from clipsieve.errors import UserError
from clipsieve.probes.features import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

from clipsieve.io.probes import StoredProbe

FORMAT = "clipsieve detector"
FORMAT_VERSION = 1
#: Labels of every probe, as the paper has them.
LABELS = {"0": "generated", "1": "real"}


@dataclass(frozen=True)
class Detector:
    """Probes, one a training generator, whose mean logit is judged.

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
    facts : dict
        Everything else, JSON-able: `encoder`, `feature_set`, `train`, `training`, `calibration`,
        `band`, `expected`, `run`, `seed`, `clipsieve_version`.
    image_mean : float64 [D]
        Mean embedding of the training images, for telling unlike images.
    """

    probes: list[StoredProbe]
    threshold: float
    calibration: Platt
    band: Band
    facts: dict[str, Any]
    image_mean: NDArray[np.float64]

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
        each = [
            probe_features(probe, embeddings, heads, basis) @ probe.coef + probe.intercept
            for probe in self.probes
        ]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    def judge(self, logits: NDArray) -> list[dict[str, Any]]:
        """Return for each logit: `logit`, `probability_generated`, `verdict`, `label_at_threshold`.

        The label at the threshold never abstains; the verdict does where the band says so.
        """
        probability = self.calibration.generated(logits)
        verdicts = self.band.verdicts(logits)
        return [
            {
                "logit": float(z),
                "probability_generated": float(p),
                "verdict": str(v),
                "label_at_threshold": "real" if z > self.threshold else "generated",
            }
            for z, p, v in zip(logits, probability, verdicts, strict=True)
        ]

    def likeness(self, embeddings: NDArray) -> NDArray[np.float64]:
        """Return the cosine of each embedding with the mean of the training images, float64 [n]."""
        return likeness(embeddings, self.image_mean)


def likeness(embeddings: NDArray, mean: NDArray) -> NDArray[np.float64]:
    """Return the cosine of each row [n, D] with `mean` [D]; 0 for a row of zeros."""
    rows, centre = np.asarray(embeddings, np.float64), np.asarray(mean, np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(centre)
    return np.divide(rows @ centre, lengths, out=np.zeros(len(rows)), where=lengths > 0)


def probe_features(
    probe: StoredProbe, embeddings: NDArray, heads: NDArray | None, basis: NDArray | None
) -> NDArray[np.float64]:
    """Return what a probe sees of each image, float64 [n, k], exactly as it was trained."""
    return features(
        probe.space,
        probe.columns,
        embeddings,
        heads=heads,
        basis=basis,
        residual=probe.residual,
        residual_kind=probe.facts.get("residual_kind") or "cosine",
    )


def check_members(probes: Sequence[StoredProbe]) -> None:
    """Refuse probes that don't make one detector: of several feature sets, or of one generator."""
    if not probes:
        raise UserError("detector: no probe of that feature set in the files given")
    sets = sorted({probe.feature_set for probe in probes})
    if len(sets) > 1:
        raise UserError(f"detector: probes of several feature sets ({', '.join(sets)}); choose one")
    trains = [probe.train for probe in probes]
    twice = sorted({name for name in trains if trains.count(name) > 1})
    if twice:
        raise UserError(
            f"detector: two probes trained on {twice[0]}; only one per generator is allowed"
        )


def write_detector(path: str | os.PathLike[str], detector: Detector) -> None:
    """Write a detector as one npz; equal detectors give equal bytes."""
    from clipsieve.io.probes import pack, write_npz

    arrays, members = pack(detector.probes)
    band = {"low": detector.band.low, "high": detector.band.high}
    meta = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "labels": LABELS,
        "threshold": detector.threshold,
        "slope": detector.calibration.slope,
        "offset": detector.calibration.offset,
        # JSON has no infinity: a missing end of the band is null.
        "band": {end: value if np.isfinite(value) else None for end, value in band.items()},
        "probes": members,
        "facts": detector.facts,
    }
    arrays["image_mean"] = np.asarray(detector.image_mean, np.float64)
    write_npz(path, {**arrays, "meta": np.array(json.dumps(meta, sort_keys=True))})


def read_detector(path: str | os.PathLike[str]) -> Detector:
    """Read a detector.

    Raises
    ------
    UserError
        The file is missing, is not a detector, or has another format version.
    """
    from clipsieve.io.probes import opened_npz, unpack

    with opened_npz(path, "a detector") as archive:
        meta = json.loads(str(archive["meta"]))
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise UserError(f"{path}: not a detector (clipsieve export-detector writes one)")
        if meta["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{path}: detector format {meta['format_version']}, this version reads"
                f" {FORMAT_VERSION}"
            )
        low, high = meta["band"]["low"], meta["band"]["high"]
        return Detector(
            unpack(archive, meta["probes"]),
            float(meta["threshold"]),
            Platt(float(meta["slope"]), float(meta["offset"])),
            Band(-np.inf if low is None else low, np.inf if high is None else high),
            meta["facts"],
            archive["image_mean"],
        )


def file_warnings(facts: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Say in what a file differs from those that the detector was trained on.

    Parameters
    ----------
    facts : mapping
        `format`, `mode`, `width`, `height`, `bytes`, `jpeg_quality`, `is_constant` of the file.
    training : mapping
        From `training_facts`.
    """
    found = []
    counts = training["formats"].get(facts["format"])
    if counts is None:
        known = ", ".join(sorted(training["formats"]))
        found.append(f"format {facts['format']}: trained only on {known}")
    elif 0 in counts.values():
        label = "generated" if counts["real"] == 0 else "real"
        found.append(
            f"format {facts['format']}: every training image of this format was {label}, so the"
            " verdict may follow the format"
        )
    if facts["mode"] not in training["modes"]:
        known = ", ".join(training["modes"])
        found.append(f"colour mode {facts['mode']}: trained only on {known}")
    for name, unit in (("width", "px wide"), ("height", "px high")):
        low, high = training[name]
        if not low <= facts[name] <= high:
            found.append(f"{facts[name]} {unit}: trained on {_span(low, high)}")
    quality = training["jpeg_quality"]
    if facts.get("jpeg_quality") is not None and quality is not None:
        low, high = quality
        if not low <= facts["jpeg_quality"] <= high:
            found.append(f"JPEG quality {facts['jpeg_quality']}: trained on {_span(low, high)}")
    low, high = training["bytes_per_pixel"]
    rate = facts["bytes"] / (facts["width"] * facts["height"])
    # File sizes vary with content, so only those far out are named.
    if not low / 2 <= rate <= high * 2:
        found.append(f"{rate:.3g} bytes a pixel: trained on {low:.3g} to {high:.3g}")
    if facts.get("is_constant"):
        found.append("the picture is of one colour")
    return found


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def training_facts(table: Any) -> dict[str, Any]:
    """Sum up the files of the training images.

    Parameters
    ----------
    table : DataFrame
        `label` (0 = generated, 1 = real), `format`, `mode`, `width`, `height`, `bytes`,
        `jpeg_quality` of each.

    Returns
    -------
    dict
        `formats` (number of generated and real files of each), `modes`, ranges of `width`,
        `height`, `bytes_per_pixel` and `jpeg_quality` (None without JPEGs), `n_generated`,
        `n_real`.
    """
    real = table["label"] == 1
    rate = table["bytes"] / (table["width"] * table["height"])
    quality = table["jpeg_quality"].dropna()
    formats = {
        str(name): {
            "generated": int(((table["format"] == name) & ~real).sum()),
            "real": int(((table["format"] == name) & real).sum()),
        }
        for name in sorted(table["format"].unique())
    }
    return {
        "formats": formats,
        "modes": sorted(str(mode) for mode in table["mode"].unique()),
        "width": [int(table["width"].min()), int(table["width"].max())],
        "height": [int(table["height"].min()), int(table["height"].max())],
        "bytes_per_pixel": [float(rate.min()), float(rate.max())],
        "jpeg_quality": [int(quality.min()), int(quality.max())] if len(quality) else None,
        "n_generated": int((~real).sum()),
        "n_real": int(real.sum()),
    }
