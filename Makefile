# Needs a stock python3 (3.11 to 3.13), make and a package index; all else goes into .venv.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: table4 test experiments clean

table4: .venv/installed
	$(BIN)/python -m experiments.table4 $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest $(ARGS)

# Every experiment, shrunk to seconds.
experiments: .venv/installed
	for name in $$(ls experiments | sed -n 's/^\([a-z].*\)\.py$$/\1/p'); do \
	  echo "== $$name"; $(BIN)/python -m experiments.$$name --config=configs/$$name.py:smoke $(ARGS) || exit 1; done

# The constraints hold every version that the tests have been run with; see constraints.txt.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"qnn_jax needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: name another, make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info
