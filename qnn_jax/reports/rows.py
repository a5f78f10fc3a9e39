"""Rows of plain values -> CSV and back, and markdown: what an experiment's records are made of."""

import csv
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError

Value = str | int | float | None
Row = dict[str, Any]  # of `Value`s


def csv_text(lines: Iterable[Iterable[object]]) -> str:
  """Lines of cells, the heads first -> CSV; None is left empty."""
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator="\n").writerows(lines)
  return buffer.getvalue()


def markdown_row(cells: Iterable[object]) -> str:
  """One line of a markdown table, without its end."""
  return f"| {' | '.join(map(str, cells))} |"


def write_rows(path: str | os.PathLike, rows: Sequence[Row]) -> None:
  """Writes rows that all have the same keys as CSV, in one atomic step; None is left empty."""
  buffer = io.StringIO()
  writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  atomic_write_text(path, buffer.getvalue())


def read_rows(path: str | os.PathLike) -> list[Row]:
  """The rows of a file that `write_rows` wrote, its numbers as numbers.

  Raises InputError if the file is not a whole table.
  """
  with pathlib.Path(path).open(encoding="utf-8", newline="") as file:
    names, *lines = list(csv.reader(file)) or [[]]
  if not lines or any(len(line) != len(names) for line in lines):
    raise InputError(f"{path} is damaged; remove it, and the same command makes it again")
  return [dict(zip(names, map(_parse, line))) for line in lines]


def stored_rows(path: str | os.PathLike, compute: Callable[[], Sequence[Row]]) -> list[Row]:
  """The rows at `path`; computed and stored there first unless they already are.

  What is returned has always been read back, so that a finished run and its rerun report the same.
  """
  if not pathlib.Path(path).exists():
    write_rows(path, compute())
  return read_rows(path)


def markdown_table(
  rows: Sequence[Row], columns: Mapping[str, str], formats: Mapping[str, str] | None = None
) -> str:
  """A markdown table.

  Args:
    rows: as in `write_rows`.
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


def _parse(text: str) -> Value:
  if not text:
    return None
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      pass
  return text
