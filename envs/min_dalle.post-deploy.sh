#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the workflow's root: the package itself, its dependencies are there.
set -euo pipefail
python -m pip install --no-deps --no-build-isolation --editable .
