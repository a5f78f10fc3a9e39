"""Rows of plain values -> means, CSV and markdown, as reports have them."""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Value = str | int | float | None
"""A value in a table."""
Row = dict[str, Any]
"""A line of a table: column -> `Value`."""


def mean_of(values: Sequence[float]) -> float:
  """The mean of `values`, at least one finite number; their sum may overflow."""
  try:
    return statistics.fmean(values)
  except OverflowError:
    return statistics.mean(values)  # exact, and many times slower


def csv_text(lines: Iterable[Iterable[object]]) -> str:
  """The CSV text of lines of cells, the header first; None becomes an empty cell."""
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows(lines)
  return buffer.getvalue()


def markdown_row(cells: Iterable[object]) -> str:
  """The cells as one line of a markdown table, without a line end."""
  return f"| {' | '.join(map(str, cells))} |"


def markdown_table(
  rows: Sequence[Row], columns: Mapping[str, str], formats: Mapping[str, str] | None = None
) -> str:
  """A markdown table.

  Args:
    rows: with the keys of the columns.
    columns: key -> head, in the order of the columns; other keys are left out.
    formats: key -> format specification of its numbers, such as ".3f"; None prints as '-'.

  Returns:
    Its lines, numbers to the right and text to the left; ends with a line end.
  """
  formats = formats or {}
  align = ["---" if any(isinstance(row[key], str) for row in rows) else "---:" for key in columns]
  lines = [list(columns.values()), align]
  lines += [[_show(row[key], formats.get(key, "")) for key in columns] for row in rows]
  return "".join(f"{markdown_row(line)}\n" for line in lines)


def _show(value: Value, specification: str) -> str:
  if value is None:
    return "-"
  return value if isinstance(value, str) else format(value, specification)
