# Needs a stock python3 (3.11 to 3.13), make and a package index; all else goes into .venv.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
comma := ,
LAYERS ?= 128x784x10,256x256x10,256x64x64,512x512x64

.PHONY: table4 test experiments bench clean

table4: .venv/installed
	$(BIN)/python -m experiments.table4 $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest $(ARGS)

# Every experiment, shrunk to seconds.
experiments: .venv/installed
	for name in $$(ls experiments | sed -n 's/^\([a-z].*\)\.py$$/\1/p'); do \
	  echo "== $$name"; $(BIN)/python -m experiments.$$name --config=configs/$$name.py:smoke $(ARGS) || exit 1; done

# The tables of docs/performance.md, the whole of Table 4 first; on a GPU: make bench EXTRAS=cuda
bench: .venv/installed
	$(INSTALL) '.[bench$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	$(BIN)/python scripts/bench_table4.py $(ARGS)
	$(BIN)/python scripts/bench_layers.py --repeats=21 --cases=$(LAYERS) $(ARGS)
	$(BIN)/python scripts/bench_per_sample.py --torch $(ARGS)
	$(BIN)/python scripts/bench_per_sample.py --workers=1 $(ARGS)
	$(BIN)/python scripts/bench_scaling.py $(ARGS)

# The constraints hold every version that the tests have been run with; see constraints.txt.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"qnn_jax needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: name another, make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[test]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info
