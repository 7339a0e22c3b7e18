# make report and make test are each all the set-up there is: they build .venv when it is missing or older than
# pyproject.toml. All paths are relative, so that a checkout whose path holds a space works.

TARGETS = eight_schools eight_schools_centered breast_cancer
KERNELS = rwm mala mala_dense nuts
CHAINS = 16
WARMUP = 300
# Evaluations of a run, warmup included; a gradient counts as two.
BUDGET = 1000000
JOBS = 2
OUT = report.html
PYTEST_ARGS =
DOCS_ARGS =
export DOCS_SHORT
# Files are shared out over workers, so that a fixture of a file is made once.
WORKERS = -n auto --maxprocesses=4 --dist=loadfile

BIN = .venv/bin
# Fresh stamps do not help a .venv that was copied here from elsewhere, or whose Python an upgrade removed.
STALE := $(shell { read -r at <.venv/.core && test "$$at" = "$$(pwd -P)" && test -x $(BIN)/python; } 2>/dev/null || echo stale)

# -n: a reference that leads nowhere is a warning, -W: a warning is an error, --keep-going: show them all.
SPHINX = $(BIN)/python -m sphinx -n -W --keep-going -q -d docs/_build/doctrees docs

.PHONY: help report test test-slow lint format docs linkcheck clean stale

help:
	@echo 'make report     compare kernels on three posteriors and write $(OUT)'
	@echo 'make test       lint, type check and the test suite'
	@echo 'make test-slow  the same with the slow tests'
	@echo 'make lint       ruff and mypy only'
	@echo 'make format     let ruff fix and format the code'
	@echo 'make docs       run the examples and build the documentation (DOCS_SHORT=1: examples in short)'
	@echo 'make linkcheck  ask every address that the documentation links to; needs the network'
	@echo 'make clean      remove .venv, caches, the report and the documentation'
	@echo
	@echo 'Each builds what it needs first. To choose the Python: make test PYTHON=/path/to/python3.12'
	@echo 'Options to pytest: make test PYTEST_ARGS="-x -k mala". Report: TARGETS, KERNELS, CHAINS, WARMUP, BUDGET, JOBS, OUT.'

report: .venv/.core
	$(BIN)/numpyro-score compare $(TARGETS:%=--target %) $(KERNELS:%=--kernel %) --chains $(CHAINS) --warmup $(WARMUP) --budget $(BUDGET) --jobs $(JOBS) --out '$(OUT)'

test: lint
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

test-slow: lint
	$(BIN)/python -m pytest $(WORKERS) -m '' $(PYTEST_ARGS)

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: .venv/.docs
	$(SPHINX) -b html $(DOCS_ARGS) docs/_build/html
	@echo "The documentation is at $$PWD/docs/_build/html/index.html"

linkcheck: .venv/.docs
	$(SPHINX) -b linkcheck -D plot_gallery=0 docs/_build/linkcheck

clean:
	rm -f .venv/.core .venv/.test .venv/.docs
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache build dist '$(OUT)' docs/_build docs/api docs/gallery
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The script writes the stamps itself, last, so that an interrupted install leaves none.
.venv/.core: pyproject.toml $(STALE)
	@sh .ci/setup.sh

.venv/.test: pyproject.toml $(STALE)
	@sh .ci/setup.sh test

.venv/.docs: pyproject.toml $(STALE)
	@sh .ci/setup.sh docs
