"""The detector as Python sees it: load it, hand it images, read what it says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.folder import read_detector
from clipsieve.detector.judging import Judge, load_same_encoder
from clipsieve.detector.model import Model
from clipsieve.detector.pictures import ImageLike
from clipsieve.errors import UserError
from clipsieve.images.decode import ImageProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsieve.detector.explanation import Explanation


class Detector:
    """A detector of AI-generated images that `clipsieve export` made from a run.

    Images are paths (``x.zip!a.png`` for a member of an archive), the bytes of files, PIL images, or
    arrays (uint8, or floating point from 0 to 1, channels last). What they become is what training
    images became: decoding, alignment, preprocessing and encoder are the same. The encoder is loaded
    with the first image.

    Attributes
    ----------
    classes_ : tuple of str
        ``("generated", "real")``, the columns of `predict_proba`.
    facts : dict
        What the detector was trained on, how well it does and more (`detector.json`).
    model : Model
        Its numbers.

    Examples
    --------
    >>> from clipsieve import Detector
    >>> detector = Detector.load("detector")
    >>> detector.facts["train"]
    ['one', 'three', 'two']
    >>> detector.predict_proba(["photo.png"]).shape
    (1, 2)
    >>> detector.predict(["photo.png", "picture.png"]).tolist()
    ['real', 'generated']
    """

    classes_ = ("generated", "real")

    def __init__(
        self,
        model: Model,
        *,
        name: str = "detector",
        weights: str | None = None,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.facts = model.facts
        self._name, self._weights, self._device = name, weights, device

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, weights: str | None = None, device: str = "auto"
    ) -> Detector:
        """Read a detector.

        Parameters
        ----------
        path
            Folder of `clipsieve export`.
        weights
            File of the encoder's weights, where it is no longer where the run had it; its sha256
            must be the same.
        device
            `auto`, `cpu` or `cuda`.

        Raises
        ------
        UserError
            It is not a detector, or a byte of it was changed.
        """
        return cls(read_detector(path), name=os.fspath(path), weights=weights, device=device)

    def __repr__(self) -> str:
        encoder = self.facts["encoder"]["encoder"]
        return f"Detector({self._name!r}: {self.facts['feature_set']} of {encoder})"

    @cached_property
    def judge_(self) -> Judge:
        """The detector with its encoder, which is loaded at first use."""
        encoder = load_same_encoder(
            self.model, self._name, weights=self._weights, device=self._device
        )
        return Judge(self.model, encoder)

    def judge(
        self,
        images: Iterable[ImageLike],
        *,
        max_false_alarms: float | None = None,
        batch_size: int = 32,
    ) -> list[dict[str, Any]]:
        """Judge images; one that cannot be used gets its `problem` instead of a verdict.

        Parameters
        ----------
        images
            Any kinds, mixed.
        max_false_alarms
            Largest share of real images called generated: 0.001, 0.005, 0.01, 0.02, 0.05 or 0.1.
            By default the detector's own band holds (`facts["band"]["rate"]` of either label).
        batch_size
            Images a forward pass.

        Returns
        -------
        list of dict
            `problem` (None for a usable image), `logit` (large says real),
            `probability_generated`, `verdict` (`generated`, `real` or `unsure`),
            `label_at_threshold`, `likeness`, `warnings`, and the file's `format`, `width`, `height`.

        Raises
        ------
        UserError
            The detector has no such operating point, or its encoder cannot be loaded.

        Examples
        --------
        >>> detector = Detector.load("detector")
        >>> found = detector.judge([np.zeros((64, 64, 3), np.uint8), b"no image"])
        >>> found[0]["warnings"][0]
        'the picture is of one colour'
        >>> found[1]["problem"]
        'not an image in JPEG, PNG, WebP, BMP, TIFF, GIF, PPM, AVIF, JPEG 2000, HEIF, JPEG XL'
        """
        self.model.band_at(max_false_alarms)
        judge = self.judge_
        found: list[dict[str, Any]] = []
        waiting = []
        for image in images:
            waiting.append(judge.prepare(image))
            if len(waiting) == batch_size:
                found += judge.results(waiting, max_false_alarms)
                waiting = []
        return found + (judge.results(waiting, max_false_alarms) if waiting else [])

    def _usable(self, images: Iterable[ImageLike], **options: Any) -> list[dict[str, Any]]:
        if isinstance(images, str | bytes | os.PathLike):
            raise UserError("detector: give a list of images, even for a single one")
        found = self.judge(images, **options)
        for k, result in enumerate(found):
            if result["problem"] is not None:
                raise UserError(f"detector: image {k}: {result['problem']}")
        return found

    def decision_function(self, images: Sequence[ImageLike]) -> NDArray[np.float64]:
        """Return the logit of each image, float64 [n]; large says real.

        Raises
        ------
        UserError
            An image cannot be used; the line names its position.
        """
        return np.array([result["logit"] for result in self._usable(images)], dtype=np.float64)

    def predict_proba(self, images: Sequence[ImageLike]) -> NDArray[np.float64]:
        """Return P(generated) and P(real) of each image, both labels being equally common before.

        Returns
        -------
        float64 [n, 2]
            Columns as in `classes_`.

        Raises
        ------
        UserError
            As `decision_function`.

        Examples
        --------
        >>> detector = Detector.load("detector")
        >>> p = detector.predict_proba(["photo.png", "picture.png"])
        >>> bool(p[0, 1] > 0.5), bool(p[1, 0] > 0.5), p.sum(axis=1).tolist()
        (True, True, [1.0, 1.0])
        """
        p = np.array([result["probability_generated"] for result in self._usable(images)])
        return np.column_stack([p, 1.0 - p]).reshape(-1, 2)

    def predict(self, images: Sequence[ImageLike]) -> NDArray[np.str_]:
        """Return ``generated`` or ``real`` for each image, at the threshold; it never abstains."""
        labels = [result["label_at_threshold"] for result in self._usable(images)]
        return np.array(labels, dtype="<U9")

    def decide(
        self, images: Sequence[ImageLike], *, max_false_alarms: float | None = None
    ) -> NDArray[np.str_]:
        """Return ``generated``, ``real`` or ``unsure`` for each image.

        Parameters
        ----------
        images
            Any kinds, mixed.
        max_false_alarms
            As for `judge`.

        Examples
        --------
        >>> Detector.load("detector").decide(["picture.png"], max_false_alarms=0.1).tolist()
        ['generated']
        """
        found = self._usable(images, max_false_alarms=max_false_alarms)
        return np.array([result["verdict"] for result in found], dtype="<U9")

    def explain(self, image: ImageLike, *, max_false_alarms: float | None = None) -> Explanation:
        """Explain the verdict on one image: parts that add up to its logit, a heat map, words.

        Raises
        ------
        UserError
            The image cannot be used.

        Examples
        --------
        >>> found = Detector.load("detector").explain("picture.png")
        >>> [division.by for division in found.divisions]
        ['components', 'encoder']
        >>> abs(found.divisions[0].total - found.result["logit"]) < 1e-5
        True
        """
        from clipsieve.detector.explanation import explain

        try:
            return explain(self.judge_, image, max_false_alarms)
        except ImageProblem as problem:
            raise UserError(f"detector: {problem.reason}") from None
