"""Why a detector says what it says of an image: parts that add up to its logit.

The logit is linear in what the detector sees once the embedding's length (for cosines) and the last
LayerNorm's scale are taken as they are for this image. So it divides exactly: over components of the
embedding, over heads and MLPs of the encoder, and a head's share over patches of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsieve.detector.file_rule import file_probability
from clipsieve.interpretation.nulls import unit_rows
from clipsieve.probes.features import head_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsieve.detector.judging import Judge
    from clipsieve.detector.model import Model, Reference
    from clipsieve.detector.pictures import ImageLike
    from clipsieve.encoders.encoder import Encoder
    from clipsieve.encoders.terms import DirectTerms

#: Rows of each list that are shown and written.
TOP = 8


@dataclass(frozen=True)
class Division:
    """The logit as a sum of parts.

    Attributes
    ----------
    by : str
        What the parts are: `components`, `heads` or `encoder` (all that the encoder adds up).
    parts : dict
        Name -> share of the logit; positive speaks for real, negative for generated.
    base : float
        What is the same for every image (intercept, biases).
    total : float
        Sum of parts and base.
    """

    by: str
    parts: dict[str, float]
    base: float
    total: float


@dataclass(frozen=True)
class Explanation:
    """What `Detector.explain` returns.

    Attributes
    ----------
    result : dict
        The verdict, as `Detector.judge` gives it.
    divisions : list of Division
        The logit divided in one or two ways; the total of each is the logit.
    heat : list of list of float, or None
        Share of the logit of each patch [rows][columns] through the heads in `heat_heads`.
    heat_cls : float
        What the CLS token itself gives through these heads; with the sum of `heat` it is their term.
    heat_term : float or None
        The term of these heads in the logit.
    heat_heads : list of str
    heat_missing : str or None
        Why there is no heat map, where there is none.
    words : list of dict
        Nearest texts of the picture: `text`, `cosine` (both less the training images' mean), `z`
        and `p` among training images.
    alike : list of dict
        Nearest training images: `image_id`, `image_set`, `label`, `cosine`.
    file : dict
        What a rule that sees file facts alone says: `probability_generated` (None for pixels
        without a file), and its `auc` on test images.
    """

    result: dict[str, Any]
    divisions: list[Division]
    heat: list[list[float]] | None = None
    heat_cls: float = 0.0
    heat_term: float | None = None
    heat_heads: list[str] = field(default_factory=list)
    heat_missing: str | None = None
    words: list[dict[str, Any]] = field(default_factory=list)
    alike: list[dict[str, Any]] = field(default_factory=list)
    file: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)


def explain(judge: Judge, source: ImageLike, max_false_alarms: float | None = None) -> Explanation:
    """Explain the verdict on one image.

    Parameters
    ----------
    judge
        The detector with its encoder.
    source
        An image (`clipsieve.detector.pictures.open_picture`).
    max_false_alarms
        As for `Judge.results`.

    Raises
    ------
    ImageProblem
        It is not a usable image.
    """
    from clipsieve.detector.judging import Prepared

    model, encoder = judge.model, judge.encoder
    picture = judge.open(source)
    pixels = encoder.preprocess(picture.image)
    result = judge.results([Prepared(pixels, picture.facts)], max_false_alarms)[0]
    embeddings, heads = encoder.encode_pixels(pixels[None], pad=True)
    embedding = np.asarray(embeddings[0], np.float64)
    divisions = []
    directions = None
    if model.needs_heads:
        assert heads is not None
        division, directions = head_division(model, heads, encoder.head_basis())
        divisions.append(division)
    else:
        weights, intercept = effective_weights(model, embedding)
        divisions.append(component_division(weights, intercept, embedding))
        if encoder.has_heads:
            terms = encoder.direct_terms([picture.image])
            joint = terms.joint()
            # other poolings than the tower's own have no such terms
            if joint["initial"].shape[1] == len(weights):
                divisions.append(
                    encoder_division(joint, weights, intercept, float(result["logit"]))
                )
                directions = _into_heads(encoder, terms, weights)
    return Explanation(
        result=result,
        divisions=divisions,
        **_heat(judge, pixels, heads, directions),
        words=nearest_words(model.reference, embedding, model.image_mean),
        alike=nearest_images(model.reference, embedding),
        file=_file(model, picture.facts),
    )


def effective_weights(
    model: Model, embedding: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the weights [D] and intercept by which this embedding gets its logit.

    Of probes on columns they are the mean of the probes' own. A cosine is linear once the length of
    the embedding (on the probe's columns) is known, so its weights depend on the image.
    """
    total = np.zeros(len(embedding))
    intercept = 0.0
    for probe in model.probes:
        columns = np.arange(len(embedding)) if probe.columns is None else np.array(probe.columns)
        if probe.space == "residual":
            assert probe.residual is not None
            weights = float(probe.coef[0]) * np.asarray(probe.residual, np.float64)
            if (probe.facts.get("residual_kind") or "cosine") == "cosine":
                lengths = np.linalg.norm(probe.residual) * np.linalg.norm(embedding[columns])
                weights = weights / lengths if lengths > 0 else np.zeros(len(columns))
        else:
            weights = probe.coef
        total[columns] += weights
        intercept += probe.intercept
    return total / len(model.probes), intercept / len(model.probes)


def component_division(
    weights: NDArray[np.float64], intercept: float, embedding: NDArray[np.float64]
) -> Division:
    """Divide a logit over the components of the embedding that have a weight."""
    parts = weights * embedding
    used = np.flatnonzero(weights)
    named = {f"component {j}": float(parts[j]) for j in used}
    return Division("components", named, intercept, float(parts[used].sum() + intercept))


def head_division(
    model: Model, heads: NDArray, basis: NDArray
) -> tuple[Division, NDArray[np.float64]]:
    """Divide the logit of probes on heads over these heads; and u of each head, u . z its term."""
    parts: dict[str, float] = {}
    directions = np.zeros(heads.shape[1:])
    intercept = 0.0
    for probe in model.probes:
        chosen = [(int(layer), int(head)) for layer, head in probe.columns or []]
        width = basis.shape[2]
        X = head_features(heads, basis, chosen)[0]
        for k, (layer, head) in enumerate(chosen):
            block = slice(k * width, (k + 1) * width)
            name = head_name(layer, head)
            share = float(X[block] @ probe.coef[block]) / len(model.probes)
            parts[name] = parts.get(name, 0.0) + share
            own = probe.coef[block] @ basis[layer, head].astype(np.float64)
            directions[layer, head] += own / len(model.probes)
        intercept += probe.intercept / len(model.probes)
    return Division("heads", parts, intercept, sum(parts.values()) + intercept), directions


def encoder_division(
    joint: Mapping[str, NDArray], weights: NDArray, intercept: float, logit: float
) -> Division:
    """Divide the logit of probes on the embedding over all that the encoder adds up.

    Parameters
    ----------
    joint
        Parts of one image's embedding (`clipsieve.encoders.terms.DirectTerms.joint`).
    weights, intercept
        From `effective_weights`.
    logit
        The detector's; what rounding leaves of it (the encoder computes in float32) is a part.
    """
    of_heads = joint["heads"][0] @ weights
    parts = {
        head_name(layer, head): float(of_heads[layer, head])
        for layer in range(of_heads.shape[0])
        for head in range(of_heads.shape[1])
    }
    mlps = joint["mlps"][0] @ weights
    parts |= {f"MLP of layer {layer}": float(share) for layer, share in enumerate(mlps)}
    parts["input tokens"] = float(joint["initial"][0] @ weights)
    if "pool_mlp" in joint:
        parts["MLP of the pool"] = float(joint["pool_mlp"][0] @ weights)
    constant = np.broadcast_to(joint["constant"], (1, len(weights)))[0]
    base = float(joint["attention_bias"][0].sum(axis=0) @ weights + constant @ weights) + intercept
    parts["rounding"] = logit - (sum(parts.values()) + base)
    return Division("encoder", parts, base, sum(parts.values()) + base)


def _into_heads(encoder: Encoder, terms: DirectTerms, weights: NDArray) -> NDArray[np.float64]:
    """Return u [L, H, d_head] of every head: u . z is its term in weights . embedding."""
    back = np.asarray(weights, np.float64)
    if terms.projection is not None:
        back = terms.projection @ back
    if terms.layer_norm is not None:
        gain, _, eps = terms.layer_norm
        back = gain * back / np.sqrt(terms.residual()[0].var() + eps)
        back = back - back.mean()
    layers, heads, size = encoder.heads_shape or (0, 0, 0)
    unit = np.broadcast_to(
        np.eye(size, dtype=np.float32)[:, None, None], (size, layers, heads, size)
    )
    # what each cached number, being one, adds to the stream
    return np.asarray(np.einsum("dlhw,w->lhd", encoder.head_outputs(unit), back))


def head_name(layer: int, head: int) -> str:
    """Name a head as every table does.

    >>> head_name(11, 3)
    'l11_h3'
    """
    return f"l{layer}_h{head}"


def _heat(
    judge: Judge, pixels: Any, heads: NDArray | None, directions: NDArray | None
) -> dict[str, Any]:
    """Return the heat map over patches of the heads that matter, and their term."""
    from clipsieve.encoders.patch_terms import patch_terms, why_no_patches

    missing = why_no_patches(judge.encoder)
    if missing or directions is None or heads is None:
        return {"heat_missing": missing or "the encoder has no head outputs"}
    cls, patches = patch_terms(judge.encoder, pixels, directions)
    used = np.argwhere(np.any(directions != 0, axis=-1)).tolist()
    term = float(np.einsum("lhd,lhd->", directions, np.asarray(heads[0], np.float64)))
    return {
        "heat": patches.sum(axis=(0, 1)).tolist(),
        "heat_cls": float(cls.sum()),
        "heat_term": term,
        "heat_heads": [head_name(layer, head) for layer, head in used],
    }


def nearest_words(
    reference: Reference, embedding: NDArray, mean: NDArray, *, top: int = TOP
) -> list[dict[str, Any]]:
    """Return the texts that are nearest to a picture, compared with the training images.

    Parameters
    ----------
    reference
        Training images and texts.
    embedding, mean : float [D]
        The picture's, and the mean of the training images.

    Returns
    -------
    list of dict
        `text`; `cosine` of what the picture and the text have beyond the mean of their kind; `z` of
        it among the training images; `p`, the share of training images (and of this picture) whose
        nearest text lies as far above what is usual for it.
    """
    if not reference.texts or len(reference.embedding) < 3:
        return []
    texts = np.asarray(reference.text_embedding, np.float64)
    goals = unit_rows(texts - texts.mean(axis=0))
    images = unit_rows(np.asarray(reference.embedding, np.float64) - mean)
    usual = images @ goals.T
    centre, spread = usual.mean(axis=0), usual.std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, np.inf)
    cosine = unit_rows((embedding - mean)[None])[0] @ goals.T
    z = (cosine - centre) / spread
    highest = ((usual - centre) / spread).max(axis=1)
    order = np.argsort(-z, kind="stable")[:top]
    return [
        {
            "text": reference.texts[k],
            "cosine": float(cosine[k]),
            "z": float(z[k]),
            "p": float((1 + (highest >= z[k]).sum()) / (1 + len(highest))),
        }
        for k in order
    ]


def nearest_images(reference: Reference, embedding: NDArray, top: int = 5) -> list[dict[str, Any]]:
    """Return the training images, of those kept, whose embeddings have the largest cosine."""
    if not len(reference.embedding):
        return []
    rows = unit_rows(np.asarray(reference.embedding, np.float64))
    cosine = rows @ unit_rows(np.asarray(embedding, np.float64)[None])[0]
    return [
        {
            "image_id": reference.image_id[k],
            "image_set": reference.image_set[k],
            "label": "real" if reference.label[k] == 1 else "generated",
            "cosine": float(cosine[k]),
        }
        for k in np.argsort(-cosine, kind="stable")[:top]
    ]


def _file(model: Model, facts: Mapping[str, Any]) -> dict[str, Any]:
    rule = model.facts["file_rule"]
    known = facts.get("format") is not None and not model.facts.get("align")
    return {
        "probability_generated": file_probability(rule, facts) if known else None,
        "auc": rule["auc"],
    }


def largest(division: Division, top: int = TOP) -> list[tuple[str, float]]:
    """Return the parts of a division that matter most, the largest first."""
    return sorted(division.parts.items(), key=lambda part: -abs(part[1]))[:top]


def as_text(found: Explanation) -> str:
    """Write an explanation as lines of text."""
    lines = []
    for division in found.divisions:
        lines.append(
            f"    logit {division.total:+.4f} by {division.by}: {division.base:+.4f} for every image, and"
            " (negative speaks for generated)"
        )
        shown = largest(division)
        lines += [f"      {share:+.4f}  {name}" for name, share in shown]
        rest = division.total - division.base - sum(share for _, share in shown)
        if len(division.parts) > len(shown):
            lines.append(
                f"      {rest:+.4f}  {len(division.parts) - len(shown)} other parts together"
            )
    if found.heat is not None:
        lines.append(
            f"    {len(found.heat_heads)} head(s) give {found.heat_term:+.4f}: patches"
            f" {sum(map(sum, found.heat)):+.4f}, the CLS token itself {found.heat_cls:+.4f}"
        )
    if found.words:
        listed = ", ".join(f"{w['text']} (z {w['z']:.1f}, p {w['p']:.2f})" for w in found.words[:4])
        lines.append(f"    nearest words: {listed}")
    for near in found.alike[:3]:
        lines.append(
            f"    like the training image {near['image_id']} ({near['label']}, {near['image_set']},"
            f" cosine {near['cosine']:.3f})"
        )
    if found.file["probability_generated"] is not None:
        auc = found.file["auc"]
        quality = "" if auc is None else f" (AUC of that rule on test images: {auc:.2f})"
        lines.append(
            f"    the file alone, unseen: P(generated) {found.file['probability_generated']:.3f}{quality}"
        )
    return "\n".join(lines)
