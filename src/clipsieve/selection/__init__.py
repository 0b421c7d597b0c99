"""Which columns and heads a probe should keep: greedy elimination, head ranking, controls."""

from clipsieve.probes.features import head_features
from clipsieve.selection.consensus import Consensus, consensus_elimination
from clipsieve.selection.greedy.search import GreedyResult, greedy_elimination
from clipsieve.selection.heads import (
    HeadProbes,
    HeadRanking,
    fit_heads,
    rank_heads,
)

__all__ = [
    "Consensus",
    "GreedyResult",
    "HeadProbes",
    "HeadRanking",
    "consensus_elimination",
    "fit_heads",
    "greedy_elimination",
    "head_features",
    "rank_heads",
]
