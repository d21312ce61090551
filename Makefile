# Everything here works on a fresh clone with nothing but Python 3.11 or newer installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-all test-slow test-mutants check docs notebooks release format clean

help:
	@echo "make demo       set up, then train on a wave, test it and draw it"
	@echo "make test       set up, then run the everyday tests"
	@echo "make test-all   the rest of the tests, format, lint and types"
	@echo "make test-slow  every test, the long ones too, kernels optimised"
	@echo "make test-mutants  plants errors in the source and in a backend, one at a time, and shows which test fails"
	@echo "make docs       the site, in build/site: tutorials, reference, cells, kernels, benchmarks"
	@echo "make notebooks  the tutorials as notebooks, in build/notebooks"
	@echo "make check      all of them, and the site"

setup: $(BIN)/.ready

# pip and not uv: the constraint finds torch's CPU build where pip is told of one.
$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/elman demo

test: setup
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4

test-all: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 -m "full and not slow"

test-slow: setup
	ELMAN_OPTIMISED=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 -m "slow or not slow"

test-mutants: setup
	$(BIN)/python tests/mutants.py

$(VENV)/.docs: $(BIN)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/site.py

notebooks: $(VENV)/.docs
	$(BIN)/python docs/site.py notebooks

check: test test-all docs

# The wheel and the source archive, checked, and installed where nothing else is.
release: setup
	rm -rf dist build/release
	$(BIN)/python -m pip install --quiet build twine
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd build/release && bin/elman demo

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
