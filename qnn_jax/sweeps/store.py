"""Records: what is finished, on disk at once, for any number of writers.

DIR/records/ holds one JSON file for the rows that were finished together and share their fields. A file
is written whole or not at all, and never removed or changed (but for a damaged one, in whose place
the same rows are written), so that processes and machines need no lock. A record says what
its rows belong to (the resolved fields) and where they came from, so that it means the same in any workdir:

  {"format": 1, "experiment": "table4", "fields": {"learning_rate": 0.01, ...}, "axes": ["model", ...],
   "metrics": ["accuracy"], "rows": [["ann", ..., 0, 91.2, "ok"], ...], "params": false,
   "origin": {"finished": ..., "seconds": ..., "device": ..., "versions": {...}}}

DIR/params/ holds the final parameters of a record's points in a file of the same name, where the
config has keep_params.
"""

import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from absl import logging

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.sweeps import arrays
from qnn_jax.sweeps.points import STATUSES, Fields, Point, Row

FORMAT = 1
"""Of records, checkpoints, leases and kept parameters alike; another one is refused, untouched."""


class Found(NamedTuple):
  """A row on disk.

  Attributes:
    metrics, status: of the row.
    record: the name of its file, without the ending.
    params: whether its parameters are kept.
    seconds: that its record took, shared equally among its rows.
    finished: when, seconds since 1970.
  """

  metrics: Mapping[str, Any]
  status: str
  record: str
  params: bool
  seconds: float
  finished: float


class Store:
  """The rows of one experiment in a workdir: `found` is what has been read so far."""

  def __init__(self, workdir: pathlib.Path, experiment: str, axes: tuple[str, ...]):
    self.workdir = workdir
    self.found: dict[Point, Found] = {}
    self._experiment = experiment
    self._axes = axes
    self._read: set[str] = set()

  def read(self) -> "Store":
    """Reads the records that are new since the last time.

    A damaged file is left alone, named in a warning, and counts for none; so does a record of another
    experiment. Of two rows of a point the newer one counts.

    Raises:
      InputError: a record is of another format.
    """
    refuse_old_checkpoints(self.workdir)
    for name in sorted(_names(self.workdir / "records") - self._read):
      self._read.add(name)
      record = read_record(self.workdir / "records" / name)
      if record is None or record["experiment"] != self._experiment:
        continue
      if tuple(record["axes"]) == self._axes:
        self._take(record, name)
    return self

  def write(self, rows: Sequence[Row], seconds: float, *, keep_params: bool) -> None:
    """Puts rows that were finished together on disk, a record for those of the same fields."""
    alike: dict[Fields, list[Row]] = {}
    for row in rows:
      if row.status not in STATUSES:
        raise ValueError(f"the status of a row must be one of {STATUSES}, got '{row.status}'")
      alike.setdefault(row.point.fields, []).append(row)
    for fields, of_fields in alike.items():
      share = seconds * len(of_fields) / len(rows)
      self._write(fields, of_fields, share, keep_params)

  def _write(self, fields, rows, seconds, keep_params):
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    content = {
      "format": FORMAT,
      "experiment": self._experiment,
      "fields": fields.values,
      "axes": list(self._axes),
      "metrics": metrics,
      "rows": [
        [*row.point.values, *(_finite(row.metrics.get(name)) for name in metrics), row.status]
        for row in rows
      ],
      "params": keep_params,
    }
    # Named by its content: the same rows, done again because their file was damaged, mend it.
    name = f"{_slug([row.point for row in rows])}-{checksum(content)}.json"
    if keep_params:  # before the record, which promises them
      _write_params(self.workdir / "params" / name, rows)
    content["origin"] = _origin(seconds)
    folder = self.workdir / "records"
    folder.mkdir(exist_ok=True)
    atomic_write_text(folder / name, json.dumps(content).replace("], [", "],\n["))
    self._read.add(name)
    self._take(content, name)

  def _take(self, record, name):
    fields, origin = Fields(record["fields"]), record["origin"]
    count, metrics = len(self._axes), record["metrics"]
    share = origin["seconds"] / max(1, len(record["rows"]))
    stem, params, finished = name.removesuffix(".json"), record["params"], origin["finished"]
    for row in record["rows"]:
      point = Point(fields, self._axes, tuple(row[:count]))
      known = self.found.get(point)
      if known is None or known.finished <= finished:
        values = dict(zip(metrics, row[count:]))
        self.found[point] = Found(values, row[-1], stem, params, share, finished)


def read_record(path: pathlib.Path) -> dict[str, Any] | None:
  """A record; None, and a warning, if it is damaged.

  Raises:
    InputError: it is of another format.
  """
  try:
    record = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    logging.warning("%s is damaged (%s); its runs are done again", path, error)
    return None
  found = record.get("format") if isinstance(record, dict) else None
  if found != FORMAT:
    raise InputError(
      f"{path} is a record of {'an older' if found is None else 'another'} format "
      f"({'without a number' if found is None else found}, where this version has {FORMAT}); "
      "name another --workdir, or use the version that wrote it"
    )
  if not _is_whole(record) or not path.stem.endswith(f"-{checksum(record)}"):
    logging.warning("%s is damaged (it is not what was written); its runs are done again", path)
    return None
  return record


def _is_whole(record):
  """Whether all is there, and of its kind: a file may be damaged and JSON still."""
  kinds = {
    "experiment": str, "fields": dict, "axes": list, "metrics": list, "rows": list, "params": bool,
    "origin": dict,
  }  # fmt: skip
  if not all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
    return False
  if not all(isinstance(record["origin"].get(k), (int, float)) for k in ("seconds", "finished")):
    return False
  axes = len(record["axes"])
  width = axes + len(record["metrics"]) + 1
  return all(
    isinstance(row, list)
    and len(row) == width
    and not any(isinstance(value, (list, dict)) for value in row[:axes])
    for row in record["rows"]
  )


def read_all(workdir: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
  """(name, record) of every record in the workdir, of whatever experiment."""
  names = sorted(_names(workdir / "records"))
  every = ((name, read_record(workdir / "records" / name)) for name in names)
  return [(name.removesuffix(".json"), record) for name, record in every if record]


def refuse_old_checkpoints(workdir: pathlib.Path) -> None:
  """InputError if the workdir holds checkpoints of the former format, which were pickles."""
  for name in sorted(_names(workdir / "checkpoints", ".ckpt")):
    raise InputError(
      f"{workdir / 'checkpoints' / name} is a checkpoint of an older format; "
      "name another --workdir, or use the version that wrote it"
    )


def checksum(record: Mapping[str, Any]) -> str:
  """Of all but where it came from, which is another one each time: the end of a record's name."""
  text = json.dumps({key: value for key, value in record.items() if key != "origin"})
  return f"{zlib.crc32(text.encode()):08x}"


def _write_params(path, rows):
  header = {
    "format": FORMAT,
    "points": [[row.point.axes(), row.network] for row in rows],
    "fields": rows[0].point.fields.values,
  }
  arrays.write_tree(path.with_suffix(".npz"), [row.params for row in rows], header)


def _names(folder, ending=".json"):
  try:
    with os.scandir(folder) as entries:
      # A name with a dot first is a file that is being written.
      return {e.name for e in entries if e.name.endswith(ending) and not e.name.startswith(".")}
  except (FileNotFoundError, NotADirectoryError):
    return set()


def _slug(points):
  """What the points have in common, and the first of the rest, as a part of a file's name."""
  parts = []
  for name, *values in zip(points[0].names, *(point.values for point in points)):
    if name == points[0].names[-1] or len(set(values)) == 1:
      parts.append(f"{name}{values[0]}")
  return re.sub(r"[^A-Za-z0-9_.+-]", "_", "-".join(parts))[:120].lstrip(".")


def _origin(seconds):
  return {
    "finished": round(time.time(), 3),
    "seconds": round(seconds, 3),
    "host": platform.node(),
    "device": _device(),
    "versions": _versions(),
  }


def _finite(value):
  """The value as strict JSON has it: None for what is no finite number."""
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def _device():
  device = jax.devices()[0]
  if device.platform != "cpu":
    return device.device_kind
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return re.findall(r"^model name\s*: (.*)$", info, re.MULTILINE)[0]
  except (OSError, IndexError):
    return platform.machine()


@functools.cache
def _versions():
  found = {"python": platform.python_version()}
  for name in ("qnn_jax", "jax", "jaxlib", "flax", "numpy"):
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      found[name] = "from a checkout"
  return found
