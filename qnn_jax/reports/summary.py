"""Runs -> statistics a cell, and `results.csv`, where the runs lie."""

import collections
import csv
import io
import math
import os
import pathlib
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.reports.paper import Cell, cell_order

STATUSES = ("ok", "diverged")


class Run(NamedTuple):
  """One trained network.

  Attributes:
    model, train_size, epochs, hidden: the cell, see `Cell`.
    seed: the number its samples and initial weights were drawn from.
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
    return Cell(self.train_size, self.epochs, self.hidden, self.model)


class CellSummary(NamedTuple):
  """Accuracy over the runs of a cell that did not diverge, in percent.

  Attributes:
    mean, best, worst: None if every run diverged.
    std: the sample standard deviation (divisor runs - 1); None below two runs.
    runs: how many runs the four are of.
    diverged: how many runs were left out because they diverged.
  """

  mean: float | None
  std: float | None
  best: float | None
  worst: float | None
  runs: int
  diverged: int


def summarize(runs: Iterable[Run]) -> dict[Cell, CellSummary]:
  """Statistics a cell, in the order of `cell_order`.

  A diverged run has no accuracy worth averaging, so it is counted, not averaged: what a report
  shows of it is its number.

  Raises:
    InputError: a run is malformed, or the same cell and seed occurs twice.
  """
  by_cell = collections.defaultdict(list)
  for run in _checked(runs):
    by_cell[run.cell].append(run)
  return {cell: _summarize_cell(by_cell[cell]) for cell in sorted(by_cell, key=cell_order)}


def _summarize_cell(runs: list[Run]) -> CellSummary:
  good = [float(run.accuracy) for run in runs if run.status == "ok"]
  diverged = len(runs) - len(good)
  if not good:
    return CellSummary(None, None, None, None, 0, diverged)
  # The paper does not say which divisor its sigma has. We estimate the spread of all possible runs
  # from a sample of them, hence n - 1; for 25 runs the choice changes sigma by 2 percent of itself.
  std = statistics.stdev(good) if len(good) > 1 else None
  return CellSummary(statistics.fmean(good), std, max(good), min(good), len(good), diverged)


def write_results(path: str | os.PathLike, runs: Iterable[Run]) -> None:
  """Writes the runs as CSV, sorted by cell and seed, in one atomic step.

  Accuracies are written so that reading gives back the same float64.

  Raises:
    InputError: a run is malformed, or the same cell and seed occurs twice; nothing is written.
  """
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerow(Run._fields)
  for run in sorted(_checked(runs), key=lambda run: (cell_order(run.cell), run.seed)):
    # float() first: the repr of a NumPy scalar is not a number.
    accuracy = "" if run.accuracy is None else repr(float(run.accuracy))
    writer.writerow([*run[:5], accuracy, run.status])
  atomic_write_text(path, buffer.getvalue())


def read_results(path: str | os.PathLike) -> list[Run]:
  """The runs of a file that `write_results` wrote, in its order.

  Raises:
    InputError: there is no such file, or it is not what `write_results` writes.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise InputError(f"{path} is not a file; name a results.csv that an experiment wrote.")
  try:
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
  except (UnicodeDecodeError, csv.Error) as error:
    raise InputError(f"{path} is not a CSV file in UTF-8 ({error}).") from error
  if not rows or tuple(rows[0]) != Run._fields:
    found = ",".join(rows[0]) if rows else "nothing"
    raise InputError(f"{path} begins with {found!r}, not with {','.join(Run._fields)!r}.")
  return _checked(_parse(row, f"line {i} of {path}") for i, row in enumerate(rows[1:], start=2))


def _parse(row: list[str], where: str) -> Run:
  try:
    model, size, epochs, hidden, seed, accuracy, status = row
    value = float(accuracy) if accuracy else None
    return Run(model, int(size), int(epochs), int(hidden), int(seed), value, status)
  except ValueError as error:
    raise InputError(f"{where} is {','.join(row)!r}, not {','.join(Run._fields)}.") from error


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
