"""Compares each of our cells with the paper's: Welch's test, and ratios of standard deviations.

The paper gives the mean and the standard deviation of 25 runs for each cell. Whether our mean differs from the
paper's by more than chance is tested by Welch's test, for two means with unequal variances. Among 180 cells some
p-values are small by chance alone. Benjamini and Hochberg's procedure limits the expected share of false alarms
among the cells that it reports to `RATE`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.table4.paper import Cell, Stats, cell_order
from experiments.table4.summary import CellSummary

PAPER_RUNS = 25
RATE = 0.05


class CellTest(NamedTuple):
  """One cell of both tables.

  Attributes:
    cell: the cell.
    ours, theirs: the statistics that are compared.
    difference: our mean minus the paper's, in points.
    error: the standard error of the difference, in points.
    z: difference / error, Welch's statistic.
    p: two-sided p-value from Student's t with Welch's degrees of freedom.
    adjusted: p adjusted by Benjamini and Hochberg; the cell differs if it is at most `RATE`.
    std_ratio: our standard deviation divided by the paper's.
    note: why the cell is not tested; empty if it is tested.

  error, z, p, adjusted and std_ratio are None if they cannot be computed.
  """

  cell: Cell
  ours: CellSummary
  theirs: Stats
  difference: float
  error: float | None = None
  z: float | None = None
  p: float | None = None
  adjusted: float | None = None
  std_ratio: float | None = None
  note: str = ""

  @property
  def differs(self) -> bool:
    """Whether the cell differs at a false-discovery rate of `RATE`."""
    return self.adjusted is not None and self.adjusted <= RATE


def cell_tests(summary: Mapping[Cell, CellSummary], paper: Mapping[Cell, Stats]) -> list[CellTest]:
  """One test for every cell that both tables have, in the table's order."""
  common = (cell for cell in sorted(summary, key=cell_order) if cell in paper)
  found = ((c, summary[c].mean) for c in common)
  tests = [_test(c, mean, summary[c], paper[c]) for c, mean in found if mean is not None]
  tested = [i for i, test in enumerate(tests) if test.p is not None]
  if tested:
    adjusted = stats.false_discovery_control([tests[i].p for i in tested], method="bh")
    for i, value in zip(tested, adjusted):
      tests[i] = tests[i]._replace(adjusted=float(value))
  return tests


def _test(cell: Cell, mean: float, ours: CellSummary, theirs: Stats) -> CellTest:
  test = CellTest(cell, ours, theirs, mean - theirs.mean)
  if not theirs.worst <= theirs.mean <= theirs.best:
    return test._replace(
      note=f"impossible as printed: the mean {theirs.mean:.2f} is not between worst "
      f"{theirs.worst:.2f} and best {theirs.best:.2f}"
    )
  if ours.std is None:
    return test._replace(note="one run has no spread")
  if theirs.std > 0 and ours.std > 0:
    test = test._replace(std_ratio=ours.std / theirs.std)
  error = math.hypot(ours.std / math.sqrt(ours.runs), theirs.std / math.sqrt(PAPER_RUNS))
  if error == 0:
    return test._replace(note="neither has a spread")
  z, p = stats.ttest_ind_from_stats(
    ours.mean, ours.std, ours.runs, theirs.mean, theirs.std, PAPER_RUNS, equal_var=False
  )
  return test._replace(error=error, z=float(z), p=float(p))


def rms_difference(tests: Sequence[CellTest]) -> float | None:
  """Root mean square of the differences of means, in points."""
  return rms([test.difference for test in tests])


def rms_error(tests: Sequence[CellTest]) -> float | None:
  """The `rms_difference` that random variation of the runs alone would give, in points."""
  return rms([test.error for test in tests if test.error is not None])


def paper_error(tests: Sequence[CellTest]) -> float | None:
  """Root mean square of the standard errors of the paper's means. No table can be expected to come closer."""
  return rms([test.theirs.std / math.sqrt(PAPER_RUNS) for test in tests])


def mean_square_z(tests: Sequence[CellTest]) -> float | None:
  """Mean square of Welch's z: about one if the tables differ only by random variation of the runs."""
  root = rms([test.z for test in tests if test.z is not None])
  return None if root is None else root**2


def spread_ratio(tests: Sequence[CellTest]) -> float | None:
  """Geometric mean of our standard deviations over the paper's."""
  ratios = [test.std_ratio for test in tests if test.std_ratio is not None]
  return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def rms(values: Sequence[float]) -> float | None:
  """Root mean square; None if there are no values."""
  return math.sqrt(math.fsum(v * v for v in values) / len(values)) if values else None
