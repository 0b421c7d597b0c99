"""Images through encoder and detector, in a stream: decoded ahead in threads, in bounded memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsieve.detector.pictures import ImageLike, Picture, open_picture, shown
from clipsieve.detector.training_images import file_warnings, likeness
from clipsieve.errors import UserError
from clipsieve.images.decode import DECODE_VERSION, ImageProblem

if TYPE_CHECKING:
    import torch

    from clipsieve.detector.model import Model
    from clipsieve.encoders.encoder import Encoder

#: Keys of a result, in order; all but `path` and `problem` are None where there is a problem.
COLUMNS = (
    "path", "problem", "probability_generated", "verdict", "logit", "label_at_threshold",
    "likeness", "format", "width", "height", "warnings",
)  # fmt: skip
_IDENTITY = ("weights_sha256", "preprocessing", "encoder_version")


@dataclass(frozen=True)
class Prepared:
    """What an image became: pixels [3, height, width] and file facts, or the problem."""

    pixels: torch.Tensor | None
    facts: dict[str, Any]
    problem: str | None = None


class Judge:
    """A detector with its encoder.

    Parameters
    ----------
    model : Model
    encoder : Encoder
        The one that the detector was trained on (`load_same_encoder`).
    """

    def __init__(self, model: Model, encoder: Encoder) -> None:
        self.model = model
        self.encoder = encoder
        colour = model.facts["encoder"]["background"] or (255, 255, 255)
        self._background = (int(colour[0]), int(colour[1]), int(colour[2]))
        self._basis = encoder.head_basis() if model.needs_heads else None

    def open(self, source: ImageLike) -> Picture:
        """Decode an image as those of the training were; ImageProblem where it can't be used."""
        return open_picture(
            source,
            background=self._background,
            profiles=self.model.facts["encoder"].get("colour_profiles", "ignore"),
            align=self.model.facts.get("align"),
        )

    def prepare(self, source: ImageLike) -> Prepared:
        """Decode and preprocess an image; one that can't be used is a problem, not an error."""
        try:
            picture = self.open(source)
            # Only what the encoder sees is kept: a folder of large photographs fits in memory.
            return Prepared(self.encoder.preprocess(picture.image), picture.facts)
        except ImageProblem as problem:
            return Prepared(None, {}, problem.reason)

    def results(
        self, prepared: list[Prepared], max_false_alarms: float | None = None
    ) -> list[dict[str, Any]]:
        """Judge prepared images in one forward pass; the keys are `COLUMNS` without `path`."""
        import torch

        good = [one for one in prepared if one.pixels is not None]
        found: Iterator[dict[str, Any]] = iter(())
        if good:
            stacked = torch.stack([one.pixels for one in good if one.pixels is not None])
            # filled up to whole parts, an image's numbers do not depend on its place in the batch
            embeddings, heads = self.encoder.encode_pixels(stacked, pad=True)
            logits = self.model.logits(embeddings, heads, self._basis)
            verdicts = self.model.judge(logits, max_false_alarms)
            alike = likeness(embeddings, self.model.image_mean)
            found = iter(
                self._result(one.facts, verdict, float(like))
                for one, verdict, like in zip(good, verdicts, alike, strict=True)
            )
        blank = dict.fromkeys(COLUMNS[2:], None)
        return [
            next(found)
            if one.problem is None
            else {"problem": one.problem, **blank, "warnings": []}
            for one in prepared
        ]

    def _result(
        self, facts: Mapping[str, Any], verdict: Mapping[str, Any], like: float
    ) -> dict[str, Any]:
        training = self.model.facts["training"]
        # what is brought to one size and format may have had any
        warnings = [] if self.model.facts.get("align") else file_warnings(facts, training)
        if like < training["likeness"]:
            warnings.append(
                f"the picture is unlike the training images (cosine {like:.2f} with their mean,"
                f" theirs {training['likeness']:.2f} and more)"
            )
        row = {"problem": None, **verdict, "likeness": like, "warnings": warnings}
        return row | {name: facts.get(name) for name in ("format", "width", "height")}

    def stream(
        self,
        paths: Iterable[str],
        *,
        batch_size: int = 32,
        workers: int = 1,
        max_false_alarms: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Judge files one after the other, in order.

        Parameters
        ----------
        paths
            Taken as they are needed.
        batch_size, workers
            Images a forward pass; threads that decode. At most three batches and `workers` decoded
            pictures are in memory at once.
        max_false_alarms
            Operating point (`Model.band_at`); None for the detector's own band.

        Yields
        ------
        dict
            With the keys `COLUMNS`.
        """
        waiting: deque[tuple[str, Future[Prepared]]] = deque()
        upcoming = iter(paths)
        with ThreadPoolExecutor(max(1, workers), "decode", initializer=_alone) as pool:
            try:
                while True:
                    while len(waiting) < 3 * batch_size:
                        path = next(upcoming, None)
                        if path is None:
                            break
                        waiting.append((path, pool.submit(self.prepare, path)))
                    if not waiting:
                        return
                    taken = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
                    prepared = [future.result() for _, future in taken]
                    results = self.results(prepared, max_false_alarms)
                    for (path, _), result in zip(taken, results, strict=True):
                        yield {"path": shown(path), **result}
            finally:
                for _, future in waiting:
                    future.cancel()


def _alone() -> None:
    """Give a decoding thread one thread of torch: a team below each would only wait for cores."""
    import torch

    torch.set_num_threads(1)


def load_same_encoder(
    model: Model, name: str, *, weights: str | None = None, device: str = "auto"
) -> Encoder:
    """Load the encoder that a detector was trained on, and refuse another.

    Parameters
    ----------
    model, name
        The detector, and what messages call it.
    weights
        File of the encoder's weights, where it has moved.
    device
        `auto`, `cpu` or `cuda`.

    Raises
    ------
    UserError
        The encoder can't be loaded, or is not the same.
    """
    from clipsieve.encoders import load_encoder

    facts = model.facts["encoder"]
    spec = dict(facts["spec"], device=device)
    if weights:
        spec["weights"] = weights
    encoder = load_encoder(spec)
    for key in _IDENTITY:
        # JSON turns tuples into lists.
        found = json.loads(json.dumps(encoder.identity[key]))
        if found != facts[key]:
            hint = " (--weights names another file)" if key == "weights_sha256" else ""
            raise UserError(
                f"{name}: trained on the encoder with {key} {facts[key]}, the one loaded has"
                f" {found}{hint}"
            )
    if facts["decode_version"] not in (None, DECODE_VERSION):
        raise UserError(
            f"{name}: trained on images of decoder version {facts['decode_version']}, this"
            f" is {DECODE_VERSION}; export it again"
        )
    if model.needs_heads and not encoder.has_heads:
        raise UserError(f"{name}: needs head outputs; {encoder.heads_missing}")
    return encoder
