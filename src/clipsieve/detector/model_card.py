"""The model card of a detector: Markdown that says what it is, how well it does, and what it is not for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipsieve.detector.model import Model

_TITLES = {
    "accuracy_at_val_threshold": "accuracy at the threshold",
    "balanced_accuracy": "balanced accuracy at logit 0",
    "accuracy": "accuracy at logit 0",
    "auc": "AUC",
}


def card_of(model: Model) -> str:
    """Write the model card of a detector.

    Parameters
    ----------
    model
        The detector; everything that the card says is in its `facts`.

    Returns
    -------
    str
        Markdown.
    """
    facts = model.facts
    sections = [
        _heading(facts),
        _use(),
        _training(facts),
        _performance(facts),
        _verdicts(model),
        _shortcuts(facts),
        _words(facts),
        _limits(facts),
        _files(facts),
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal; `-` for None."""
    return "-" if value is None else f"{100 * value:.1f} %"


def _between(entry: Mapping[str, Any], low: str, high: str) -> str:
    if entry.get(low) is None or entry.get(high) is None:
        return "-"
    return f"{percent(entry[low])} to {percent(entry[high])}"


def _heading(facts: Mapping[str, Any]) -> str:
    encoder = facts["encoder"]
    random = encoder["spec"]["weights"] is None
    warning = "\n\n**The encoder has random weights: the verdicts mean nothing.**" if random else ""
    return (
        f"# Detector of AI-generated images: {facts['feature_set']} of {encoder['encoder']}\n\n"
        f"A linear detector on the frozen image encoder {encoder['encoder']}"
        f" (model `{encoder['spec']['model']}`), made by clipsieve {facts['clipsieve_version']} from the"
        f" run `{facts['run']}`, seed {facts['seed']}. It calls an image *generated*, *real* or"
        f" *unsure*.{warning}"
    )


def _use() -> str:
    return (
        "## Intended use\n\n"
        "Research, and triage of many images by people who look at what it reports. It is not evidence"
        " of how a single image came about: false accusations harm people, so no decision about a person"
        " may rest on its verdict alone."
    )


def _training(facts: Mapping[str, Any]) -> str:
    training = facts["training"]
    formats = ", ".join(
        f"{name} ({counts['generated']} generated, {counts['real']} real)"
        for name, counts in training["formats"].items()
    )
    train = ", ".join(facts["members"] or facts["train"])
    one = len(facts["train"]) == 1
    how = "one probe" if one else f"the mean logit of {len(facts['train'])} probes, one a generator"
    lines = [
        f"- Detector: {how}, on the feature set `{facts['feature_set']}` ({facts['columns']}).",
        f"- Trained on the generators: {train}.",
        f"- Real images from: {', '.join(facts['sources'])}.",
        f"- Images: {training['n_generated']} generated and {training['n_real']} real.",
        f"- Files: {formats}; {_span(training['width'])} pixels wide,"
        f" {_span(training['height'])} high.",
    ]
    if facts["align"]:
        lines.append("- Every image, in training and use, is first brought to one size and format.")
    choice = facts.get("choice")
    if choice:
        candidates = ", ".join(
            f"`{name}` {percent(value)}" for name, value in choice["candidates"].items()
        )
        lines.append(
            "- The feature set was chosen among these by the mean AUC on the"
            f" {len(choice['generators'])} left-out generators that all are judged on: {candidates}."
            " Chosen anew without each generator and judged on it, the mean AUC is"
            f" {percent(choice['nested_auc'])}; the choice flatters the numbers below by the"
            " difference."
        )
    return "## Training\n\n" + "\n".join(lines)


def _performance(facts: Mapping[str, Any]) -> str:
    expected = facts["expected"]
    confidence = f"{100 * expected['confidence']:g} %"
    about = (
        "Every generator is judged by probes that were not trained on it: those trained on it are left"
        " out in turn."
        if expected["held_out"]
        else "**No generator could be left out, so the numbers are of the generators trained on.**"
    )
    lines = [
        "## Performance",
        "",
        f"{about} Test images alone, {expected['n']} in {expected['groups']} groups; the mean over"
        f" generators with {confidence} intervals over photographs, and over generators (what another"
        " choice of generators would have given; none with fewer than four).",
        "",
        "| metric | mean | over photographs | over generators |",
        "|---|---|---|---|",
    ]
    for metric, title in _TITLES.items():
        entry = expected[metric]
        lines.append(
            f"| {title} | {percent(entry['value'])} | {_between(entry, 'low', 'high')} |"
            f" {_between(entry, 'generators_low', 'generators_high')} |"
        )
    lines += ["", "| generator | accuracy at the threshold | interval | AUC |", "|---|---|---|---|"]
    for name, entry in expected["per_generator"].items():
        at = entry["accuracy_at_val_threshold"]
        lines.append(
            f"| {name} | {percent(at['value'])} | {_between(at, 'low', 'high')} |"
            f" {percent(entry['auc']['value'])} |"
        )
    lines += ["", f"The worst generator is {expected['worst_generator']}."]
    return "\n".join(lines)


def _verdicts(model: Model) -> str:
    band = model.facts["band"]
    real = band["real"]
    calibration = model.facts["calibration"]
    lines = [
        "## Verdicts",
        "",
        f"An image is called generated or real where at most {percent(band['rate'])} of the other label"
        " is called so; in between it is unsure. On real images whose groups had no part in the limits,"
        f" {percent(real['called_generated'])} are called generated and {percent(real['unsure'])} are"
        " unsure. The probability takes both labels for equally common; its expected calibration error"
        f" on left-out generators is {percent(calibration['ece_after_cross_fitted'])}"
        f" ({percent(calibration['ece_before'])} before calibration).",
        "",
        "| most false alarms | found on new groups | generated images caught (mean of generators) |",
        "|---|---|---|",
    ]
    for rate, entry in model.facts["points"]["rates"].items():
        if entry is None:
            lines.append(f"| {percent(float(rate))} | too few real images | - |")
        else:
            lines.append(
                f"| {percent(float(rate))} | {percent(entry['false_alarms_cross_fitted'])} |"
                f" {percent(entry['caught'])} |"
            )
    return "\n".join(lines)


def _shortcuts(facts: Mapping[str, Any]) -> str:
    auc = facts["file_rule"]["auc"]
    lines = ["## Shortcuts", ""]
    if auc is None:
        lines.append("There were no test files to measure what file facts alone tell.")
    else:
        said = "separate the labels" if auc >= 0.6 else "do not separate the labels"
        lines.append(
            f"File facts alone (format, size, compression) {said}: their AUC on test images is"
            f" {percent(auc)}."
            + (" The detector may follow them." if auc >= 0.6 and not facts["align"] else "")
        )
    for name, counts in facts["training"]["formats"].items():
        if 0 in counts.values():
            label = "generated" if counts["real"] == 0 else "real"
            lines.append(f"- Every training image in the format {name} was {label}.")
    return "\n".join(lines)


def _words(facts: Mapping[str, Any]) -> str:
    words = facts.get("words")
    if not words:
        return ""
    lines = [
        "## What it sees, in words",
        "",
        "Texts nearest to the direction along which P(generated) rises, compared with random directions"
        " of the same covariance. `p` is that of the nearest text of a meaningless direction.",
        "",
        "| text | cosine | p |",
        "|---|---|---|",
    ]
    lines += [f"| {word['text']} | {word['cosine']:.3f} | {word['p']:.3f} |" for word in words]
    return "\n".join(lines)


def _limits(facts: Mapping[str, Any]) -> str:
    return (
        "## Limits\n\n"
        f"It was measured on {len(facts['expected']['per_generator'])} generators and on photographs"
        f" from {len(facts['sources'])} source(s). New generators, edited or recompressed images,"
        " screenshots, drawings and other cameras may be judged worse than the tables say, and"
        " error rates may differ between subjects and groups of people, which was not measured. It"
        " can be evaded on purpose."
    )


def _files(facts: Mapping[str, Any]) -> str:
    sha = facts["encoder"]["weights_sha256"]
    return (
        "## Files\n\n"
        "`detector.safetensors` has the arrays, `detector.json` everything else, and the sha256 of every"
        " file of the detector; a changed file is refused. The encoder's weights are not part of it:"
        f" their sha256 is `{sha}`. Labels: 0 = generated, 1 = real; a large logit says real.\n\n"
        "    clipsieve detect FOLDER photo.jpg"
    )


def _span(ends: list[int]) -> str:
    low, high = ends
    return f"{low}" if low == high else f"{low} to {high}"
