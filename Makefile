# Everything starts here. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOST := $(VENV)/.roost
DEV := $(VENV)/.dev
DEPTH ?= 2
USERS ?= 50000
HOLD_S ?= 300
ARGS ?=
PACKAGES := bench backend discovery gateway roost tests wire

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests which-page crawl up check quick test acceptance cases faults soak mutations load autobahn compose-smoke format clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(DEV) ## virtual environment with the pinned dependencies, those of development too

$(ROOST): pyproject.toml constraints.txt gateway/io/_batch.c gateway/websocket/_head.c
	@bash tools/setup-python "$(PYTHON)" "$(VENV)" .
	@touch $@

$(DEV): $(ROOST)
	@bash tools/setup-python "$(PYTHON)" "$(VENV)" ".[bench,dev]"
	@touch $@

setup-tests: $(DEV)
	@bash tools/setup-tests "$(BIN)/python"

which-page:
	@test -n "$$PAGE" || { echo 'say which page: make crawl URL=https://example.org DEPTH=2' >&2; exit 2; }

crawl: export PAGE = $(value URL)
crawl: which-page $(ROOST) ## make crawl URL=https://example.org DEPTH=2 ARGS="--format json"
	@$(BIN)/roost crawl "$$PAGE" --depth $(DEPTH) $(ARGS)

up: $(ROOST) ## the whole system in one process
	@$(BIN)/roost up $(ARGS)

check: $(DEV) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports

quick test acceptance: export PYTHONDONTWRITEBYTECODE := # else each process that a test starts compiles all of it anew

quick: $(DEV) ## tests that need no root, no engines, no unpacked sites and little time
	$(BIN)/pytest -q -n 3 --quick $(ARGS)

test: setup-tests ## all tests; installs what they need
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

acceptance: setup-tests ## long runs with a verdict each: rush rolling upgrade leave hostile takeover users; ARGS="rush leave" for some
	@bash tools/acceptance "$(BIN)/python" $(ARGS)

cases: $(DEV) ## make cases DIR=folder: run each script below it, and print a table
	@$(BIN)/python tools/cases "$(DIR)" $(ARGS)

load: setup-tests ## make load USERS=50000 HOLD_S=300: so many locust users through the whole system, and a verdict
	@$(BIN)/python -m bench users --users $(USERS) --hold-s $(HOLD_S) $(ARGS)

faults: setup-tests ## every part and engine killed at every step of a job; ARGS="--only 'complete.*'" for some
	@$(BIN)/python -m tests.faults $(ARGS)

mutations: setup-tests ## rules of the job protocol broken on purpose, each to be noticed by the tests; ARGS="P14" for some
	@$(BIN)/python -m tests.mutations $(ARGS)

soak: setup-tests ## 20 minutes of random kills at 20 jobs in flight; ARGS="--minutes 3" for less
	@$(BIN)/python -m tests.faults soak $(ARGS)

autobahn: $(DEV) ## WebSocket conformance, 517 cases; GROUPS="1 2 …" for some of them
	@bash tools/autobahn "$(GROUPS)"

compose-smoke: $(DEV) ## docker-compose.yml for real: up, 20 clients, each service killed once, down
	@$(BIN)/python -m tests.compose $(ARGS)

format: $(DEV) ## let ruff lay the code out
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build gateway/*/*.so
