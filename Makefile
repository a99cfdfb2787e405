# Everything here works on a bare checkout: Python 3.10+ is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
# Not pytest's own folder in the temporary directory: a fourth session at the same time deletes the first one's.
PYTEST := -m pytest -n 2 --dist worksteal --basetemp=.local/tests
PIP := -m pip install --quiet --disable-pip-version-check --prefer-binary
# dbt-core 1.12 needs dbt-core-experimental-parser, whose sdist downloads while it builds; its wheels do not.
WHEELS ?= --only-binary dbt-core-experimental-parser

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix test-v2 test-long benchmark benchmark-db benchmark-schema benchmark-jobs lint clean

help:  ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1: /p' Makefile

demo: .venv/stamp  ## build, version and promote a real dbt project on a real PostgreSQL, and see one promotion refused
	@$(BIN)/python tools/demo.py

test: .venv/stamp .local/venvs/airflow/stamp.json | .local/tests  ## the whole suite on dbt Core 1.11, PostgreSQL and DuckDB; a skipped test fails
	DBT_CICD_NO_SKIP=1 $(BIN)/python $(PYTEST)/core

test-matrix: .local/venvs/dbt-1.10/stamp .local/venvs/dbt-1.12/stamp | .local/tests  ## the tests marked matrix on dbt Core 1.10 and 1.12
	for version in 1.10 1.12; do \
	  PATH="$$PWD/.local/venvs/dbt-$$version/bin:$$PATH" DBT_CICD_NO_SKIP=1 \
	    .local/venvs/dbt-$$version/bin/python $(PYTEST)/dbt-$$version -m matrix || exit 1; \
	done

test-v2: .venv/stamp | .local/tests  ## the tests marked v2 on dbt v2
	variables="$$($(BIN)/python tools/dbt_v2.py)" && eval "$$variables" && \
	  DBT_CICD_NO_SKIP=1 $(BIN)/python $(PYTEST)/v2 -m v2

test-long: .venv/stamp | .local/tests  ## 200 runs of migrations killed at random, a few minutes
	DBT_CICD_LONG=1 DBT_CICD_NO_SKIP=1 $(BIN)/python $(PYTEST)/long -m long

benchmark: .venv/stamp  ## speed, as JSON lines; ARGS=--big fills a large ledger first
	@$(BIN)/python benchmarks/models.py $(ARGS)

benchmark-db: .venv/stamp  ## speed of dbt-cicd db against psql, as JSON lines
	@$(BIN)/python benchmarks/db.py $(ARGS)

benchmark-schema: .venv/stamp  ## speed of dbt-cicd schema, as JSON lines
	@$(BIN)/python benchmarks/schema.py $(ARGS)

benchmark-jobs: .venv/stamp  ## speed of dbt-cicd job with 300 jobs, 5 versions each and 200 DAGs, as JSON lines
	@$(BIN)/python benchmarks/jobs.py $(ARGS)

lint: .venv/stamp  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

clean:  ## remove what these targets made
	rm -rf .venv .local build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.local/tests:
	mkdir -p $@

.venv/stamp: pyproject.toml VERSION
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) -e '.[dbt,duckdb,embedded,jobs,dev]' 'dbt-core~=1.11.0'
	touch $@

# In an environment of its own: it pins what the product does not.
.local/venvs/airflow/stamp.json: tools/airflow.py tools/airflow.txt
	$(PYTHON) tools/airflow.py

.local/venvs/dbt-%/stamp: pyproject.toml VERSION
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) $(WHEELS) -e '.[dbt,duckdb,embedded,jobs,dev]' 'dbt-core~=$*.0'
	touch $@
