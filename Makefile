# Everything the project needs is installed by these targets, into .venv: Python 3.11 or newer and a package index will do.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

JOBS ?= 2

export OMP_NUM_THREADS ?= 1

# Where bytecode must not lie beside the sources it lies in the environment: without any, every process compiles all of
# PyTorch that it imports, for seconds.
ifdef PYTHONDONTWRITEBYTECODE
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/bytecode
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-docker lint format docs clean

help:  ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fedkd needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "installing fedkd into $(VENV) (PyTorch is large: some minutes)"
	@$(PIP) --no-compile --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing fedkd and its development tools into $(VENV) (PyTorch is large: some minutes)"
	@$(PIP) --no-compile --editable '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## Run federated distillation on real digits; ends with a table and a report
	@$(BIN)/fedkd simulate simulations/digits.toml

test: $(VENV)/.dev  ## Run all tests, with coverage
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

test-docker: $(VENV)/.dev  ## Run the tests of a federation in containers (as root, on Debian)
	@$(BIN)/python -m pytest -m system tests/system -rs --durations=10 $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## Check style, types and the layers of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev  ## Build the documentation into build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "documentation: build/docs/index.html"

clean:  ## Remove caches and the environment; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage *.egg-info build
