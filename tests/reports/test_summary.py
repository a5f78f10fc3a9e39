"""Statistics by hand, and results.csv there and back."""

import math
import os

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.reports.paper import Cell
from qnn_jax.reports.summary import CellSummary, Run, read_results, summarize, write_results

HEADER = "model,train_size,epochs,hidden,seed,accuracy,status\n"


def runs_of(*accuracies):
  return [Run("qnn", 600, 5, 10, seed, accuracy) for seed, accuracy in enumerate(accuracies)]


def test_statistics_by_hand():
  ((cell, stats),) = summarize(runs_of(70.0, 74.0, 78.0)).items()
  assert cell == Cell(600, 5, 10, "qnn")
  assert stats == CellSummary(mean=74.0, std=4.0, best=78.0, worst=70.0, runs=3, diverged=0)


def test_a_diverged_run_is_counted_and_not_averaged():
  runs = [*runs_of(70.0, 74.0), Run("qnn", 600, 5, 10, 7, 9.8, "diverged")]
  (stats,) = summarize(runs).values()
  assert stats == CellSummary(72.0, math.sqrt(8), 74.0, 70.0, runs=2, diverged=1)


def test_too_few_runs_for_a_spread_or_a_mean():
  (one,) = summarize(runs_of(70.0)).values()
  assert one == CellSummary(70.0, None, 70.0, 70.0, 1, 0)
  (none,) = summarize([Run("qnn", 600, 5, 10, 0, None, "diverged")]).values()
  assert none == CellSummary(None, None, None, None, 0, 1)
  assert summarize([]) == {}


def test_cells_come_small_first_and_models_as_in_the_paper():
  cells = [("heavy", 600), ("rpqnn", 600), ("ann", 6000), ("qnn", 600), ("ann", 600)]
  runs = [Run(model, size, 5, 10, 0, 50.0) for model, size in cells]
  assert [(c.model, c.train_size) for c in summarize(runs)] == [
    ("ann", 600),
    ("qnn", 600),
    ("rpqnn", 600),
    ("heavy", 600),
    ("ann", 6000),
  ]


def test_results_round_trip_losslessly_and_sorted(tmp_path):
  path = tmp_path / "results.csv"
  runs = [
    Run("rpqnn", 1200, 5, 10, 0, 100 / 3),
    Run("ann", 600, 10, 10, 1, None, "diverged"),
    Run("ann", 600, 10, 10, 0, 0.1 + 0.2),
    Run("ann", 600, 5, 30, np.int64(11), np.float32(98.7)),
    Run("ann", 600, 5, 30, 2, 10.0),
  ]
  write_results(path, runs)
  assert read_results(path) == [runs[4], runs[3], runs[2], runs[1], runs[0]]
  lines = path.read_text().splitlines(keepends=True)
  assert lines[:2] == [HEADER, "ann,600,5,30,2,10.0,ok\n"]
  assert lines[4] == "ann,600,10,10,1,,diverged\n"
  write_results(path, [])
  assert path.read_text() == HEADER and read_results(path) == []


@pytest.mark.parametrize(
  "bad, message",
  [
    (runs_of(101.0), "accuracy 101.0"),
    (runs_of(math.nan), "accuracy nan"),
    (runs_of(None), "accuracy None"),
    ([Run("qnn", 600, 5, 10, 0, 50.0, "lost")], "status 'lost'"),
    (runs_of(50.0) * 2, "seed 0 of qnn 600/5/10 is there twice"),
  ],
)
def test_bad_runs_are_refused_and_nothing_is_lost(tmp_path, bad, message):
  path = tmp_path / "results.csv"
  write_results(path, runs_of(70.0))
  with pytest.raises(InputError, match=message):
    write_results(path, bad)
  with pytest.raises(InputError, match=message):
    summarize(bad)
  assert read_results(path) == runs_of(70.0)
  assert os.listdir(tmp_path) == ["results.csv"]


@pytest.mark.parametrize(
  "text, message",
  [
    ("", "begins with 'nothing'"),
    ("model,accuracy\n", "begins with 'model,accuracy'"),
    (HEADER + "qnn,600,5,10,0,70.0\n", "line 2 of .* is 'qnn,600,5,10,0,70.0'"),
    (HEADER + "qnn,600,5,10,0,70.0,ok\nqnn,600,five,10,1,70.0,ok\n", "line 3 of .*five"),
    (HEADER + "qnn,600,5,10,0,170.0,ok\n", "accuracy 170.0"),
  ],
)
def test_bad_files_are_refused(tmp_path, text, message):
  path = tmp_path / "results.csv"
  path.write_text(text)
  with pytest.raises(InputError, match=message):
    read_results(path)


def test_no_file_and_no_text(tmp_path):
  with pytest.raises(InputError, match="none.csv is not a file"):
    read_results(tmp_path / "none.csv")
  (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(InputError, match="not a CSV file"):
    read_results(tmp_path / "binary.csv")
