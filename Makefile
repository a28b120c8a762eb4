# `make` lists the targets. Needs Python 3.11 or newer and make; everything else is installed into folders of this
# checkout, in the versions and with the checksums of the lock files.

PYTHON ?= python3
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
# Tests mostly wait, for brokers and for clocks. Slow files come before the many quick ones, and a file stays together.
AT_ONCE ?= 3
# Stamps: a target is made again only when what it was made of has changed.
UV := $(VENV)/.uv-$(UV_VERSION)
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
PEERS := $(BENCH_VENV)/.peers

# Every test and every demo starts several processes; compiling their imports each time would take longer than the rest.
INSTALL := $(BIN)/uv pip install --quiet --require-hashes --compile-bytecode
unexport PYTHONDONTWRITEBYTECODE
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check format bench pictures secrets up lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(DEVELOPMENT) ## install everything that demo and test need into .venv

demo: $(RUNTIME) ## run a simulated market through the whole pipeline; the rows stay in ./data
	$(BIN)/liquidations demo $(ARGS)

test: check ## run all checks and all tests; ARGS="-k name" chooses among them
	$(BIN)/pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEVELOPMENT) ## lint, formatting and strict types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEVELOPMENT) ## bring the code into the house's format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(DEVELOPMENT) $(PEERS) ## measure speed beside other engines (Python 3.11 or 3.12) on a real Kafka
	$(BIN)/python tests/bench/run.py $(ARGS)

pictures: $(DEVELOPMENT) ## take the README's pictures from the report of a simulated market (needs Chromium)
	rm -rf build/pictures
	$(BIN)/liquidations demo --data build/pictures
	$(BIN)/python tests/pictures/take.py build/pictures/report.html

secrets: ## write .env with random passwords for docker compose, once
	@$(PYTHON) infra/compose/write_secrets.py .env

up: ## start Kafka, ClickHouse, Grafana and the pipeline with docker compose, and wait until all are well
	@test -f .env || $(PYTHON) infra/compose/write_secrets.py .env
	docker compose up --detach --wait
	@echo "Grafana: http://127.0.0.1:3000, user admin, LIQUIDATIONS_GRAFANA_ADMIN_PASSWORD in .env"

lock: $(UV) ## write the lock files again, with the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade pyproject.toml --output-file requirements.lock
	printf 'hatchling>=1.27\neditables>=0.5\n' | $(COMPILE) --upgrade pyproject.toml --group dev - \
		--constraints requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --upgrade --group pyproject.toml:bench --output-file requirements-bench.lock

clean: ## remove what was built and cached; .venv, .env and ./data stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find pipeline tests infra -name __pycache__ -prune -exec rm -rf {} +

# Debian's python3 comes without ensurepip, and then `-m venv` leaves a folder that only looks like an environment.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is not Python 3.11 or newer: install it, or use make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "make: $(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(RUNTIME): requirements.lock requirements-dev.lock pyproject.toml | $(UV)
	$(INSTALL) --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --build-constraints requirements-dev.lock -e .
	@touch $@

$(DEVELOPMENT): requirements-dev.lock | $(RUNTIME)
	$(INSTALL) --python $(BIN)/python -r requirements-dev.lock
	@touch $@

$(PEERS): requirements-bench.lock | $(UV)
	@test -x $(BENCH_VENV)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(BENCH_VENV)
	$(INSTALL) --python $(BENCH_VENV)/bin/python -r requirements-bench.lock
	@touch $@
