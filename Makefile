# headless-worker. `make demo` and `make test` do all the set-up themselves; nothing is installed outside this folder.
#
#   make demo      the whole story on a local provider, about half a minute
#   make test      every check and every test
#   make check     format, lint, types, layers, generated files
#   make faults    a process stopped at every step, and what became of it: ten minutes, and docs/fault-table.md anew;
#                  ONLY=refresh:0123:kill for one stop, FAULTS="--help" for the rest
#   make fuzz      fuzzers against the parsers of challenges, token answers and callbacks; FUZZ_SECONDS=60 each
#   make bench     ratios against the parts a user would pick instead; ONLY=sinks for one of them
#   make lock      renew the hashed locks (needs uv)
#   make clean     remove .venv and caches

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
BIN := .venv/bin
PYTEST_WORKERS ?= 4
FUZZ_SECONDS ?= 60

.PHONY: help demo test check unit faults fuzz bench lock generate clean

help:
	@sed -n '3,/make clean/p' Makefile | cut -c3-

.venv/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "make: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "creating .venv with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear .venv
	@touch $@

.venv/runtime: .venv/python requirements.lock pyproject.toml
	@echo "installing the runtime from requirements.lock (hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	@echo "installing the test tools from requirements-dev.lock (hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.venv/fuzz: .venv/runtime requirements-fuzz.lock
	@echo "installing the fuzzer from requirements-fuzz.lock (hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@touch $@

demo: .venv/runtime
	@$(BIN)/worker demo

check: .venv/dev
	@echo "ruff format"; $(BIN)/ruff format --check --quiet .
	@echo "ruff check"; $(BIN)/ruff check --quiet .
	@echo "mypy"; $(BIN)/mypy --no-error-summary
	@echo "import-linter"; $(BIN)/lint-imports --no-logo > .venv/layers.log 2>&1 || { cat .venv/layers.log; exit 1; }
	@echo "generated files"; $(BIN)/python tools/generate.py --check

test: check
	@$(BIN)/python -m pytest -q -n $(PYTEST_WORKERS) --dist worksteal

unit: .venv/dev
	@$(BIN)/python -m pytest -q tests/unit

faults: .venv/runtime
	@$(BIN)/python tests/faults $(if $(ONLY),--only $(ONLY),$(or $(FAULTS),--minutes 6 --write --kills 300))

fuzz: .venv/fuzz
	@for target in challenge token_answer callback; do echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  $(BIN)/python tests/fuzz/run_target.py $$target $(FUZZ_SECONDS) > .venv/fuzz.log 2>&1 || { cat .venv/fuzz.log; exit 1; }; \
	  grep -E "^Done|peak_rss" .venv/fuzz.log; done

bench: .venv/dev
	@$(BIN)/python bench/run.py $(if $(ONLY),--only $(ONLY))

generate: .venv/dev
	@$(BIN)/python tools/generate.py

lock:
	@command -v uv >/dev/null || { echo "make: lock needs uv" >&2; exit 1; }
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  pyproject.toml --extra postgresql --group build -o requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  pyproject.toml --extra postgresql --group build --group dev -c requirements.lock -o requirements-dev.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  pyproject.toml --extra postgresql --group build --group fuzz -c requirements.lock -o requirements-fuzz.lock

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
