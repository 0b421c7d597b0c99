"""The standard error of a score over groups of scoring rows.

Each row has an influence: how far the score moves, to first order, with the row's weight. Influences
are summed within a group, since images of one group (a photograph and what was made of it) are not
independent, and the variance is `G / (G - 1)` times the sum of the squares of the G sums. Of a mean
this is the textbook's standard error; of AUC with one group per row, that of DeLong et al. (1988), the
two labels' variances taken together. docs/method/greedy.md has the influences.
"""

from __future__ import annotations

import numpy as np

from clipsieve.selection.greedy.score import Flags, Floats, Ints
from clipsieve.selection.greedy.scoring import Scoring


def standard_error(scoring: Scoring, logits: Floats, losses: Floats, group: Ints) -> float:
    """Return the standard error of the score.

    Parameters
    ----------
    scoring
        The score and its sets of rows.
    logits, losses
        Of the scoring rows, float [m].
    group
        Group of each row as a number from 0, int [m].

    Returns
    -------
    float
        In the score's units (a share, or nats); 0.0 with one group, which says nothing of spread.
    """
    parts = [
        influences(scoring.score, logits[rows], losses[rows], scoring.real[rows])
        for rows in scoring.rows
    ]
    total = np.zeros(len(logits))
    if scoring.pool == "worst":
        scores = [score for score, _ in parts]
        worst = int(np.argmin(scores))
        total[scoring.rows[worst]] = parts[worst][1]
        group = group[scoring.rows[worst]]
        total = total[scoring.rows[worst]]
    else:
        for rows, (_, influence) in zip(scoring.rows, parts, strict=True):
            total[rows] += influence / len(parts)
    sums = np.bincount(group, weights=total)
    groups = len(np.unique(group))
    if groups < 2:
        return 0.0
    return float(np.sqrt(groups / (groups - 1) * (sums @ sums)))


def influences(score: str, logits: Floats, losses: Floats, real: Flags) -> tuple[float, Floats]:
    """Return the score of rows and each row's influence on it, [m]; the influences sum to 0."""
    if score == "log_loss":
        return -float(losses.mean()), (losses.mean() - losses) / len(losses)
    row = placements(logits, real) if score == "auc" else np.where((logits > 0) == real, 1.0, 0.0)
    if score == "accuracy":
        return float(row.mean()), (row - row.mean()) / len(row)
    found = np.empty(len(row))
    # AUC is the mean placement of either label, balanced accuracy the mean of two means
    part = 0.5 if score == "balanced_accuracy" else 1.0
    means = []
    for label in (real, ~real):
        mean = row[label].mean()
        means.append(mean)
        found[label] = part * (row[label] - mean) / label.sum()
    return float(np.mean(means)), found


def placements(logits: Floats, real: Flags) -> Floats:
    """Return the share of the other label's rows that each row is on the right side of."""
    found = np.empty(len(logits))
    for label, sign in ((real, 1.0), (~real, -1.0)):
        own, others = sign * logits[label], np.sort(sign * logits[~label])
        below = np.searchsorted(others, own, side="left")
        upto = np.searchsorted(others, own, side="right")
        found[label] = (below + upto) / (2.0 * len(others))
    return found
