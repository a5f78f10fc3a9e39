"""The default report of an experiment: means and standard deviations over the seeds, in one table."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row, csv_text, markdown_table, mean_of


def report(name: str, axes: Sequence[str], seed: str, rows: Sequence[Mapping[str, Any]]) -> Report:
  """Means and standard deviations of every metric that is a number, over the runs that did not diverge.

  Args:
    name: of the experiment.
    axes: the axes of its points.
    seed: the axis that is averaged over.
    rows: with a value for each axis, the metrics and the status.
  """
  lines = summarize([axis for axis in axes if axis != seed], seed, rows)
  columns = {key: key.replace("_", " ") for key in lines[0]} if lines else {}
  formats = {key: ".4g" for key in columns if any(isinstance(line[key], float) for line in lines)}
  text = (
    f"# {name}\n\n{markdown_table(lines, columns, formats) if lines else 'No run is finished.'}"
  )
  table = csv_text([list(columns), *([line[key] for key in columns] for line in lines)])
  return Report({f"{name}.md": text.rstrip() + "\n", f"{name}.csv": table}, said=text)


def summarize(keys: Sequence[str], seed: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
  """A line for each combination of the keys."""
  apart = {*keys, seed, "status"}
  metrics = [m for m in dict.fromkeys(k for row in rows for k in row) if m not in apart]
  numbers = [m for m in metrics if all(_is_number(row.get(m)) for row in rows)]
  lines: list[Row] = []
  for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
    mine = [row for row in rows if tuple(row[key] for key in keys) == values]
    good = [row for row in mine if row["status"] != "diverged"]
    line: Row = dict(zip(keys, values))
    line |= {"runs": len(mine), "diverged": len(mine) - len(good)}
    for metric in numbers:
      found = [float(row[metric]) for row in good if row.get(metric) is not None]
      line[metric] = mean_of(found) if found else None
      line[f"{metric}_std"] = statistics.stdev(found) if len(found) > 1 else None
    lines.append(line)
  return lines


def _is_number(value):
  return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
