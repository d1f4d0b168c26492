# Every target prepares the clone by itself; see tools/setup.sh.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
# Small BLAS calls on many threads are slower than on one.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
WORKERS ?= 2

.PHONY: help setup demo test test-all coverage lint format types docs bench validate clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

setup:  ## System packages, .venv, the package in editable mode
	@tools/setup.sh

demo: setup  ## Fit a linear mixed model to real data and show the summary
	@$(PY) -m lme

test: setup  ## Tests, doctests and the examples of the documentation
	$(PY) -m pytest -q -n $(WORKERS) $(ARGS)

test-all: setup  ## The slow tests too
	$(PY) -m pytest -q -n $(WORKERS) -m "" $(ARGS)

coverage: setup  ## Lines and branches that the tests reach, figures aside
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -q -n $(WORKERS) $(ARGS)
	$(PY) -m coverage combine -q
	$(PY) -m coverage report

lint: setup  ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup  ## Let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: setup  ## mypy, strict
	$(PY) -m mypy

docs: setup  ## HTML in docs/build/html; warnings and dead links are errors
	$(PY) -m sphinx -qNW --keep-going -b html docs/source docs/build/html
	$(PY) tools/check_site.py docs/build/html

bench: setup  ## Seconds, evaluations, objective and memory of the benchmark fits
	$(PY) -m benchmarks $(ARGS)

validate: setup  ## Simulations: coverage, type-I errors and bias (an hour)
	$(PY) -m benchmarks.validation $(ARGS)

clean:  ## Remove what the targets made, .venv included
	rm -rf .venv docs/build build *.egg-info .pytest_cache .mypy_cache .ruff_cache
