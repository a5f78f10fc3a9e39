"""scripts/simulate_precision.py: what it compares, and once tiny."""

import importlib
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
THEIRS = {("ann", "600", "5", "10", str(seed)): 80.0 + seed for seed in range(2)}


@pytest.fixture
def comparison(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # which the script sets, and is taken back here
  monkeypatch.syspath_prepend(ROOT / "scripts")
  return importlib.import_module("simulate_precision").comparison


def test_runs_are_compared_one_by_one_and_by_the_means_of_their_cells(comparison):
  first, second = THEIRS
  assert comparison({first: 80.4, second: 80.8}, THEIRS) == (
    "2 runs: 100.0 % differ, by 0.300 points in the mean and at most 0.40; "
    "the 1 cells' means by 0.100 points root mean square, and by +0.100 in the mean"
  )


def test_runs_that_are_not_committed_are_left_out_and_counted(comparison):
  heavy = {("heavy", "600", "5", "10", "0"): 90.0}
  assert comparison(THEIRS | heavy, THEIRS).startswith(
    "1 runs are not among them; 2 runs: 0.0 % differ"
  )
  assert comparison(heavy, THEIRS) == "1 runs are not among them"


def test_it_runs_on_a_cpu_whatever_the_environment_says(tmp_path):
  small = "--config.models=('ann','heavy')", "--config.seeds=1", "--config.hidden=(10,)"
  done = subprocess.run(
    [
      sys.executable, "scripts/simulate_precision.py", "--bits=7", "--config=configs/table4.py:smoke",
      *small, "--config.epochs=(5,)", f"--workdir={tmp_path / 'rounded'}",
    ],
    cwd=ROOT, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "tpu"},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  last = done.stdout.splitlines()[-1]
  assert last.startswith("7 bits; beside the committed results, 1 runs are not among them; 1 runs:")
