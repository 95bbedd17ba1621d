# Everything runs in .venv; python3 (3.11 or newer) and make are all that has to be there.
PYTHON ?= python3
VENV   ?= .venv
BIND   ?= 127.0.0.1
PORT   ?= 8000
# The command line of the ledger reads LEDGER_* itself; give LEDGER_DATABASE_URL=postgresql://... to run on PostgreSQL.
BIN    := $(VENV)/bin
INPUTS := setup.cfg pyproject.toml
TESTS  ?=
# Processes that run the tests. Files stay together, as servers are shared in them, and in their order: the long ones come first.
JOBS   ?= 2
AXE    := 4.14.1
# The tests' PostgreSQL keeps a lock file: here rather than in /tmp, where another user's would be in the way.
RUNTIME = $(abspath $(VENV))/run

.DEFAULT_GOAL := help
.PHONY: help run test lint screenshots demo clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Set up, create the database, serve on 127.0.0.1:8000 (PORT=, BIND=) with a token to try it
	@exec $(BIN)/order-ledger serve --bind $(BIND):$(PORT) --welcome

test: lint $(VENV)/axe-core/axe.min.js ## Set up, check the style, run every test with coverage (TESTS=tests/unit for a part, JOBS=1 for one process)
	@mkdir -p -m 700 $(RUNTIME) && mkdir -p $(RUNTIME)/python_PostgresServer
	@XDG_RUNTIME_DIR=$(RUNTIME) $(BIN)/python -m pytest $(if $(TESTS),$(TESTS),-n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term-missing:skip-covered)

lint: $(VENV)/.installed-dev ## ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config setup.cfg --no-cache

screenshots: $(VENV)/axe-core/axe.min.js ## Take the pictures of docs/console.md anew
	@LEDGER_TEST_SCREENSHOTS=$(abspath docs/console) $(BIN)/python -m pytest -q tests/e2e/console/test_looks.py

demo: $(VENV)/.installed ## Walk an order from cart to completed over HTTP, on a server of its own
	@$(BIN)/python -m scripts.demo

clean: ## Remove the environment, builds and caches (the ledger in var/ stays)
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'order-ledger needs Python 3.11 or newer; name one with PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'python3 -m venv does not work here; on Debian: apt-get install python3-venv' >&2; exit 1; }

# The stamps make a second `make run` start at once, and a change of the requirements install again.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	@echo 'Installing into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[postgres]'
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(BIN)/python
	@echo 'Installing into $(VENV) for development ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.installed $@

# What the browser tests look for barriers with. Without npm those tests are left out.
$(VENV)/axe-core/axe.min.js: | $(VENV)/.installed-dev
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then cd $(@D) && npm pack --silent axe-core@$(AXE) >/dev/null && tar -xzf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js && touch axe.min.js || echo 'axe-core can not be had; what needs it is left out' >&2; fi
