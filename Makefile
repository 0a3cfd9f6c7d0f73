# Each target makes the environment on first use. Several clones can share one: make VENV=~/envs/medsanity run
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
READY := $(VENV)/.ready-$(shell cksum < pyproject.toml | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help run test lint docs bench board clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/'

$(READY): pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

run: $(READY) ## Score Grad-CAM++ on the built-in cohort and write the report
	$(PY) -m benchmark run --explainer gradcampp

test: lint ## Lint, type check and test
	$(PY) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --benchmark-skip

lint: $(READY) ## Lint and type check only
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(READY) ## Build the documentation into site/
	$(PY) -m mkdocs build --strict

# make bench ONLY=delta_t measures what has that in its name, CHECKOUT=../before another commit.
bench: $(READY) ## Measure costs, and compare their ratios with those of earlier
	mkdir -p medsanity-runs
	CHECKOUT='$(CHECKOUT)' $(PY) -m pytest tests/bench --benchmark-only --benchmark-columns=mean,rounds --benchmark-sort=name -s \
		--benchmark-json=medsanity-runs/bench.json -k '$(ONLY)'
	$(PY) tests/bench/compare_ratios.py medsanity-runs/bench.json

board: $(READY) ## Build the leaderboard from its records
	$(PY) -m benchmark board --records leaderboard/v1/records --out leaderboard/v1

clean: ## Remove what runs and tests have written
	rm -rf medsanity-runs site .pytest_cache .mypy_cache .ruff_cache build *.egg-info
