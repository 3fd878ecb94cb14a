# Everything a newcomer types. The environment is made on first use and again when the dependencies change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup --cov
DATABASE ?= mlflow.db
PORT ?= 5000

.DEFAULT_GOAL := help
.PHONY: help train test test-all check ui docs study clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(READY) ## simulate the 341 cells (once), train the published LSTM, record the run
	$(BIN)/cardioemu train

test: $(READY) ## run the fast tests: at most 8 minutes on two cores, at least 90 % of the lines of src/
	$(PYTEST) -m "not slow" --cov-fail-under=90

test-all: $(READY) ## run all tests: at most 35 minutes on two cores, at least 95 % of the lines of src/
	$(PYTEST) --hypothesis-profile=all

check: $(READY) ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: $(READY) ## open the recorded runs at http://127.0.0.1:5000
	$(BIN)/cardioemu ui database=$(DATABASE) port=$(PORT)

docs: $(READY) ## build the manual: docs/_build/docs/index.html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . docs/_build

study: $(READY) ## run a study of experiments/ again: make study NAME=quickstart
	PATH="$(abspath $(BIN)):$$PATH" python experiments/study.py $(NAME)

clean: ## remove the environment and caches; runs, traces and the database stay
	rm -rf .venv build docs/_build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf src/*.egg-info

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "cardioemu needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
