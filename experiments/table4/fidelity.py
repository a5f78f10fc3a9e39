"""How close our table is to the paper's, in a few numbers and one line."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

from experiments.table4.paper import PAPER_MODELS, Cell, Row, Stats, rows_of
from experiments.table4.summary import CellSummary

WIDE_GAP = 2.0
"""Percentage points: a row is wide if the paper's neighbouring models differ by more than this."""


@dataclasses.dataclass(frozen=True)
class Fidelity:
  """Our means compared with the paper's, over the cells that both tables have.

  Attributes:
    rms: root mean square of our mean minus the paper's, in percentage points; None without cells.
    cells: the number of cells in both tables (a cell whose runs all diverged has no mean).
    rms_by_size: the same for each training size, as (train_size, rms) pairs, small sizes first.
    rows: the number of rows with all three of the paper's models in both tables.
    rows_kept: the number of these rows in which our models have the paper's order.
    wide_rows: the number of rows in which the paper has ann < rpqnn < qnn with both gaps above `WIDE_GAP`.
    wide_kept: the number of these rows in which we have ann < rpqnn < qnn.
    diverged: the number of runs excluded from our means because they diverged, over all our cells.
  """

  rms: float | None
  cells: int
  rms_by_size: tuple[tuple[int, float], ...]
  rows: int
  rows_kept: int
  wide_rows: int
  wide_kept: int
  diverged: int


def fidelity(summary: Mapping[Cell, CellSummary], paper: Mapping[Cell, Stats]) -> Fidelity:
  """Compares the cells that are there, so that a partial table gives the fidelity of its part."""
  difference = {
    cell: ours.mean - paper[cell].mean
    for cell, ours in summary.items()
    if cell in paper and ours.mean is not None
  }
  sizes = sorted({cell.train_size for cell in difference})
  rows = [_means(row, summary, paper) for row in rows_of(difference) if _complete(row, difference)]
  wide = [(ours, theirs) for ours, theirs in rows if _is_wide(theirs)]
  return Fidelity(
    rms=_rms(difference.values()) if difference else None,
    cells=len(difference),
    rms_by_size=tuple(
      (size, _rms(d for cell, d in difference.items() if cell.train_size == size)) for size in sizes
    ),
    rows=len(rows),
    rows_kept=sum(_keeps_order(ours, theirs) for ours, theirs in rows),
    wide_rows=len(wide),
    wide_kept=sum(_keeps_order(ours, theirs) for ours, theirs in wide),
    diverged=sum(ours.diverged for ours in summary.values()),
  )


def fidelity_line(result: Fidelity) -> str:
  """The line about fidelity that an experiment prints at its end."""
  if result.rms is None:
    parts = ["fidelity: no finished cell is one of the paper's, so there is nothing to compare"]
  else:
    points = f"fidelity: {result.rms:.2f} points root-mean-square from the paper's means"
    parts = [f"{points} over {_count(result.cells, 'cell')}", _order_part(result)]
  if result.diverged:
    parts.append(f"{_count(result.diverged, 'diverged run')} left out")
  return "; ".join(parts)


def _order_part(result: Fidelity) -> str:
  if not result.rows:
    return "no row has all three of the paper's models"
  kept = f"the paper's order of the three models kept in {result.rows_kept} of "
  kept += _count(result.rows, "row")
  if not result.wide_rows:
    return kept
  wide = f"{result.wide_kept} of {result.wide_rows} where the paper's gaps exceed two points"
  return f"{kept} ({wide})"


def _complete(row: Row, cells: Mapping[Cell, object]) -> bool:
  return all(Cell(*row, model) in cells for model in PAPER_MODELS)


def _means(row: Row, summary, paper) -> tuple[dict[str, float], dict[str, float]]:
  ours = {model: summary[Cell(*row, model)].mean for model in PAPER_MODELS}
  theirs = {model: paper[Cell(*row, model)].mean for model in PAPER_MODELS}
  return ours, theirs


def _keeps_order(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
  # If two models are equal in the paper, any order of ours is right. If they differ in the paper, a
  # tie of ours is wrong.
  pairs = itertools.permutations(PAPER_MODELS, 2)
  return all(ours[low] < ours[high] for low, high in pairs if theirs[low] < theirs[high])


def _is_wide(theirs: Mapping[str, float]) -> bool:
  # Rounded, because the paper's means have two decimals and 83.2 - 81.2 in floating point is above 2.
  gaps = theirs["rpqnn"] - theirs["ann"], theirs["qnn"] - theirs["rpqnn"]
  return all(round(gap, 6) > WIDE_GAP for gap in gaps)


def _rms(values) -> float:
  squares = [value * value for value in values]
  return math.sqrt(math.fsum(squares) / len(squares))


def _count(n: int, noun: str) -> str:
  return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
