# make demo: install and run the campus. make test, make check: what a change must pass. Everything lives in .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile --constraint constraints.txt
BUILD := hatchling editables
PINS := pyproject.toml constraints.txt
DEMO := runs/demo
WORKERS ?= 2

.PHONY: help setup demo test check bench clean

help:
	@echo 'make setup   install twinloop into $(VENV)'
	@echo 'make demo    run the campus scenario and say where its report is'
	@echo 'make test    all tests'
	@echo 'make check   format, lint, types, import contract, architecture'
	@echo 'make bench   the benchmarks against their peers'
	@echo 'make clean   remove what these commands made, runs excepted'

# Where Debian's python lacks ensurepip, the pip beside it installs into the new environment.
$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'twinloop needs Python 3.11 or newer; none found' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'twinloop needs Python 3.11 or newer; set PYTHON=/path/to/python3.11' >&2; exit 1; }
	@'$(PYTHON)' -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); '$(PYTHON)' -m venv --without-pip $(VENV); \
	  '$(PYTHON)' -m pip --disable-pip-version-check --python $(BIN)/python install --quiet pip; }

# A stamp says which pins are installed; the build tools are pinned too, so nothing is built in isolation from the pins.
$(VENV)/.setup: $(PINS) | $(BIN)/python
	$(PIP) $(BUILD)
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.setup
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.setup
	$(PIP) --no-build-isolation --editable '.[bench]'
	@touch $@

setup: $(VENV)/.setup

demo: setup
	@rm -rf $(DEMO)
	$(BIN)/twinloop run campus --out $(DEMO)
	@echo "report: $(CURDIR)/$(DEMO)/report.html"

test: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --durations 10

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/architecture

bench: $(VENV)/.bench
	@mkdir -p build/bench
	for name in simulator allocation twins emulation loop bdqn experience orchestration window; do \
	  $(BIN)/python benchmarks/$$name.py --json build/bench/$$name.json; \
	done

clean:
	rm -rf $(VENV) build dist .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
