"""The runs of a section as HTML: a row for each cell, which opens to show the cell's runs."""

import collections
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from qnn_jax.reports.page._data import Cell, Runs
from qnn_jax.reports.page._text import NONE, anchor, decimals, escape, number, scrolling
from qnn_jax.reports.rows import mean_of

MOST_CELLS = 5_000
MOST_RUNS = 50_000
"""With more, the page would open slowly; results.csv has them all."""

_MOST_TEXTS = 4  # different texts of a cell that are counted one by one
_NAMES = {"std": "std. dev."}


def runs_table(runs: Runs, label: str, prefix: str) -> str:
  """The table, with a sentence that says what it shows.

  Args:
    runs: of the section.
    label: what the table is, for screen readers.
    prefix: what the ids of its cells begin with.
  """
  cells: dict[Cell, list[Mapping[str, Any]]] = {}
  for row in runs.rows:
    cells.setdefault(tuple(row[key] for key in runs.keys), []).append(row)
  for cell in runs.missing:  # cells without any run come last
    cells.setdefault(cell, [])
  shown = dict(list(cells.items())[:MOST_CELLS])
  table = _Table(runs, shown)
  ids = _ids(runs.keys, shown, prefix)
  body = "\n".join(table.cell(cell, rows, ids[cell]) for cell, rows in shown.items())
  whole = f"<table class=runs><thead>{table.head()}</thead>\n{body}\n</table>"
  return f"<p>{table.note(len(cells))}</p>\n{scrolling(whole, label)}"


def _ids(keys, cells, prefix):
  found: dict[Cell, str] = {}
  taken: collections.Counter[str] = collections.Counter()
  for cell in cells:
    name = f"{prefix}{anchor(dict(zip(keys, cell)))}"
    taken[name] += 1
    found[cell] = name if taken[name] == 1 else f"{name}--{taken[name]}"
  return found


class _Table:
  """What all rows of the table share: which columns there are, and how their numbers are written."""

  def __init__(self, runs: Runs, cells: Mapping[Cell, Sequence[Mapping[str, Any]]]):
    self.runs = runs
    kinds = {name: _kind([row.get(name) for row in runs.rows]) for name in runs.metrics}
    self.numbers = [name for name, kind in kinds.items() if kind == "number"]
    self.texts = [name for name, kind in kinds.items() if kind == "text"]
    self.left_out = [name for name, kind in kinds.items() if kind == "list"]
    self.several = any(len(rows) + runs.missing.get(cell, 0) > 1 for cell, rows in cells.items())
    self.opens = self.several and len(runs.rows) <= MOST_RUNS
    self.statistics = ["value"]
    if self.several:
      self.statistics = ["mean", "std"] + ["min", "max"] * (len(self.numbers) <= 2)
    self.beside = list(dict.fromkeys(k for of_cell in runs.beside.values() for k in of_cell))
    self.difference = "mean" in self.beside and len(self.numbers) == 1 and self.several
    self.number_keys = [
      all(isinstance(cell[i], (int, float)) for cell in cells) for i in range(len(runs.keys))
    ]
    values = {name: _numbers(runs.rows, name) for name in self.numbers}
    self.places = {name: _places(of_name) for name, of_name in values.items()}
    self.places_of_runs = {name: _places_of_runs(of_name) for name, of_name in values.items()}
    theirs = [float(v) for of_cell in runs.beside.values() for v in of_cell.values()]
    self.beside_places = decimals(theirs)

  def note(self, count: int) -> str:
    """What the table shows, in sentences."""
    said = []
    if self.several:
      what = f"Each row is the runs that differ only in their {escape(self.runs.seed)}."
      said += [what, "Runs that diverged are counted, but not averaged."]
    if self.opens:
      said.append("Open a number in the column “runs” to see each run.")
    if self.several and not self.opens:
      said.append("There are too many runs to show each one here; results.csv has them.")
    if count > MOST_CELLS:
      said.append(f"Only the first {MOST_CELLS:,} of {count:,} rows are here; results.csv has all.")
    if self.left_out:
      names = ", ".join(f"<code>{escape(name)}</code>" for name in self.left_out)
      said.append(f"Lists are left out here: {names}. The folder <code>records</code> has them.")
    return " ".join(said) or "Each row is one run."

  def head(self) -> str:
    """One or two rows of heads; those of the last row sort."""
    sort = lambda text, n=True: (
      f"<th scope=col{' class=n' * n}><button type=button>{escape(text)}</button></th>"
    )
    # Names above, where a measure has several columns.
    above = [f'<td colspan="{len(self.runs.keys) + 1}"></td>']
    last = [sort(key, n) for key, n in zip(self.runs.keys, self.number_keys)]
    last.append(sort("runs" if self.several else "status", self.several))
    for name in self.numbers:
      if self.several:
        last += [sort(_NAMES.get(what, what)) for what in self.statistics]
        above.append(_above(name, len(self.statistics)))
      else:
        last.append(sort(name))
        above.append("<td></td>")
    if self.beside:
      last += [sort(_NAMES.get(what, what)) for what in self.beside]
      last += [sort("ours − paper’s")] * self.difference
      above.append(_above("the paper’s", len(self.beside) + self.difference))
    last += [sort(name, False) for name in self.texts]
    above += [f'<td colspan="{len(self.texts)}"></td>'] * bool(self.texts)
    names = f"<tr class=above>{''.join(above)}</tr>\n" if self.several or self.beside else ""
    return f"{names}<tr class=sort>{''.join(last)}</tr>"

  def cell(self, cell: Cell, rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """The row of a cell, and the hidden one of its runs."""
    good = [row for row in rows if row["status"] != "diverged"]
    parts = [_td(_shown(v), n) for v, n in zip(cell, self.number_keys)]
    parts.append(self._count(cell, rows, good))
    mean = None
    for metric in self.numbers:
      found, places = _statistics(_numbers(good, metric)), self.places[metric]
      parts += [_td(number(found[what], places[what]), True) for what in self.statistics]
      mean = found["mean"]
    theirs = self.runs.beside.get(cell, {})
    parts += [_td(number(theirs.get(what), self.beside_places), True) for what in self.beside]
    if self.difference:
      off = None if mean is None or "mean" not in theirs else mean - theirs["mean"]
      parts.append(_td(number(off, self.beside_places, "+"), True))
    texts = [_counted([row.get(metric) for row in rows]) for metric in self.texts]
    parts += [f"<td class=t>{text}</td>" for text in texts]
    inner = self._inner(rows, len(parts)) if self.opens and rows else ""
    return f'<tbody id="{escape(name)}"><tr>{"".join(parts)}</tr>{inner}</tbody>'

  def _count(self, cell, rows, good):
    missing = self.runs.missing.get(cell, 0)
    if not self.several:
      status = rows[0]["status"] if rows else "not finished"
      return f"<td{' class=bad' * (status != 'ok')}>{escape(status)}</td>"
    text = f"{len(rows):,}" + (f" of {len(rows) + missing:,}" if missing else "")
    if self.opens and rows:
      text = f"<details><summary>{text}</summary></details>"
    others = collections.Counter(row["status"] for row in rows if row["status"] != "ok")
    notes = "".join(f"<span class=bad>{n:,} {escape(s)}</span>" for s, n in others.items())
    return f"<td class=n>{text}{notes}</td>"

  def _inner(self, rows, columns):
    """A hidden row that the opened cell shows: each run with its seed."""
    seed = self.runs.seed
    if len(self.numbers) == 1 and not self.texts:
      (metric,) = self.numbers
      items = "".join(
        f"<li{' class=bad' * (row['status'] != 'ok')}><b>{escape(row.get(seed, ''))}</b> {self._run(row, metric)}</li>"
        for row in rows
      )
      what = f"<p>{escape(metric)} by {escape(seed)}:</p><ul class=values>{items}</ul>"
    else:
      names = [*self.numbers, *self.texts]
      head = "".join(
        f"<th{' class=n' * (name in self.numbers)}>{escape(name)}</th>"
        for name in [seed, *names, "status"]
      )
      lines = "".join(
        f"<tr{' class=bad' * (row['status'] != 'ok')}>{_td(_shown(row.get(seed)), False)}"
        + "".join(_td(self._value(row, name), name in self.numbers) for name in names)
        + f"{_td(escape(row['status']), False)}</tr>"
        for row in rows
      )
      what = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'\n<tr class=inner><td colspan="{columns}">{what}</td></tr>'

  def _run(self, row, metric):
    return self._value(row, metric) if row["status"] == "ok" else escape(row["status"])

  def _value(self, row, name):
    value = row.get(name)
    if name in self.numbers and value is not None:
      return number(value, self.places_of_runs[name], most=6)
    return _shown(value)


def _above(name, columns):
  return f'<th colspan="{columns}" scope=colgroup>{escape(name)}</th>'


def _td(text, is_number):
  return f"<td class=n>{text}</td>" if is_number else f"<td>{text}</td>"


def _kind(values):
  there = [value for value in values if value is not None]
  if any(isinstance(value, (list, tuple, dict)) for value in there):
    return "list"
  is_number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
  return "number" if all(map(is_number, there)) else "text"


def _numbers(rows, name):
  return [float(row[name]) for row in rows if row.get(name) is not None]


def _places(values):
  """statistic -> how many decimals it has in a column of such values."""
  values = [value for value in values if math.isfinite(value)]
  places = decimals(values)
  if places is not None and all(value.is_integer() for value in values):
    return {"value": 0, "min": 0, "max": 0, "mean": min(places, 2), "std": min(places, 2)}
  return dict.fromkeys(("value", "min", "max", "mean", "std"), places)


def _places_of_runs(values):
  """How many decimals show each of the values with six figures; None if some are too large or small for that."""
  texts = [f"{value:.6g}" for value in values if math.isfinite(value)]
  if any("e" in text for text in texts):
    return None
  return max((len(text.partition(".")[2]) for text in texts), default=0)


def _statistics(values):
  if not values:
    return dict.fromkeys(("value", "mean", "std", "min", "max"))
  mean = mean_of(values)
  std = statistics.stdev(values) if len(values) > 1 else None
  return {"value": values[0], "mean": mean, "std": std, "min": min(values), "max": max(values)}


def _counted(values):
  """Texts with how often each occurs, the most frequent first."""
  found = collections.Counter(_shown(value) for value in values if value is not None)
  if len(found) > _MOST_TEXTS:
    return f"{len(found):,} different"
  if len(values) == 1:
    return next(iter(found), NONE)
  return ", ".join(f"{text} × {n:,}" for text, n in found.most_common()) or NONE


def _shown(value):
  if value is None:
    return NONE
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return escape(value)
  text = f"{value:.6g}" if isinstance(value, float) else str(value)
  return text.replace("-", "\N{MINUS SIGN}") if value < 0 else text
