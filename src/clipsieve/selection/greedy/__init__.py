"""Greedy elimination of components: the exact list of converged refits, proved step by step."""
