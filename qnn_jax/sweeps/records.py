"""A record: the rows that were finished together and share their fields, as a file of JSON.

  {"format": 1, "experiment": "table4", "fields": {"learning_rate": 0.01, ...}, "axes": ["model", ...],
   "metrics": ["accuracy"], "rows": [["ann", ..., 0, 91.2, "ok"], ...], "params": false,
   "origin": {"finished": ..., "seconds": ..., "device": ..., "cores": ..., "versions": {...}}}

Its name ends with a checksum of everything but the origin: the same rows, computed again, have the same file name.
"""

import json
import math
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qnn_jax.errors import InputError
from qnn_jax.sweeps import damage
from qnn_jax.sweeps.damage import Damaged
from qnn_jax.sweeps.points import Fields, Row
from qnn_jax.sweeps.possible import Possible, scalar

FORMAT = 1
"""The format of records, checkpoints, leases and kept parameters; files of another format are left alone."""

_KINDS = {
  "format": int, "experiment": str, "fields": dict, "axes": list, "metrics": list, "rows": list,
  "params": bool, "origin": dict,
}  # fmt: skip
_ATOMS = {str, int, float, bool, type(None)}
# Numbers of a record that describe its machine; records from before version 1.0 lack them.
_COUNTS = ("devices", "cores", "cores_a_process", "memory")
_DEEPEST = 20  # levels of nested lists: no metric has more, and Python's own limit is near
_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


class Expected(NamedTuple):
  """What the records of an experiment must be like."""

  experiment: str
  axes: tuple[str, ...]
  possible: Possible


def content_of(
  expected: Expected, fields: Fields, rows: Sequence[Row], keep_params: bool
) -> dict[str, Any]:
  """The record of these rows, which all have these fields, without its origin."""
  metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
  return {
    "format": FORMAT,
    "experiment": expected.experiment,
    "fields": fields.values,
    "axes": list(expected.axes),
    "metrics": metrics,
    "rows": [
      [*row.point.values, *(_finite(row.metrics.get(name)) for name in metrics), row.status]
      for row in rows
    ],
    "params": keep_params,
  }


def check(content: Mapping[str, Any], expected: Expected) -> None:
  """Raises ValueError for rows that could not be read again, which is a mistake of the task."""
  if why := _fault_of_rows(json.loads(json.dumps(content)), expected):
    raise ValueError(f"{expected.experiment} gave rows that its task calls impossible: {why}")


def text_of(content: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
  """The file of a record with this origin, see `machine.origin`."""
  return json.dumps({**content, "origin": origin}).replace("], [", "],\n[")


def name_of(content: Mapping[str, Any], rows: Sequence[Row]) -> str:
  """The name of its file."""
  return f"{_slug([row.point for row in rows])}-{checksum(content)}.json"


def checksum(record: Mapping[str, Any]) -> str:
  """The checksum at the end of a record's name: of everything but the origin, which differs each time."""
  text = json.dumps({key: value for key, value in record.items() if key != "origin"})
  return f"{zlib.crc32(text.encode()):08x}"


def read(path: pathlib.Path, expected: Expected | None = None) -> dict[str, Any]:
  """Reads a record and checks that it is complete and possible. The task checks a record of its own experiment.

  Raises:
    FileNotFoundError: the file is gone.
    Unreadable: the file cannot be read now.
    Damaged: the file is not a record, is not what was written, or holds impossible values.
    InputError: the record has another format, and may be whole.
  """
  data, status = damage.read_file(path)
  try:
    record = json.loads(data.decode("utf-8"))
    _refuse_other_format(path, record)
    if why := _fault(path, data, record, expected):
      raise Damaged(why, status)
    return record
  except (ValueError, RecursionError) as error:
    if isinstance(error, InputError):
      raise
    raise Damaged(_reason(error), status) from None


def _reason(error):
  if isinstance(error, RecursionError):
    return "it is nested too deeply"
  if isinstance(error, UnicodeError):
    return "it is no text"
  return " ".join(str(error).split())[:200]


def _refuse_other_format(path, record):
  of_former = isinstance(record, list) and record and all(isinstance(row, dict) for row in record)
  found = record.get("format") if isinstance(record, dict) else None
  if of_former or (type(found) is int and FORMAT < found < 1000):
    raise InputError(
      f"{path} is a record of {'an older' if of_former else 'a later'} format "
      f"({'without a number' if of_former else found}, where this version has {FORMAT}); "
      "name another --workdir, or use the version that wrote it"
    )


def _fault(path, data, record, expected):
  """What is wrong with a record, in words; "" if nothing is."""
  if not isinstance(record, dict) or not all(
    type(record.get(name)) is kind for name, kind in _KINDS.items()
  ):
    return "it is no record"
  if record["format"] != FORMAT or record.keys() != _KINDS.keys():
    return "it is no record"
  if not path.stem.endswith(f"-{checksum(record)}"):
    return "it is not what was written"
  if _HALF_A_CHARACTER.search(data):  # two of them make a character, such as an emoji
    json.dumps(record, ensure_ascii=False).encode("utf-8")
  if _is_deep(record["fields"]):
    return "its fields are impossible"
  if not _is_origin(record["origin"]):
    return "its origin is impossible"
  return _fault_of_rows(record, expected)


def _fault_of_rows(record, expected):
  axes, metrics, rows = record["axes"], record["metrics"], record["rows"]
  possible = Possible()
  if expected is not None and record["experiment"] == expected.experiment:
    possible = expected.possible
    if tuple(axes) != expected.axes:
      return f"its axes are {_shown(axes)}, not {_shown(list(expected.axes))}"
  names = [*axes, *metrics]
  if not all(type(name) is str for name in names) or len(set(names)) < len(names):
    return "its columns are impossible"
  if possible.metrics and set(metrics) != possible.metrics.keys():
    return f"its metrics are {_shown(metrics)}, not {_shown(list(possible.metrics))}"
  if not (axes and rows) or not all(
    type(row) is list and len(row) == len(names) + 1 for row in rows
  ):
    return "its rows are impossible"
  *columns, statuses = zip(*rows)
  for status in statuses:
    if type(status) is not str or status not in possible.statuses:
      return f"status cannot be {_shown(status)}"
  for name, column in zip(axes, columns):
    check, types = possible.axes.get(name, scalar), set(map(type, column))
    # True equals 1: equal values may be checked once only if all values have one type.
    for value in dict.fromkeys(column) if len(types) == 1 and types <= _ATOMS else column:
      if type(value) not in _ATOMS or not _can_be(check, value):
        return f"{name} cannot be {_shown(value)}"
  points = list(zip(*columns[: len(axes)]))
  if len(set(points)) < len(points):
    return "it has a run twice"
  for name, column in zip(metrics, columns[len(axes) :]):
    check = possible.metrics.get(name, _is_some_value)
    for value, status in zip(column, statuses):
      if not _can_be(check, value) and (value is not None or status != "diverged"):
        return f"{name} cannot be {_shown(value)}"
  if possible.fits:
    for row in rows:
      of_point = record["fields"] | dict(zip(axes, row))
      of_run = dict(zip(metrics, row[len(axes) :]), status=row[-1])
      if not _can_be(lambda run, point=of_point: possible.fits(point, run), of_run):
        return f"a row does not fit its point: {_shown(row[: len(axes)])}"
  return ""


def _is_origin(origin):
  seconds, finished = origin.get("seconds"), origin.get("finished")
  return (
    type(seconds) in (int, float)
    and 0 <= seconds < 1e12
    and type(finished) in (int, float)
    and abs(finished) < 1e15
    and all(type(origin.get(name, "")) is str for name in ("host", "device", "system"))
    and all(
      type(origin.get(name, 1)) is int and 0 <= origin.get(name, 1) < 1e18 for name in _COUNTS
    )
    and type(origin.get("versions", {})) is dict
  )


def _can_be(check, value):
  try:
    return check(value)
  except Exception:  # the check of a task, which may compare a string with a number
    return False


def _is_some_value(value):
  if isinstance(value, (list, dict)):
    return not _is_deep(value) and all(
      _is_some_value(v) for v in (value.values() if isinstance(value, dict) else value)
    )
  return type(value) is bool or scalar(value)


def _is_deep(value, left=_DEEPEST):
  if not isinstance(value, (list, dict)):
    return False
  within = value.values() if isinstance(value, dict) else value
  return not left or any(_is_deep(v, left - 1) for v in within)


def _shown(value):
  text = ascii(value)
  return text if len(text) < 60 else f"{text[:57]}..."


def _slug(points):
  """The values that all points share, and the first value of the last axis, as a part of a file name."""
  parts = []
  for name, *values in zip(points[0].names, *(point.values for point in points)):
    if name == points[0].names[-1] or len(set(values)) == 1:
      parts.append(f"{name}{values[0]}")
  return re.sub(r"[^A-Za-z0-9_.+-]", "_", "-".join(parts))[:120].lstrip(".")


def _finite(value):
  """The value as strict JSON allows it: None for a number that is not finite."""
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
