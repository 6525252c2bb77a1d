# Every verb does the set-up that it needs; the second time only what has changed is done again.
PYTHON ?= python3
BIN := .venv/bin
STATIC := src/quantwidget/static/widget.js
JS_SOURCES := $(shell find js/src -type f) js/build.mjs
OLDEST_TESTS := $(addprefix tests/, test_session.py test_index.py test_storage.py schemes test_opening.py test_cache.py test_golden_messages.py)
DEMO_ARGS ?=
BENCH ?= full

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check build bench gallery lint models notebooks

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

setup: .venv/.installed-dev .venv-oldest/.installed node_modules/.installed $(STATIC) ## Make .venv with the package in place and all that tests need

demo: .venv/.installed-demo $(STATIC) ## Open the example notebook on a real model (DEMO_ARGS="--headless --no-token --port 2718")
	$(BIN)/python -m marimo run examples/weight_visualizer.py $(DEMO_ARGS)

dev: setup ## Rebuild the front end on every change, for notebooks with ANYWIDGET_HMR=1
	node js/build.mjs --watch

test: setup ## Run every test, those in a real browser among them
	npx --no-install vitest run
	$(BIN)/python -m pytest
	PYTHONPATH=src .venv-oldest/bin/python -m pytest -p no:cacheprovider $(OLDEST_TESTS)

check: setup lint test ## Run everything that CI runs, in its order

lint: setup ## Check style, types, import floors and generated files
	$(BIN)/python scripts/generate_wire.py --check
	$(BIN)/python scripts/generate_schema.py --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	npx --no-install biome check js
	npx --no-install tsc
	$(BIN)/python scripts/make_notebooks.py --check
	$(BIN)/python scripts/badges.py --check
	$(BIN)/marimo check --strict examples/*.py examples/lessons/marimo/*.py

build: setup ## Generate wire.ts, bundle the front end and make the wheel
	$(BIN)/python scripts/generate_wire.py
	node js/build.mjs
	$(BIN)/python -m build --wheel --no-isolation

bench: setup .venv/.installed-bench ## Measure speed as ratios against peers (BENCH=quick for a short run)
	$(BIN)/python -m benchmarks.run --$(BENCH)

gallery: node_modules/.installed ## Show every panel in every state, theme and width
	node js/build.mjs --gallery --serve

notebooks: setup ## Write the Jupyter twins of the examples, and the badges that open them
	$(BIN)/python scripts/make_notebooks.py
	$(BIN)/python scripts/badges.py

models: setup ## Train and quantize the example models anew
	$(BIN)/python scripts/make_models.py

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "quantwidget needs Python 3.10 or newer: make PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --upgrade pip
	touch $@

.venv/.installed-demo: pyproject.toml | .venv/.made
	$(BIN)/python -m pip install -qq --editable . --group demo
	touch $@

.venv/.installed-dev: pyproject.toml | .venv/.made
	$(BIN)/python -m pip install -qq --editable . --group dev
	touch $@ .venv/.installed-demo

.venv/.installed-bench: pyproject.toml | .venv/.made
	$(BIN)/python -m pip install -qq --editable . --group bench
	touch $@

# The widgets of that time would bring a whole notebook server along.
.venv-oldest/.installed: tests/oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -qq --upgrade pip
	.venv-oldest/bin/python -m pip install -qq $$(sed '/^#/d; /^anywidget/d' tests/oldest.txt)
	.venv-oldest/bin/python -m pip install -qq --no-deps ipywidgets==7.7.1 anywidget==0.9.21
	touch $@

node_modules/.installed: package.json package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || { echo "quantwidget's front end needs Node 20 or newer"; exit 1; }
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(STATIC): $(JS_SOURCES) node_modules/.installed
	node js/build.mjs
