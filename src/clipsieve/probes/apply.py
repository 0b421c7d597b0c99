"""Finished probes applied to test images: the logit of each probe on each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.families import TWIN
from clipsieve.io.dataset import Rows
from clipsieve.io.probes import StoredProbe
from clipsieve.io.roles import EVALUATION, require_excluded, require_splits
from clipsieve.io.scores import OPERATING, AllScores, Images, Scores, Twin, joined_choices
from clipsieve.io.training import ONE
from clipsieve.probes.features import features_of


def apply_probes(
    probes: Sequence[StoredProbe], rows: Rows, excluded: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    """Score the test rows of one image set with every probe that may see it.

    Parameters
    ----------
    probes
        Finished probes of one family.
    rows
        Test rows of one image set.
    excluded
        Feature set -> generators that were used for its selection.

    Returns
    -------
    float64 [len(probes), len(rows)]
        Logits, large = real; a row of NaN where the probe's feature set gave up the image set, or
        the probe was trained on it together with other generators, or is there to be tested on
        others alone.

    Raises
    ------
    RoleError
        A row isn't a test row, or a probe was trained on a generator that was used to select its feature set.
    UserError
        A logit is not a finite number.
    """
    require_splits(rows.split, EVALUATION, "transfer", ids=rows.image_id)
    image_set = str(rows.image_set[0])
    real = bool((rows.label == 1).all())
    known: dict[tuple[str, str], np.ndarray] = {}
    logits = np.full((len(probes), len(rows)), np.nan)
    for probe, row in zip(probes, logits, strict=True):
        given_up = excluded[probe.feature_set]
        require_excluded([probe.train, *probe.members], given_up, probe.feature_set)
        if not real and (image_set in given_up or image_set in probe.members):
            continue
        if not real and probe.choice and image_set not in probe.tested:
            continue
        key = (probe.space, str(probe.columns))
        if probe.space == "residual":
            kind = probe.facts["residual_kind"]
            X = features_of(
                rows, probe.space, probe.columns, residual=probe.residual, residual_kind=kind
            )
        else:
            # a column list is shared by every training generator
            if key not in known:
                known[key] = features_of(rows, probe.space, probe.columns)
            X = known[key]
        row[:] = X @ probe.coef + probe.intercept
        if not np.isfinite(row).all():
            raise UserError(
                f"transfer: the logit of {rows.image_id[~np.isfinite(row)][0]} by the probe of"
                f" {probe.feature_set} trained on {probe.train} is not a finite number"
            )
    return logits


def score_images(
    probes: Sequence[StoredProbe],
    image_sets: Iterable[Rows],
    excluded: Mapping[str, Sequence[str]],
    *,
    sources: Mapping[str, str],
    families: Mapping[str, str],
    encoder: str,
    seed: int,
    run: str = "",
) -> AllScores:
    """Score every image set with the probes of one family.

    Parameters
    ----------
    probes
        Finished probes of one family, in any order.
    image_sets
        Test rows of each image set, real ones too; taken one at a time.
    excluded
        Feature set -> generators that were used for its selection.
    sources, families
        Source and family of each generator.
    encoder, seed, run
        Whose scores they are.

    Raises
    ------
    RoleError
        As `apply_probes`.
    UserError
        As `apply_probes`; or the source or family of a generator is not given, a probe is there
        twice, or there is none.
    """
    apart = {probe.feature_set for probe in probes if probe.choice}
    # a choice that has seen every generator is tested on none
    tested = [probe for probe in probes if probe.choice or probe.feature_set not in apart]
    ordered = sorted(tested, key=lambda p: (p.feature_set, p.draw, p.train, p.choice))
    if not ordered:
        raise UserError("transfer: the probe files hold no probe")
    for a, b in pairwise(ordered):
        if (a.feature_set, a.draw, a.train, a.choice) == (b.feature_set, b.draw, b.train, b.choice):
            raise UserError(
                f"transfer: two probes of {a.feature_set}, draw {a.draw}, trained on {a.train}"
            )
    logits, parts = [], []
    for rows in image_sets:
        logits.append(apply_probes(ordered, rows, excluded))
        parts.append((rows.image_id, rows.image_set, rows.group, rows.split, rows.label))
    ids, sets, group, split, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    generators = np.unique(sets[label == 0]).tolist()
    for option, known in (("--sources", sources), ("--families", families)):
        missing = [name for name in generators if not known.get(name)]
        if missing:
            raise UserError(f"{option}: does not name the generator {missing[0]}")
    source = np.array([sources[s] if y == 0 else s for s, y in zip(sets, label, strict=True)])
    family = {name: families[name] for name in generators}
    images = Images(ids, sets, source, group, label, family, split)
    matrix = np.concatenate(logits, axis=1)
    found = AllScores(encoder, seed, images, [], run=run)
    grids: dict[str, set[str]] = {}
    places = sorted(range(len(ordered)), key=lambda k: _matrix_of(ordered[k]))
    for _, each in groupby(places, lambda k: _matrix_of(ordered[k])):
        own = list(each)
        mine = [ordered[k] for k in own]
        scores = _scores_of(mine, matrix[own], images)
        made_on = {str(probe.params["grid"]) for probe in mine if "grid" in probe.params}
        if scores.training != ONE:
            found.several.append(scores)
        elif scores.draw == TWIN:
            found.twins[scores.feature_set] = Twin(scores, ", ".join(sorted(made_on)))
        else:
            found.scores.append(scores)
            grids.setdefault(scores.feature_set, set()).update(made_on)
    found.grid = {name: ", ".join(sorted(kinds)) for name, kinds in grids.items()}
    return found


def _scores_of(probes: list[StoredProbe], logits: NDArray[np.float64], images: Images) -> Scores:
    """Return the scores of the probes of one matrix, which may be of several choices."""
    parts = []
    for choice in sorted({probe.choice for probe in probes}):
        rows = [k for k, probe in enumerate(probes) if probe.choice == choice]
        own = [probes[k] for k in rows]
        one = own[0]
        threshold = np.array([probe.threshold for probe in own], dtype=np.float64)
        train = [probe.train for probe in own]
        parts.append(
            Scores(
                one.feature_set, one.draw, train, logits[rows], threshold, one.training,
                _operating(own), (), choice, tuple(one.tested),
            )
        )  # fmt: skip
    return joined_choices(parts, images) if probes[0].choice else parts[0]


def _operating(probes: Sequence[StoredProbe]) -> dict[str, NDArray[np.float64]]:
    """Return the thresholds for each rate of false alarms, NaN where a probe has none."""
    return {
        name: np.array(
            [
                np.nan if (limit := probe.operating_points.get(name)) is None else limit
                for probe in probes
            ],
            dtype=np.float64,
        )
        for name in OPERATING
    }


def _matrix_of(probe: StoredProbe) -> tuple[str, int, str]:
    """Return the matrix that a probe is a row of: feature set, draw, kind of training."""
    return probe.feature_set, probe.draw, probe.training
