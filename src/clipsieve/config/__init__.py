"""The configuration: read as Snakemake reads it, checked against one schema, and enumerated.

Imports nothing heavy: the Snakefile imports this package again in every cluster job.
"""

from clipsieve.config.merging import chosen, read_configs, read_run, read_yaml, write_resolved
from clipsieve.config.reference import reference
from clipsieve.config.schema import complete, default, read_schema, resolve
from clipsieve.config.study import WEIGHT_FILES, Run

__all__ = [
    "WEIGHT_FILES",
    "Run",
    "chosen",
    "complete",
    "default",
    "read_configs",
    "read_run",
    "read_schema",
    "read_yaml",
    "reference",
    "resolve",
    "write_resolved",
]
