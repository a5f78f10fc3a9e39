"""The benchmark of the scikit-learn estimators runs, and its figures are of the models it names."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "bench_sklearn.py"


def test_a_small_run_has_a_row_a_model():
  command = [sys.executable, SCRIPT, "--small", "--sets=noisy XOR", "--features=raw", "--json"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  rows = [json.loads(line) for line in done.stdout.splitlines()]
  assert [row["model"] for row in rows] == ["ours", "poly2, LR", "QDA", "poly2, SGD"]
  ours, peer = rows[:2]
  assert ours["accuracy"] > 75 and peer["accuracy"] > 75  # 50 by chance
  assert ours["less"] == pytest.approx(peer["accuracy"] - ours["accuracy"], abs=2e-3)
  assert all(row["next_s"] > 0 and row["repeated"] is None for row in rows)
