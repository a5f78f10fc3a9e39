"""Statistics by hand."""

import math

import pytest

from experiments.table4.paper import Cell
from experiments.table4.summary import CellSummary, Run, summarize
from qnn_jax.errors import InputError


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
def test_bad_runs_are_refused(bad, message):
  with pytest.raises(InputError, match=message):
    summarize(bad)
