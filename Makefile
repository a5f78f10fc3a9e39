# Needs a stock python3 (3.11 to 3.13), make and a package index; all else goes into .venv, or into
# .venv-newest with the newest versions: make test PYTHON=python3.13 CONSTRAINTS=constraints-newest.txt
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
ARGS ?=
VENV := .venv$(patsubst constraints%.txt,%,$(notdir $(CONSTRAINTS)))
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable
comma := ,
LAYERS ?= 128x784x10,256x256x10,256x64x64,512x512x64

.PHONY: table4 train test slurm fast lint site browser experiments bench dist clean

table4: $(VENV)/installed
	$(BIN)/python -m experiments.table4 $(ARGS)

train: $(VENV)/installed
	$(BIN)/python -m experiments.train $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest $(ARGS)

# tests/slurm with a Slurm of one node on this machine: as root, on Debian or Ubuntu.
slurm: $(VENV)/installed
	scripts/cluster/one_node_slurm.sh start
	$(BIN)/python -m pytest -n 0 tests/slurm $(ARGS); status=$$?; \
	  scripts/cluster/one_node_slurm.sh stop && exit $$status

# A newcomer's minute: the test files and tests marked `fast`; see CONTRIBUTING.md.
fast: $(VENV)/installed
	$(BIN)/python -m pytest -m fast $(ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation, docs/ as build/site; warnings are errors.
site: $(VENV)/installed-docs
	rm -rf build/site
	$(BIN)/python -m sphinx -b html -W --keep-going -n -q -d build/doctrees docs build/site
	@echo "open build/site/index.html"

# tests/site: the site in a browser, Debian's chromium; as root it is installed where there is none.
browser: site
	scripts/chromium.sh
	SITE=build/site $(BIN)/python -m pytest tests/site $(ARGS)

# Every experiment, shrunk to seconds.
experiments: .venv/installed
	for name in $$(ls experiments/*/__main__.py | cut -d/ -f2); do \
	  echo "== $$name"; $(BIN)/python -m experiments.$$name --config=configs/$$name.py:smoke $(ARGS) || exit 1; done

# The tables of docs/performance.md, the whole of Table 4 first; on a GPU: make bench EXTRAS=cuda
bench: $(VENV)/installed
	$(INSTALL) '.[bench$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	$(BIN)/python scripts/bench_table4.py $(ARGS)
	$(BIN)/python scripts/bench_layers.py --repeats=21 --cases=$(LAYERS) $(ARGS)
	$(BIN)/python scripts/bench_convs.py $(ARGS)
	$(BIN)/python scripts/bench_per_sample.py --torch $(ARGS)
	$(BIN)/python scripts/bench_per_sample.py --workers=1 $(ARGS)
	$(BIN)/python scripts/bench_scaling.py $(ARGS)

# The release: sdist and wheel in dist/, checked, and the wheel used in an empty environment of $(PYTHON).
dist:
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check build twine check-wheel-contents
	rm -rf dist
	.venv-dist/bin/python -m build
	.venv-dist/bin/twine check --strict dist/*
	.venv-dist/bin/check-wheel-contents dist/*.whl
	$(PYTHON) scripts/check_release.py dist/*.whl

# The constraints hold every version that the tests have been run with; see constraints.txt.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"qnn_jax needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: name another, make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[test,lint]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(INSTALL) '.[docs]'
	@touch $@

clean:
	rm -rf .venv .venv-newest .venv-sky .venv-dist build dist *.egg-info
