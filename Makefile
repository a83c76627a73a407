# `make up` starts everything, `make test` proves it. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# The first of these that is Python 3.11 or newer; or say PYTHON=/path/to/python.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
UV := $(BIN)/uv
UV_PIP := VIRTUAL_ENV=$(abspath $(VENV)) $(UV) --no-config pip
COMPILE := $(UV_PIP) compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
INSTALL_SELF := $(UV_PIP) install --quiet --no-deps --no-build-isolation --editable .

# Stamps: what is installed, remade when what it depends on is newer.
BOOTSTRAP := $(VENV)/.finops-bootstrap
RUNTIME := $(VENV)/.finops-runtime
TOOLS := $(VENV)/.finops-tools

.PHONY: help up install install-dev test-tools test check lint types imports format lock clean conformance e2e-open-webui

help: ## List the commands.
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do \
		printf '  make %-16s %s\n' "$$name" "$$text"; done

up: $(RUNTIME) ## Install what is needed and start FinOps on http://localhost:8080.
	@exec $(BIN)/finops up

install: $(RUNTIME) ## Install the gateway into .venv.

install-dev: $(TOOLS) ## Install the gateway and the development tools into .venv.

test: install-dev test-tools check ## Lint, types, import rules and every test, with a real Kafka and a real browser.
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types imports ## Lint, types and import rules: seconds, no network.

lint: $(TOOLS)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(TOOLS)
	@$(BIN)/mypy

imports: $(TOOLS)
	@$(BIN)/lint-imports --no-logo

format: $(TOOLS) ## Format the code and repair what the linter can repair.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

test-tools: ## Install what the tests need beside Python: a browser, nginx, Java and Maven.
	@tests/support/install-test-tools

conformance: $(TOOLS) ## Write which tests prove what of which provider; fails if that changed or lacks something.
	@$(BIN)/python -m tests.support.conformance $(ARGS)

bench-%: $(TOOLS) test-tools ## Run tests/bench/NAME.py: a table, then one line of JSON. Sizes: ARGS="--requests 500".
	@$(BIN)/python -m tests.bench.$(subst -,_,$*) $(ARGS)

e2e-open-webui: $(TOOLS) test-tools ## Install the real Open WebUI beside the gateway and use it in a browser.
	@$(BIN)/python -m tests.e2e.open_webui.run $(ARGS)

# The run-time lock is cut from the development lock, so that one version of each package serves both.
lock: $(BOOTSTRAP) ## Resolve the dependencies again into the hashed locks.
	@$(COMPILE) --upgrade pyproject.toml --group dev --group build --output-file requirements-dev.lock
	@$(COMPILE) pyproject.toml --group build --constraint requirements-dev.lock --output-file requirements.lock
	@$(COMPILE) --upgrade --group bootstrap --output-file requirements-bootstrap.lock

clean: ## Remove caches and the virtual environment. Data in .finops/ stays.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.finops/*' -prune -exec rm -rf {} +

$(BOOTSTRAP): requirements-bootstrap.lock
	@test -n "$(PYTHON)" || { echo "FinOps needs Python 3.11 or newer; none was found." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@touch $@

$(RUNTIME): requirements.lock pyproject.toml $(BOOTSTRAP)
	@echo "Installing FinOps into $(VENV) ..."
	@$(UV_PIP) install --quiet --require-hashes -r requirements.lock
	@$(INSTALL_SELF)
	@touch $@

$(TOOLS): requirements-dev.lock pyproject.toml $(BOOTSTRAP)
	@echo "Installing FinOps and its development tools into $(VENV) ..."
	@$(UV_PIP) sync --quiet --require-hashes requirements-dev.lock requirements-bootstrap.lock
	@$(INSTALL_SELF)
	@touch $(RUNTIME) $@
