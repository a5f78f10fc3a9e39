"""The rows of a sweep: any number of processes write them to disk as they finish.

DIR/records/ holds a record (see `records`) for rows that finished together and share their fields. A record
is written whole or not at all, and never removed or changed (a damaged one is moved to DIR/damaged). So
processes and machines need no lock. If the config has keep_params, DIR/params/ holds the final parameters
of a record's points in a file of the same name.
"""

import math
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from qnn_jax.atomic import atomic_write_bytes
from qnn_jax.errors import InputError, WorkdirError
from qnn_jax.sweeps import arrays, damage, machine, records
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.points import STATUSES, Fields, Point, Row
from qnn_jax.sweeps.possible import Possible
from qnn_jax.sweeps.records import FORMAT, Expected, checksum

# Two runs of a point on two machines agree if their numbers differ by no more than this, relative or absolute.
_ROUNDING = {"rel_tol": 1e-3, "abs_tol": 1e-5}


class Found(NamedTuple):
  """A row on disk.

  Attributes:
    metrics, status: of the row.
    record: the name of its file, without the ending.
    params: whether its parameters are on disk.
    seconds: the time of its record, divided equally among the rows of the record.
    rank: see `rank`.
  """

  metrics: Mapping[str, Any]
  status: str
  record: str
  params: bool
  seconds: float
  rank: tuple


def rank(record: Mapping[str, Any], stem: str) -> tuple:
  """The rank of a record: of two records of a point the one with the larger rank counts, on every machine.

  A record with parameters ranks above one without. Then the record with more rows ranks higher. Then the name
  decides, which depends on the content alone. No machine's clock is used.
  """
  return record["params"], len(record["rows"]), stem


class Store:
  """The rows of one experiment in a workdir, as far as they have been read.

  Attributes:
    found: point -> its row.
    origins: name of a record, without the ending -> where and when its rows were computed.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    experiment: str,
    axes: tuple[str, ...],
    possible: Possible | None = None,
  ):
    self.workdir = workdir
    self.found: dict[Point, Found] = {}
    self.origins: dict[str, Mapping[str, Any]] = {}
    self._expected = Expected(experiment, axes, possible or Possible())
    self._read: set[str] = set()
    self._contradictions: dict[tuple[str, str], Point] = {}
    self._told = self._looked = False

  def read(self) -> "Store":
    """Reads the records that are new since the last time.

    A damaged file is named in a warning, moved to DIR/damaged and ignored. A record of another experiment is
    ignored. Of two rows of a point the one with the larger `rank` counts. If they contradict each other, a
    warning names both files, once.

    Raises:
      InputError: a record is of another format.
    """
    if not self._looked:
      refuse_old_checkpoints(self.workdir)
      self._looked = True
    folder = self.workdir / "records"
    for name in sorted(_names(folder, known=self._read)):
      record = _read_record(self.workdir, name, self._expected)
      if record is None:
        continue  # its runs are done again, and their record may have the same name
      self._read.add(name)
      if record["experiment"] == self._expected.experiment:
        self._take(record, name)
    if self._contradictions and not self._told:
      self._told = True
      (one, other), point = next(iter(self._contradictions.items()))
      more = len(self._contradictions) - 1
      pairs = f", and so do {_others(more, 'pair')} of records" if more else ""
      logging.warning(
        "%s and %s contradict each other (for example %s)%s; of all records of that run, %s counts",
        folder / f"{one}.json", folder / f"{other}.json", _difference(point), pairs,
        folder / f"{self.found[point].record}.json",
      )  # fmt: skip
    return self

  def tell_of_others(self, points: Collection[Point]) -> None:
    """Gives one warning if the workdir holds runs of other points than these, which no report shows."""
    wanted = set(points)
    others = [(found.record, point) for point, found in self.found.items() if point not in wanted]
    if others:
      record, point = min(others, key=lambda other: other[0])
      files = len({record for record, _ in others})
      same = {p.fields for p in wanted}
      values = point.axes() if point.fields in same else point.fields.values
      logging.warning(
        "%s%s: %s that %s not asked for here and in no report (such as %s; see the config in %s)",
        self.workdir / "records" / f"{record}.json",
        f" and {_others(files - 1, 'record')}" if files > 1 else "",
        "1 run" if len(others) == 1 else f"{len(others):,} runs",
        "is" if len(others) == 1 else "are",
        _short(", ".join(f"{k} = {v!r}" for k, v in values.items())),
        self.workdir / "config.json",
      )

  def write(self, rows: Sequence[Row], seconds: float, *, keep_params: bool) -> None:
    """Writes rows that finished together to disk, one record for the rows of the same fields.

    Raises:
      WorkdirError: they could not be written.
      ValueError: a row has a value that its task calls impossible.
    """
    alike: dict[Fields, list[Row]] = {}
    for row in rows:
      if row.status not in STATUSES:
        raise ValueError(f"the status of a row must be one of {STATUSES}, got '{row.status}'")
      alike.setdefault(row.point.fields, []).append(row)
    for fields, of_fields in alike.items():
      share = seconds * len(of_fields) / len(rows)
      try:
        self._write(fields, of_fields, share, keep_params)
      except OSError as error:
        raise WorkdirError.of(error) from error

  def _write(self, fields, rows, seconds, keep_params):
    content = records.content_of(self._expected, fields, rows, keep_params)
    records.check(content, self._expected)
    name = records.name_of(content, rows)
    if keep_params:  # before the record, which says that they are there
      _write_params(self.workdir / "params" / name, rows)
    origin = machine.origin(seconds)
    text = records.text_of(content, origin)
    atomic_write_bytes(self.workdir / "records" / name, text.encode(), make_folder=True)
    self._read.add(name)
    self._take(content | {"origin": origin}, name)

  def _take(self, record, name):
    fields, axes, metrics = Fields(record["fields"]), self._expected.axes, record["metrics"]
    stem, share = name.removesuffix(".json"), record["origin"]["seconds"] / len(record["rows"])
    count, of_record = len(axes), rank(record, stem)
    self.origins[stem] = record["origin"]
    params = record["params"] and (self.workdir / "params" / f"{stem}.npz").exists()
    for row in record["rows"]:
      point = Point(fields, axes, tuple(row[:count]))
      known = self.found.get(point)
      found = Found(dict(zip(metrics, row[count:-1])), row[-1], stem, params, share, of_record)
      if known is not None and not self._agree(known, found):
        self._contradictions.setdefault((min(known.record, stem), max(known.record, stem)), point)
      if known is None or known.rank <= of_record:
        self.found[point] = found

  def _agree(self, one, other):
    if one.status != other.status or one.metrics.keys() != other.metrics.keys():
      return False
    measured = self._expected.possible.measured
    return all(alike(one.metrics[k], other.metrics[k]) for k in one.metrics if k not in measured)


def alike(one: Any, other: Any) -> bool:
  """Whether two values of a metric are equal to rounding."""
  if isinstance(one, list) and isinstance(other, list):
    return len(one) == len(other) and all(map(alike, one, other))
  numbers = (int, float)
  if type(one) in numbers and type(other) in numbers:
    return math.isclose(one, other, **_ROUNDING)
  return one == other


def _others(count, name):
  return f"1 other {name}" if count == 1 else f"{count:,} other {name}s"


def _difference(point):
  return _short(", ".join(f"{name} {value}" for name, value in point.axes().items()))


def _short(text):
  return text if len(text) < 200 else f"{text[:197]}..."


def _read_record(workdir, name, expected, move=True):
  path = workdir / "records" / name
  try:
    return records.read(path, expected)
  except FileNotFoundError:
    return None  # another process has just set it aside
  except Unreadable as error:  # it may be whole, so it stays where it is
    damage.name_once(path, f"cannot be read ({error}); its runs are done again")
  except Damaged as error:
    damage.set_aside(workdir, path, error, "its runs are done again", move=move)
  return None


def read_all(workdir: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
  """(name, record) of every record in the workdir, of whatever experiment; nothing is moved."""
  names = sorted(_names(workdir / "records"))
  every = ((name, _read_record(workdir, name, None, move=False)) for name in names)
  return [(name.removesuffix(".json"), record) for name, record in every if record]


def refuse_old_checkpoints(workdir: pathlib.Path) -> None:
  """InputError if the workdir holds checkpoints of the former format, which were pickles."""
  for name in sorted(_names(workdir / "checkpoints", ".ckpt")):
    raise InputError(
      f"{workdir / 'checkpoints' / name} is a checkpoint of an older format; "
      "name another --workdir, or use the version that wrote it"
    )


def _write_params(path, rows):
  header = {
    "format": FORMAT,
    "points": [[row.point.axes(), row.network] for row in rows],
    "fields": rows[0].point.fields.values,
  }
  arrays.write_tree(path.with_suffix(".npz"), [row.params for row in rows], header)


def _names(folder, ending=".json", known=frozenset()):
  try:
    # Called for each group, when thousands are known. A name that begins with a dot is a file being written.
    names = set(os.listdir(folder)) - known
    return {name for name in names if name.endswith(ending) and not name.startswith(".")}
  except (FileNotFoundError, NotADirectoryError):
    return set()
  except OSError as error:  # without the list all finished runs would be done again
    raise WorkdirError(
      f"cannot read {folder}: {error.strerror}; nothing was done, and nothing is lost"
    ) from error


__all__ = ["FORMAT", "Found", "Store", "alike", "checksum", "rank", "read_all"]
