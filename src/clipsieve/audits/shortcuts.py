"""What could be told without looking at what a picture shows: from its file, and from its spectrum.

A classifier that sees file facts (format, size, compression, mode) or slopes of the power spectrum
alone is trained and tested on the same images as a detector. Where it does well, so might the
detector for the same reason. File facts have nothing to do with how an image came about; a spectrum
has the trace of every resize, a generator's own up-sampling among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.evaluation.bootstrap import degrees_of_freedom, resample_weights, strata_of
from clipsieve.evaluation.intervals import metric_intervals
from clipsieve.evaluation.metrics import METRICS, cell_metrics
from clipsieve.images.spectrum import COLUMNS as SPECTRUM
from clipsieve.io.roles import EVALUATION, FITTING, require_splits

if TYPE_CHECKING:
    import pandas as pd

Facts = dict[str, NDArray[np.floating]]

FACTS = ("format", "width", "height", "bytes_per_pixel", "jpeg_quality", "mode")
#: What a classifier sees: its name in the table -> the facts.
SEEN: dict[str, tuple[str, ...]] = {"file": FACTS, "spectrum": SPECTRUM, "both": FACTS + SPECTRUM}
NEEDED = (
    *("image_id", "image_set", "source", "generator", "label", "group", "bytes", "format"),
    *("width", "height", "mode", "jpeg_quality", *SPECTRUM),
)
#: Facts separate the classes where the AUC reaches this and its interval lies above chance, 0.5.
#: The AUC does not depend on how many images each class has.
SEPARATING_AUC = 0.6
#: Resamples that a cell between two generators has at most: there are many, and their intervals need
#: only the spread of the resamples (known to 3 % with 500), not an extreme quantile.
BETWEEN = 500


def file_facts(
    images: pd.DataFrame, values: Mapping[str, Sequence[str]] | None = None
) -> tuple[Facts, dict[str, list[str]]]:
    """Turn the file facts and spectra of n images into numbers.

    Parameters
    ----------
    images
        Rows of an image table.
    values
        Which values of ``format`` and ``mode`` have a column; those of `images` by default.

    Returns
    -------
    facts
        Fact -> float64 [n, k]: one column, or one column a value for format and mode. An image
        without an estimated JPEG quality has -1 there, one too small for a spectrum has 0 slopes.
    values
        Those used, for other images that are judged by the same classifier.
    """
    area = images["width"].astype(float) * images["height"].astype(float)
    found = {
        "width": images["width"].astype(float),
        "height": images["height"].astype(float),
        "bytes_per_pixel": images["bytes"].astype(float) / area,
        "jpeg_quality": images["jpeg_quality"].astype("Float64").fillna(-1.0).astype(float),
        **{name: images[name].astype(float).fillna(0.0) for name in SPECTRUM},
    }
    result: Facts = {
        name: column.to_numpy(dtype=np.float64)[:, None] for name, column in found.items()
    }
    used: dict[str, list[str]] = {}
    for name in ("format", "mode"):
        text = images[name].fillna("").astype(str).to_numpy(dtype=object)
        used[name] = list(values[name]) if values is not None else sorted(set(text))
        same = text[:, None] == np.array(used[name], dtype=object)[None, :]
        result[name] = same.astype(np.float64)
    return {name: result[name] for name in FACTS + SPECTRUM}, used


def audit(
    images: pd.DataFrame,
    split: str,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Train on the facts of each generator and its source, and test on every other's.

    Parameters
    ----------
    images
        Rows of the manifest, or of tables of the original files with the manifest's splits.
    split
        Name of the column with the split.
    resamples, confidence
        Of the intervals, by group; cells between two generators have at most `BETWEEN` resamples.
    seed
        Of the forests and the resamples.

    Returns
    -------
    list of dict
        A row for each kind of facts seen (`facts`, a key of `SEEN`), training generator (`train`) and
        test generator (`test`), the own one first. ``reals`` is the source of the real test images: the
        test generator's, and, where that is another, the training generator's too (a swap of reals,
        with which a difference between the sources cannot help). Then ``accuracy``,
        ``balanced_accuracy`` (at the threshold that takes the classes for equally common) and
        ``auc``, with the intervals ``low`` and ``high`` (of the accuracy), ``balanced_low``,
        ``balanced_high``, ``auc_low``, ``auc_high``; ``n``; ``separates``. Of a generator on itself
        also ``strongest_fact`` (the one that alone has the largest AUC on test; ``none`` when none is
        above 0.5) and ``strongest_auc``, else None.

    Raises
    ------
    UserError
        When a class is missing in training or test.
    """
    with_split = images[images[split].notna()]
    generators = [str(g) for g in dict.fromkeys(with_split["generator"].dropna())]
    source_of = {
        g: str(with_split.loc[with_split["generator"] == g, "source"].iloc[0]) for g in generators
    }
    drawn: dict[tuple[str, str], _TestImages] = {}

    def test_images(generator: str, reals: str) -> _TestImages:
        key = (generator, reals)
        if key not in drawn:
            rows = _rows(with_split, generator, reals)
            test = rows[rows[split].isin(list(EVALUATION))]
            require_splits(test[split].to_numpy(dtype=object), EVALUATION, f"shortcuts {generator}")
            drawn[key] = _TestImages(test, resamples, seed)
        return drawn[key]

    found: list[dict[str, Any]] = []
    for train in generators:
        rows = _rows(with_split, train, source_of[train])
        in_test = rows[split].isin(list(EVALUATION)).to_numpy()
        _check_classes(rows, in_test, split, train)
        facts, values = file_facts(rows)
        label = rows["label"].to_numpy(dtype=np.int64)
        cells = [(train, source_of[train])]
        for test in generators:
            if test != train:
                both = dict.fromkeys((source_of[test], source_of[train]))
                cells += [(test, reals) for reals in both]
        judged = [(test, reals, test_images(test, reals)) for test, reals in cells]
        encoded = [file_facts(part.table, values)[0] for _, _, part in judged]
        alone = _aucs_alone(facts, label, in_test)
        for seen, names in SEEN.items():
            X = np.hstack([facts[name] for name in names])
            tests = [np.hstack([known[name] for name in names]) for known in encoded]
            shares = _forest_shares(X[~in_test], label[~in_test], tests, seed)
            common = float(label[~in_test].mean())
            strongest = max(names, key=lambda name: alone[name])
            for (test, reals, part), share in zip(judged, shares, strict=True):
                itself = test == train
                row = part.score(share, common, confidence, most=resamples if itself else BETWEEN)
                named = strongest if alone[strongest] > 0.5 else "none"
                found.append(
                    {
                        **{"generator": test, "facts": seen, "train": train, "test": test},
                        **{"reals": reals, **row},
                        "strongest_fact": named if itself else None,
                        "strongest_auc": alone[strongest] if itself else np.nan,
                        "separates": bool(row["auc"] >= SEPARATING_AUC and row["auc_low"] > 0.5),
                    }
                )
    order = {name: k for k, name in enumerate(SEEN)}
    return sorted(found, key=lambda row: (row["train"] != row["test"], order[row["facts"]]))


def audit_generator(
    images: pd.DataFrame,
    split: str,
    generator: str,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the row of `audit` of one generator on itself, from file facts only."""
    mine = images["generator"].astype("string") == generator
    source = images.loc[mine, "source"].iloc[0]
    both = images[(mine | (images["image_set"] == source)).fillna(False)]
    return audit(both, split, resamples=resamples, confidence=confidence, seed=seed)[0]


def _rows(images: pd.DataFrame, generator: str, reals: str) -> pd.DataFrame:
    """Rows of a generator and of a source of real images, in the order of the table."""
    mine = images["generator"].astype("string") == generator
    return images[(mine | (images["image_set"] == reals)).fillna(False)]


def _check_classes(
    rows: pd.DataFrame, in_test: NDArray[np.bool_], split: str, generator: str
) -> None:
    splits = rows[split].to_numpy(dtype=object)
    require_splits(splits[~in_test], FITTING, f"shortcuts of {generator}")
    for name, part in (("train or val", rows[~in_test]), ("test", rows[in_test])):
        if part["label"].nunique() < 2:
            raise UserError(f"shortcuts of {generator}: only one class among its {name} images")


def _forest_shares(
    X: NDArray[np.floating],
    y: NDArray[np.int64],
    tests: Sequence[NDArray[np.floating]],
    seed: int,
) -> list[NDArray[np.float64]]:
    """Share of a forest's trees, weighed by their leaves, that call each test image real."""
    from sklearn.ensemble import RandomForestClassifier

    # few facts and many images: large leaves, or the trees learn single files by heart
    leaf = max(3, len(y) // 50)
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=leaf, random_state=seed)
    share = forest.fit(X, y).predict_proba(np.vstack(tests))[:, 1]
    ends = np.cumsum([len(part) for part in tests])[:-1]
    return [np.asarray(part, dtype=np.float64) for part in np.split(share, ends)]


def _aucs_alone(
    facts: Facts, label: NDArray[np.int64], in_test: NDArray[np.bool_]
) -> dict[str, float]:
    """AUC on test of a small tree on each single fact."""
    from sklearn.tree import DecisionTreeClassifier

    found = {}
    for name, columns in facts.items():
        tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=3, random_state=0)
        share = tree.fit(columns[~in_test], label[~in_test]).predict_proba(columns[in_test])[:, 1]
        found[name] = float(cell_metrics(share - 0.5, label[in_test])["auc"][0])
    return found


class _TestImages:
    """Test images of one generator and one source, with the resamples of their groups."""

    def __init__(self, table: pd.DataFrame, resamples: int, seed: int) -> None:
        self.table = table
        self.label = table["label"].to_numpy(dtype=np.int64)
        # equal names in two sources are two groups
        named = table["source"].astype(str) + "\t" + table["group"].astype(str)
        _, group = np.unique(named.to_numpy(dtype=str), return_inverse=True)
        _, source = np.unique(table["source"].to_numpy(dtype=str), return_inverse=True)
        _, image_set = np.unique(table["image_set"].to_numpy(dtype=str), return_inverse=True)
        strata = strata_of(group, source, image_set)
        self.weights = resample_weights(strata, resamples, seed)[group]
        self.freedom = degrees_of_freedom(strata, np.unique(group))
        sides = {
            name: len(set(group[self.label == k])) for name, k in (("real", 1), ("generated", 0))
        }
        self.groups = {
            **sides,
            "both": len(strata.of_group),
            "real_of_a_source": sides["real"],
        }

    def score(
        self, share: NDArray[np.float64], common: float, confidence: float, *, most: int
    ) -> dict[str, float | int]:
        """Accuracy, balanced accuracy and AUC with intervals by group.

        Parameters
        ----------
        share
            The classifier's P(real) of each image.
        common
            Share of real images in training: its P(real) for an image that it knows nothing of.
        confidence
            Coverage of the intervals.
        most
            How many resamples are used.
        """
        p = np.clip(share, 1e-6, 1 - 1e-6)
        usual = float(np.log(common / (1 - common)))
        # at 0 the classes are taken for equally common; the classifier's own threshold is -usual
        logits = np.log(p / (1 - p)) - usual
        plain = cell_metrics(logits, self.label, threshold=-usual)
        drawn = cell_metrics(logits, self.label, threshold=-usual, weights=self.weights[:, :most])
        values = np.array([plain[name][0] for name in METRICS])
        low, high = metric_intervals(
            values,
            np.stack([drawn[name] for name in METRICS]),
            self.groups,
            confidence=confidence,
            freedom=self.freedom,
        )
        shown = ("accuracy_at_val_threshold", "balanced_accuracy", "auc")
        own, balanced, auc = (METRICS.index(name) for name in shown)
        return {
            **{"accuracy": values[own], "auc": values[auc], "low": low[own], "high": high[own]},
            **{"auc_low": low[auc], "auc_high": high[auc], "balanced_accuracy": values[balanced]},
            **{"balanced_low": low[balanced], "balanced_high": high[balanced]},
            "n": len(self.label),
        }
