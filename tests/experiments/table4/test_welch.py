"""Welch's test and the false-discovery rate, against raw samples and a hand count."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.table4 import welch
from experiments.table4.paper import Cell, Stats
from experiments.table4.summary import CellSummary, Run, summarize

pytestmark = pytest.mark.fast

CELL = Cell(600, 5, 10, "ann")


def paper_of(sample):
  return Stats(sample.mean(), sample.std(ddof=1), sample.max(), sample.min())


def runs_of(sample, cell=CELL):
  return [Run(cell.model, *cell[:3], seed, float(value)) for seed, value in enumerate(sample)]


@pytest.mark.parametrize("runs", (4, 25, 200))
def test_a_cell_is_tested_as_its_runs_would_be(runs):
  rng = np.random.default_rng(runs)
  ours, theirs = rng.normal(50, 3, runs), rng.normal(51, 1, welch.PAPER_RUNS)
  (test,) = welch.cell_tests(summarize(runs_of(ours)), {CELL: paper_of(theirs)})
  truth = stats.ttest_ind(ours, theirs, equal_var=False)
  assert (test.z, test.p) == (pytest.approx(truth.statistic), pytest.approx(truth.pvalue))
  assert test.adjusted == pytest.approx(test.p)  # one test alone
  assert test.difference == pytest.approx(ours.mean() - theirs.mean())
  assert test.error == pytest.approx(math.sqrt(ours.var(ddof=1) / runs + theirs.var(ddof=1) / 25))
  assert test.std_ratio == pytest.approx(ours.std(ddof=1) / theirs.std(ddof=1))


def hochberg(p):
  """The procedure as published: the largest k with p_(k) <= k/m rate, and all below it."""
  order = np.argsort(p)
  below = np.flatnonzero(np.sort(p) <= welch.RATE * np.arange(1, len(p) + 1) / len(p))
  return set(order[: below.max() + 1].tolist() if below.size else [])


def test_the_cells_that_differ_are_those_of_the_procedure():
  rng = np.random.default_rng(0)
  runs, paper = [], {}
  for i in range(40):
    cell = Cell(600, 5, i + 1, "qnn")
    runs += runs_of(rng.normal(50, 2, 25) + 3 * (i < 6), cell)
    paper[cell] = paper_of(rng.normal(50, 2, 25))
  tests = welch.cell_tests(summarize(runs), paper)
  found = {i for i, test in enumerate(tests) if test.differs}
  assert found == hochberg(np.array([test.p for test in tests]))
  assert len(found) >= 5
  assert sum(test.p <= welch.RATE for test in tests) > len(found)  # some are small by chance


def test_many_tables_of_one_truth_name_hardly_any_cell(paper):
  """The false-discovery rate holds where the printed spreads are the truth of both tables."""
  rng, named, z2, ratio, squares = np.random.default_rng(1), [], [], [], []
  for _ in range(20):
    summary = {}
    for cell, theirs in paper.items():
      sample = rng.normal(theirs.mean, theirs.std, 25)
      summary[cell] = summarize(runs_of(np.clip(sample, 0, 100), cell))[cell]
    drawn = {cell: paper_of(rng.normal(t.mean, t.std, 25)) for cell, t in paper.items()}
    tests = welch.cell_tests(summary, drawn)
    named.append(any(test.differs for test in tests))
    z2.append(welch.mean_square_z(tests))
    ratio.append(welch.spread_ratio(tests))
    squares.append((welch.rms_difference(tests) / welch.rms_error(tests)) ** 2)
  assert sum(named) <= 4
  assert np.mean(z2) == pytest.approx(1.05, abs=0.08)
  assert np.mean(squares) == pytest.approx(1, abs=0.15)
  assert np.mean(ratio) == pytest.approx(1.0, abs=0.03)


def test_what_cannot_be_tested_says_why(paper):
  impossible = Cell(6000, 10, 20, "qnn")
  same = CellSummary(92.0, 1.0, 95.0, 90.0, 25, 0)
  summary = {
    CELL: CellSummary(10.0, None, 10.0, 10.0, 1, 0),
    impossible: same,
    Cell(6000, 10, 20, "ann"): same,
    Cell(7, 7, 7, "ann"): same,
    Cell(600, 5, 15, "ann"): CellSummary(None, None, None, None, 0, 25),
  }
  one_run, ann, qnn = welch.cell_tests(summary, paper)
  assert one_run.note == "one run has no spread" and one_run.p is None
  assert qnn.note.startswith("impossible as printed: the mean 91.98 is not between worst 93.92")
  assert qnn.p is qnn.z is qnn.std_ratio is None and not qnn.differs
  assert ann.note == "" and ann.adjusted is not None
  still = Stats(10.0, 0.0, 10.0, 10.0)
  (test,) = welch.cell_tests({CELL: CellSummary(10.0, 0.0, 10.0, 10.0, 25, 0)}, {CELL: still})
  assert test.note == "neither has a spread"


def test_nothing_gives_nothing():
  assert welch.cell_tests({}, {}) == []
  for number in (welch.rms_difference, welch.rms_error, welch.paper_error, welch.mean_square_z):
    assert number([]) is None
  assert welch.spread_ratio([]) is None


def test_only_one_printed_cell_is_impossible(paper):
  assert [c for c, s in paper.items() if not s.worst <= s.mean <= s.best] == [
    Cell(6000, 10, 20, "qnn")
  ]
