# make demo   run the whole workflow on real photographs; the last line of output is the report's path
# make test   run every check and test; make help lists the other targets
PYTHON ?= python3
CORES  ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
# SMALL=1 uses fewer photographs and generators, as CI does
CONFIG := $(if $(SMALL),config/demo-small.yaml,config.yaml)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test check unit workflow slurm mutations bench paper-shape lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## install pinned versions into .venv

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## run the demo, from photographs to a report (SMALL=1: the short one)
	@bash workflow/demo.sh $(CORES) $(CONFIG)

check: setup ## check formatting, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

test: check unit ## run everything that CI runs
	# Slurm mostly waits, so its tests run beside the workflow's
	$(MAKE) --jobs 2 workflow slurm

unit: setup ## run the unit tests
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/unit --numprocesses $(CORES) --dist worksteal

workflow: setup ## run the tests of whole runs
	$(BIN)/pytest tests/workflow --numprocesses $(CORES) --dist loadfile

slurm: setup ## run the tests on a real one-node Slurm
	$(BIN)/pytest tests/slurm

mutations: setup ## whether the unit tests notice small mistakes in the source
	$(BIN)/python tests/mutations.py

bench: setup ## measure what docs/performance.md reports
	$(BIN)/python -m bench

paper-shape: setup ## measure a run of the paper's size on synthetic embeddings
	$(BIN)/python -m bench paper_shape

lock: ## rewrite requirements.lock from pyproject.toml
	mkdir -p build
	$(BIN)/python -m pip install --dry-run --ignore-installed --quiet --report build/lock.json \
	    ".[workflow,embed,demo,diffusers,heif,dev]" "setuptools>=77"
	$(BIN)/python envs/lock.py build/lock.json > requirements.lock

clean: ## remove caches, but not results
	rm -rf .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
