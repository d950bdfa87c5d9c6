# Everything starts here. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEPTH ?= 2
ARGS ?=
PACKAGES := bench backend discovery gateway roost tests wire

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests crawl up check test autobahn format clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## virtual environment with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@bash tools/setup-python "$(PYTHON)" "$(VENV)"
	@touch $@

setup-tests: $(STAMP)
	@bash tools/setup-tests

crawl: $(STAMP) ## make crawl URL=https://example.org DEPTH=2 ARGS="--format json"
	@test -n "$(URL)" || { echo 'say which page: make crawl URL=https://example.org DEPTH=2' >&2; exit 2; }
	@$(BIN)/roost crawl "$(URL)" --depth $(DEPTH) $(ARGS)

up: $(STAMP) ## the whole system in one process
	@$(BIN)/roost up $(ARGS)

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup-tests ## all tests; installs what they need
	$(BIN)/pytest $(ARGS)

autobahn: $(STAMP) ## WebSocket conformance, 517 cases; GROUPS="1 2 …" for some of them
	@bash tools/autobahn "$(GROUPS)"

format: $(STAMP) ## let ruff lay the code out
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build
