"""DIR/fidelity.md and DIR/fidelity.csv: a test of every cell against the paper's, and of every claim."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.table4.claims import Claim, claims
from experiments.table4.fidelity import WIDE_GAP, fidelity, fidelity_line
from experiments.table4.paper import PAPER_MODELS, Cell, Stats
from experiments.table4.summary import Run, summarize
from experiments.table4.welch import (
  RATE,
  CellTest,
  cell_tests,
  mean_square_z,
  paper_error,
  rms_difference,
  rms_error,
  spread_ratio,
)
from qnn_jax.reports.rows import csv_text, markdown_table

CSV_FIELDS = (
  "train_size", "epochs", "hidden", "model", "mean", "std", "best", "worst", "runs", "paper_mean",
  "paper_std", "paper_best", "paper_worst", "difference", "standard_error", "welch_z", "p",
  "p_adjusted", "differs", "std_ratio", "note",
)  # fmt: skip


def to_csv(tests: Sequence[CellTest]) -> str:
  """One row per cell, in the table's order. Unknown values are empty; `differs` is 0 or 1."""
  return csv_text([CSV_FIELDS, *map(_csv_row, tests)])


def to_markdown(runs: Iterable[Run], paper: Mapping[Cell, Stats]) -> str:
  """The report: a summary, results by size and model, cells that differ, the claims, and every cell."""
  runs = list(runs)
  summary = summarize(runs)
  tests = cell_tests(summary, paper)
  lines = ["# How faithful this Table 4 is to the paper's", ""]
  line = fidelity_line(fidelity(summary, paper))
  lines += [f"{line[0].upper()}{line[1:]}.", ""]
  if not tests:
    return "\n".join(lines)
  lines += [*_short(tests), "", "## By training size and model", "", _BY_SIZE, ""]
  lines += [_by_size(tests), "## What the paper says", "", _CLAIMS, ""]
  lines += [_claims_table(claims(runs, paper, tests)), "## Every cell", "", _EVERY_CELL, "", ""]
  return "\n".join(lines) + _cells_table(tests)


def verdict_lines(tests: Sequence[CellTest]) -> list[str]:
  """The printed lines: the difference that chance alone would give, and the cells that differ; none without tests."""
  expected = rms_error(tests)
  if expected is None:
    return [verdict_line(tests)] if tests else []
  chance = f"chance alone would give {expected:.2f} points, since each mean is of a few runs only"
  return [chance, verdict_line(tests)]


def verdict_line(tests: Sequence[CellTest]) -> str:
  """One line that says how many cells differ, and which."""
  tested = [test for test in tests if test.adjusted is not None]
  if not tested:
    return "no cell has runs enough for a test against the paper's"
  differ = [test for test in tested if test.differs]
  line = f"{len(differ)} of {len(tested)} cells differ from the paper's (Welch's test, "
  line += f"false-discovery rate {RATE:.0%})"
  return line + (f": {', '.join(_name(test.cell) for test in differ)}" if differ else "")


_BY_SIZE = (
  "Difference is the root mean square of our means less the paper's; expected, what it would be if only "
  "the draw of the runs differed; both in points. Spread is the geometric mean of our standard "
  "deviations over the paper's."
)
_CLAIMS = (
  "Differences between models are taken seed by seed, on the same samples; intervals are 95 %. A place "
  "such as 600/5/10 is training size/epochs/hidden neurons."
)
_EVERY_CELL = (
  "Percent, with the paper's after a slash. z is Welch's statistic; p adjusted, of Benjamini and "
  f"Hochberg: a cell differs if it is at most {RATE}."
)


def _short(tests):
  z = mean_square_z(tests)
  rows = [f"- {_capital(verdict_line(tests))}."]
  rows += [f"- {_name(test.cell)} is in no test: {test.note}." for test in tests if test.note]
  rows.append(
    f"- Root mean square of the differences: {rms_difference(tests):.2f} points. The paper's means alone, "
    f"of 25 runs a cell, are uncertain by {paper_error(tests):.2f} points."
  )
  if z is None:
    return rows
  largest = max((test for test in tests if test.z is not None), key=lambda test: abs(test.z))
  rows.append(
    f"- If only the draw of the runs differed, {rms_error(tests):.2f} points would be expected, from our "
    "sampling error and the paper's."
  )
  rows.append(
    f"- Mean square of Welch's z: {z:.2f} (1 is expected). Largest: {largest.z:+.2f}, "
    f"{_name(largest.cell)}."
  )
  rows.append(f"- {_order(tests)}")
  ratios = ", ".join(
    f"{model} {ratio:.2f}"
    for model in PAPER_MODELS
    if (ratio := spread_ratio([test for test in tests if test.cell.model == model]))
  )
  return [*rows, f"- Our spread over the paper's: {ratios}."]


def _order(tests):
  """The pairs of models in a row whose means differ by more than `WIDE_GAP` in the paper."""
  by = {test.cell: test for test in tests}
  pairs = [
    (a, by[b])
    for cell, a in by.items()
    for b in (cell._replace(model=model) for model in PAPER_MODELS)
    if b in by and round(by[b].theirs.mean - a.theirs.mean, 6) > WIDE_GAP
  ]
  kept = sum(low.ours.mean < high.ours.mean for low, high in pairs)
  return (
    f"Pairs of models that the paper sets more than {WIDE_GAP:g} points apart: in its order in {kept} of "
    f"{len(pairs)}."
  )


def _by_size(tests):
  sizes = sorted({test.cell.train_size for test in tests})
  present = [m for m in PAPER_MODELS if any(test.cell.model == m for test in tests)]
  rows = []
  for size in [*sizes, None] if len(sizes) > 1 else sizes:
    for model in (*present, None):
      part = [
        test
        for test in tests
        if size in (None, test.cell.train_size) and model in (None, test.cell.model)
      ]
      rows.append(
        {
          "size": "all" if size is None else f"{size:,}",
          "model": model or "all",
          "cells": len(part),
          "difference": rms_difference(part),
          "expected": rms_error(part),
          "z2": mean_square_z(part),
          "spread": spread_ratio(part),
        }
      )
  columns = {
    "size": "training size", "model": "model", "cells": "cells", "difference": "difference",
    "expected": "expected", "z2": "mean square z", "spread": "spread",
  }  # fmt: skip
  return markdown_table(
    rows, columns, dict.fromkeys(("difference", "expected", "z2", "spread"), ".2f")
  )


def _claims_table(found: Sequence[Claim]) -> str:
  columns = {"text": "claim", "paper": "paper", "ours": "ours", "verdict": "verdict"}
  return markdown_table([claim._asdict() for claim in found], columns)


def _cells_table(tests):
  rows = []
  for test in tests:
    ours, theirs = test.ours, test.theirs
    rows.append(
      {
        "cell": _place(test.cell), "model": test.cell.model,
        "mean": f"{ours.mean:.2f} / {theirs.mean:.2f}",
        "std": f"{'-' if ours.std is None else format(ours.std, '.2f')} / {theirs.std:.2f}",
        "ends": f"{ours.best:.2f} {ours.worst:.2f} / {theirs.best:.2f} {theirs.worst:.2f}",
        "difference": test.difference, "error": test.error, "z": test.z, "adjusted": test.adjusted,
        "verdict": "not tested" if test.adjusted is None else "differs" if test.differs else "same",
      }
    )  # fmt: skip
  columns = {
    "cell": "size/epochs/hidden", "model": "model", "mean": "mean", "std": "standard deviation",
    "ends": "best, worst", "difference": "difference", "error": "standard error", "z": "z",
    "adjusted": "p adjusted", "verdict": "",
  }  # fmt: skip
  formats = {"difference": "+.2f", "error": ".2f", "z": "+.2f", "adjusted": ".3f"}
  return markdown_table(rows, columns, formats)


def _csv_row(test: CellTest) -> list[Any]:
  numbers = (
    *test.ours[:4], test.ours.runs, *test.theirs, test.difference, test.error, test.z, test.p,
    test.adjusted, int(test.differs) if test.adjusted is not None else None, test.std_ratio,
  )  # fmt: skip
  return [*test.cell, *(_rounded(number) for number in numbers), test.note]


def _rounded(value):
  return float(f"{value:.6g}") if isinstance(value, float) else value


def _place(cell: Cell) -> str:
  return f"{cell.train_size}/{cell.epochs}/{cell.hidden}"


def _name(cell: Cell) -> str:
  return f"{_place(cell)} {cell.model}"


def _capital(text: str) -> str:
  return f"{text[0].upper()}{text[1:]}"
