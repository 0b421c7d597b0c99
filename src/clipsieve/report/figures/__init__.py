"""Figures of the paper and ours."""
