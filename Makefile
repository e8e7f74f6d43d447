# Two commands do all on a fresh machine: `make quickstart` and `make test`.
# Everything is installed into .venv, with every version pinned by constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt
JOBS ?= 2
SEED ?= 0
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help quickstart test slow shapes check fix bench peer docs pico clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.base ## the main job on the bundled model and real text; ends by naming the page
	$(BIN)/susceptometer quickstart

test: $(VENV)/.dev ## the default test suite, at most 10 minutes on 2 cores
	$(PYTEST) -m "not slow and not gpu" -n $(JOBS)

slow: $(VENV)/.dev ## the long statistical tests
	$(PYTEST) -m slow -n $(JOBS)

shapes: $(VENV)/.dev ## the default suite with every signature checked at run time
	SUSCEPTOMETER_SHAPES=check $(PYTEST) -m "not slow and not gpu and not browser" -n $(JOBS)

check: $(VENV)/.dev ## lint, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(PYTEST) -q tests/architecture

fix: $(VENV)/.dev ## apply the formatter, safe lint fixes and generated pages
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/python docs/glossary.py

bench: $(VENV)/.dev ## the benchmarks, one table each
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

peer: $(VENV)/.dev ## beside devinterp 2.0.1, installed into build/peer
	$(BIN)/python benchmarks/peer_devinterp.py --peer-venv build/peer

docs: $(VENV)/.dev ## API pages from docstrings, in build/docs
	$(BIN)/python docs/glossary.py
	$(BIN)/pdoc --docformat google --math --output-directory build/docs susceptometer

pico: $(VENV)/.dev ## train the bundled model again: make pico SEED=1
	$(BIN)/python -m susceptometer.domains.pico --seed $(SEED)

clean: ## remove the environment and build products
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "susceptometer needs Python 3.11 or newer; give one as: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@
