"""Statistics of each cell of Table 4 from its runs."""

import collections
import functools
import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from experiments.table4.paper import Cell, cell_order
from qnn_jax.errors import InputError

STATUSES = ("ok", "diverged")


# A report asks for each cell once per run, tens of thousands of times.
_cell = functools.lru_cache(maxsize=100_000)(Cell)


class Run(NamedTuple):
  """One trained network.

  Attributes:
    model, train_size, epochs, hidden: the cell, see `Cell`.
    seed: the seed of its samples and initial parameters.
    accuracy: on the test set, in percent; None (or NaN) is allowed for a diverged run only.
    status: 'ok', or 'diverged' if its loss stopped being finite.
  """

  model: str
  train_size: int
  epochs: int
  hidden: int
  seed: int
  accuracy: float | None
  status: str = "ok"

  @property
  def cell(self) -> Cell:
    """The cell the run belongs to."""
    return _cell(self.train_size, self.epochs, self.hidden, self.model)


class CellSummary(NamedTuple):
  """Accuracy over the runs of a cell that did not diverge, in percent.

  Attributes:
    mean, best, worst: None if every run diverged.
    std: the sample standard deviation (divisor runs - 1); None below two runs.
    runs: the number of runs in these four statistics.
    diverged: the number of runs left out because they diverged.
  """

  mean: float | None
  std: float | None
  best: float | None
  worst: float | None
  runs: int
  diverged: int


def summarize(runs: Iterable[Run]) -> dict[Cell, CellSummary]:
  """The statistics of each cell, in the order of `cell_order`.

  The accuracy of a diverged run means nothing, so diverged runs are counted but not averaged.

  Raises:
    InputError: a run is malformed, or the same cell and seed occurs twice.
  """
  by_cell = collections.defaultdict(list)
  for run in _checked(runs):
    by_cell[run.cell].append(run)
  return {cell: _summarize_cell(by_cell[cell]) for cell in sorted(by_cell, key=cell_order)}


def _summarize_cell(runs: list[Run]) -> CellSummary:
  # `_checked` has made sure that all these are numbers.
  good = [float(run.accuracy) for run in runs if run.status == "ok"]  # type: ignore[arg-type]
  diverged = len(runs) - len(good)
  if not good:
    return CellSummary(None, None, None, None, 0, diverged)
  # The paper does not say which divisor its sigma has. We estimate the standard deviation of all possible
  # runs from a sample, hence n - 1. For 25 runs the choice changes sigma by 2 percent.
  std = statistics.stdev(good) if len(good) > 1 else None
  return CellSummary(statistics.fmean(good), std, max(good), min(good), len(good), diverged)


def _checked(runs: Iterable[Run]) -> list[Run]:
  runs = list(runs)
  seen = set()
  for run in runs:
    if run.status not in STATUSES:
      raise InputError(f"{_name(run)} has the status {run.status!r}, not 'ok' or 'diverged'.")
    if run.status == "ok" and not _is_percentage(run.accuracy):
      raise InputError(f"{_name(run)} has the accuracy {run.accuracy}, not one from 0 to 100.")
    if (run.cell, run.seed) in seen:
      raise InputError(f"{_name(run)} is there twice; a seed may occur once in a cell.")
    seen.add((run.cell, run.seed))
  return runs


def _is_percentage(value) -> bool:
  return value is not None and math.isfinite(value) and 0 <= value <= 100


def _name(run: Run) -> str:
  return f"seed {run.seed} of {run.model} {run.train_size}/{run.epochs}/{run.hidden}"
