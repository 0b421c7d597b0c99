"""Friedman's test and Nemenyi's distance, against the numbers of Demsar (2006) and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clipsieve.evaluation.ranking import rank_methods

# AUC of C4.5, with -m, with -cf and with both, on 14 data sets (Demsar 2006, Table 6).
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # ranked 2 and 3 in print, which shows three digits
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_worked_example_of_demsar() -> None:
    found = rank_methods(DEMSAR)
    np.testing.assert_allclose(found.average, [3.143, 2.0, 2.893, 1.964], atol=5e-4)
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=2e-3)
    wider = rank_methods(DEMSAR, alpha=0.1)
    assert wider.critical_difference == pytest.approx(1.12, abs=5e-3)
    theirs = stats.friedmanchisquare(*DEMSAR.T)
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue)
    # without the correction for ties it is the published 9.28
    plain = 12 * 14 / 20 * (np.square(found.average).sum() - 4 * 25 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)


def test_less_is_better_turns_the_ranks_and_rounding_is_a_tie() -> None:
    values = np.array([[0.1, 0.2, 0.3], [0.1, 0.2 + 1e-15, 0.2]])
    assert rank_methods(values, less=True).average.tolist() == [1, 2.25, 2.75]
    assert rank_methods(values).average.tolist() == [3, 1.75, 1.25]
    tied = rank_methods(np.ones((3, 4)))
    assert np.isnan(tied.p)
    assert tied.average.tolist() == [2.5] * 4
