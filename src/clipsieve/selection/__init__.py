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
from clipsieve.selection.nuisance import nuisance_directions, project_out
from clipsieve.selection.training_sets import choose_training_generators

__all__ = [
    "Consensus",
    "GreedyResult",
    "HeadProbes",
    "HeadRanking",
    "choose_training_generators",
    "consensus_elimination",
    "fit_heads",
    "greedy_elimination",
    "head_features",
    "nuisance_directions",
    "project_out",
    "rank_heads",
]
