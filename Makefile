# make demo   the main job on real pictures, from nothing; its last line is the report's path
# make test   every check and test; make help lists the rest
PYTHON ?= python3
CORES  ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
# SMALL=1 takes fewer photographs and generators: what CI runs
CONFIG := $(if $(SMALL),config/demo-small.yaml,config.yaml)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test check unit workflow slurm mutations bench paper-shape lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## exact versions into .venv

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## photographs to tables and a report (SMALL=1 for the small setting)
	@bash workflow/demo.sh $(CORES) $(CONFIG)

check: setup ## formatting, lint, types, workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

test: check unit ## everything that CI runs
	# Slurm mostly waits, so its tests run beside the workflow's
	$(MAKE) --jobs 2 workflow slurm

unit: setup ## tests of the functions
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/unit --numprocesses $(CORES) --dist worksteal

workflow: setup ## tests of whole runs
	$(BIN)/pytest tests/workflow --numprocesses $(CORES) --dist loadfile

slurm: setup ## tests on a real one-node Slurm
	$(BIN)/pytest tests/slurm

mutations: setup ## whether the unit tests notice small mistakes in the source
	$(BIN)/python tests/mutations.py

bench: setup ## the tables of docs/performance.md, measured here
	$(BIN)/python -m bench

paper-shape: setup ## the paper's CPU side at its shape, from synthetic embeddings
	$(BIN)/python -m bench paper_shape

lock: ## requirements.lock anew from pyproject.toml
	mkdir -p build
	$(BIN)/python -m pip install --dry-run --ignore-installed --quiet --report build/lock.json \
	    ".[workflow,embed,generate,dev]" "setuptools>=77"
	$(BIN)/python envs/lock.py build/lock.json > requirements.lock

clean: ## what runs left behind, but not results
	rm -rf .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
