"""Deviations and orders counted by hand."""

import math

import pytest

from experiments.table4.fidelity import fidelity, fidelity_line
from experiments.table4.paper import Cell, Stats
from experiments.table4.summary import CellSummary, Run, summarize


def row(*means, size=600, hidden=10, models=("ann", "qnn", "rpqnn", "heavy"), kind=CellSummary):
  rest = (1.0, 100.0, 0.0, 25, 0)[: len(kind._fields) - 1]
  return {
    Cell(size, 5, hidden, model): kind(mean, *rest)
    for model, mean in zip(models, means)
    if mean is not None
  }


def paper_row(*means, **where):
  return row(*means, kind=Stats, **where)


def test_root_mean_square_by_hand_over_common_cells_only():
  ours = row(11.0, 68.0, None, 99.0) | row(50.0, size=1200) | row(1.0, size=700)
  paper = paper_row(10.0, 70.0, 30.0) | paper_row(53.0, size=1200)
  result = fidelity(ours, paper)
  assert result.cells == 3
  assert result.rms == pytest.approx(math.sqrt((1 + 4 + 9) / 3))
  assert result.rms_by_size == ((600, pytest.approx(math.sqrt(2.5))), (1200, pytest.approx(3.0)))
  assert result.rows == 0
  assert fidelity_line(result) == (
    "fidelity: 2.16 points root-mean-square from the paper's means over 3 cells; "
    "no row has all three of the paper's models"
  )


@pytest.mark.parametrize(
  "paper, ours, kept",
  [
    ((10.0, 70.0, 30.0), (9.0, 60.0, 59.9), True),
    ((10.0, 70.0, 30.0), (9.0, 60.0, 60.0), False),  # a tie of ours is not the paper's order
    ((10.0, 70.0, 30.0), (31.0, 70.0, 30.0), False),
    ((91.3, 92.0, 90.0), (91.2, 93.0, 91.1), True),  # the order need not be ann < rpqnn < qnn
    ((50.0, 70.0, 50.0), (52.0, 70.0, 51.0), True),  # where the paper ties, any order is right
    ((50.0, 70.0, 50.0), (51.0, 70.0, 52.0), True),
    ((50.0, 70.0, 50.0), (51.0, 51.5, 52.0), False),
  ],
)
def test_order(paper, ours, kept):
  result = fidelity(row(*ours), paper_row(*paper))
  assert (result.rows, result.rows_kept) == (1, int(kept))


@pytest.mark.parametrize(
  "paper, wide",
  [
    ((10.0, 70.0, 30.0), True),
    ((81.2, 90.0, 83.2), False),  # exactly two points, though 83.2 - 81.2 > 2.0 in floats
    ((81.19, 90.0, 83.2), True),
    ((81.0, 85.0, 83.5), False),
    ((30.0, 70.0, 10.0), False),  # separated, but not ann < rpqnn < qnn
  ],
)
def test_wide_rows(paper, wide):
  result = fidelity(row(1.0, 3.0, 2.0), paper_row(*paper))
  assert (result.wide_rows, result.wide_kept) == (int(wide), int(wide))


def test_the_paper_agrees_with_itself(paper, make_runs):
  result = fidelity(summarize(make_runs(scatter=0.0, seeds=2)), paper)
  assert result.rms == pytest.approx(0.0, abs=1e-9)
  assert (result.cells, result.rows, result.rows_kept, result.diverged) == (180, 60, 60, 0)
  assert result.wide_kept == result.wide_rows == 22
  assert [size for size, _ in result.rms_by_size] == [600, 1200, 6000, 60000]
  assert fidelity_line(result) == (
    "fidelity: 0.00 points root-mean-square from the paper's means over 180 cells; "
    "the paper's order of the three models kept in 60 of 60 rows "
    "(22 of 22 where the paper's gaps exceed two points)"
  )


def test_partial_and_diverged(paper, make_runs):
  runs = make_runs(sizes=(6000,), epochs=(20,), scatter=0.0)
  runs[0] = runs[0]._replace(accuracy=None, status="diverged")
  result = fidelity(summarize(runs), paper)
  assert (result.cells, result.rows, result.wide_rows, result.diverged) == (15, 5, 0, 1)
  assert fidelity_line(result).endswith("kept in 5 of 5 rows; 1 diverged run left out")


def test_a_cell_whose_runs_all_diverged_is_no_cell(paper, make_runs):
  runs = [
    run._replace(accuracy=None, status="diverged") if run.model == "qnn" else run
    for run in make_runs(sizes=(600,), epochs=(5,))
  ]
  result = fidelity(summarize(runs), paper)
  assert (result.cells, result.rows, result.diverged) == (10, 0, 15)


def test_nothing_in_common(paper):
  result = fidelity(summarize([Run("heavy", 600, 5, 10, 0, 50.0)]), paper)
  assert result.rms is None and result.rms_by_size == ()
  assert "nothing to compare" in fidelity_line(result)
  assert fidelity({}, paper).cells == 0
