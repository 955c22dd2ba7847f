# make demo: install and run the campus. make demo-live: the live platform. make test, make check: what a change must pass.
# Everything of Python lives in .venv; the servers that tests start are Debian's packages.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
# Tests and demos start many programs; where Python may not keep bytecode, each start takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile --constraint constraints.txt
BUILD := hatchling editables
PINS := pyproject.toml constraints.txt
DEMO := runs/demo
WORKERS ?= 2

.PHONY: help setup demo demo-live servers test check lint trials bench clean

help:
	@echo 'make setup   install twinloop into $(VENV)'
	@echo 'make demo    run the campus scenario and say where its report is'
	@echo 'make demo-live  a live server, three sites that report to it, and its page'
	@echo 'make test    all tests'
	@echo 'make check   format, lint, types, import contract, architecture (make lint: without the last)'
	@echo 'make trials  faults under load: kills, outages, overload; about half an hour'
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

demo-live: setup
	$(BIN)/twinloop demo live

# Real peers of the tests. Where they cannot be installed, the tests that need them skip and say so.
SERVERS := postgresql mosquitto mosquitto-clients prometheus chromium

servers:
	@missing=''; for name in $(SERVERS); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	  if [ -z "$$missing" ]; then exit 0; fi; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "not installed:$$missing; tests that need them skip (Debian: apt-get install$$missing)" >&2; fi

test: $(VENV)/.dev servers
	$(BIN)/pytest -n $(WORKERS) --durations 10

check: lint
	$(BIN)/pytest -q tests/architecture

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

trials: $(VENV)/.dev servers
	TWINLOOP_TRIALS=full $(BIN)/pytest -q -m trial tests/trials

bench: $(VENV)/.bench
	@mkdir -p build/bench
	for name in simulator allocation twins emulation loop bdqn experience orchestration window foretelling ingest live_scale; do \
	  $(BIN)/python benchmarks/$$name.py --json build/bench/$$name.json; \
	done

clean:
	rm -rf $(VENV) build dist .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
