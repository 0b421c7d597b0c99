"""Which columns and heads a probe should keep: greedy elimination, head ranking, controls."""

from clipsieve.selection.greedy import GreedyResult, greedy_elimination

__all__ = ["GreedyResult", "greedy_elimination"]
