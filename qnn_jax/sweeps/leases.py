"""Leases: which launcher runs what, for launchers that share a workdir and know nothing of each other.

A lease is a file of DIR/leases, created exclusively, for one unit: the points that a task cannot split. It
holds a counter that its owner raises. Who sees a counter stand still for a set time, on his own clock, may
take the unit over, by creating the lease's next generation: of those who try, one succeeds. The former
owner, should he live on, finds out and leaves the unit alone; what he finishes is right nevertheless.
No clock of another machine is read.
"""

import contextlib
import json
import os
import pathlib
import platform
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from qnn_jax.atomic import atomic_write_text
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.store import FORMAT

SECONDS = 60.0
"""How long a counter must stand still before others take over."""


def unit_name(points: Sequence[Point]) -> str:
  """The name of a unit: the same in every launcher that knows it."""
  return f"{zlib.crc32('|'.join(sorted(point.text() for point in points)).encode()):08x}"


class _Seen(NamedTuple):
  """What was last read of another's lease, and since when, on our clock, it has been that."""

  content: str
  since: float


class Leases:
  """The leases of one launcher: what it holds, and what it has seen of others.

  Use it as a context: on the way out it gives back what it holds.
  """

  def __init__(self, workdir: pathlib.Path, seconds: float = SECONDS):
    self._folder = workdir / "leases"
    self._seconds = seconds
    self._owner = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    self._held: dict[str, int] = {}  # unit -> generation
    self._seen: dict[pathlib.Path, _Seen] = {}
    self._count = 0
    self._lock = threading.Lock()
    self._ended = threading.Event()

  def __enter__(self) -> "Leases":
    self._folder.mkdir(exist_ok=True)
    self._ticker = threading.Thread(target=self._tick, daemon=True)
    self._ticker.start()
    return self

  def __exit__(self, *_):
    self._ended.set()
    self._ticker.join()
    self.release(list(self._held))
    with contextlib.suppress(OSError):  # others have leases there
      self._folder.rmdir()

  def acquire(self, units: Iterable[str]) -> set[str]:
    """Those of the units that are ours from now on."""
    current = self._current()
    with self._lock:
      won = {unit for unit in units if self._acquire_one(unit, current.get(unit))}
    return won

  def release(self, units: Iterable[str]) -> None:
    """Gives units back, done or not."""
    with self._lock:
      for unit in units:
        generation = self._held.pop(unit, None)
        if generation is not None and self._is_ours(self._path(unit, generation)):
          for number in range(generation + 1):
            self._path(unit, number).unlink(missing_ok=True)

  def live(self) -> set[str]:
    """Units that others hold, as far as can be seen by now."""
    current = self._current()
    return {
      unit for unit, path in current.items()
      if unit not in self._held and not self._is_stale(path)
    }  # fmt: skip

  def forget(self, units: Callable[[], Iterable[str]]) -> None:
    """Removes the leases of these units, all of whose points are done: of owners that are no more."""
    current = self._current()
    done = set(units()) if current else set()
    for unit in done.intersection(current):
      for path in self._folder.glob(f"{unit}-*.json"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
      self._folder.rmdir()

  def _acquire_one(self, unit, path):
    if unit in self._held:
      return False
    generation = 0
    if path is not None:
      if not self._is_stale(path):
        return False
      generation = _generation(path) + 1
    try:
      self._write(self._path(unit, generation), exclusively=True)
    except FileExistsError:
      return False
    self._held[unit] = generation
    return True

  def _is_stale(self, path):
    try:
      content = path.read_bytes().decode(errors="replace")
    except OSError:
      self._seen.pop(path, None)
      return False  # given back this moment: the next look will tell
    now, seen = time.monotonic(), self._seen.get(path)
    if seen is None or seen.content != content:
      seen = self._seen[path] = _Seen(content, now)
    return now - seen.since >= self._seconds or _owner_is_dead(content)

  def _current(self) -> dict[str, pathlib.Path]:
    """unit -> the lease of its last generation."""
    last: dict[str, pathlib.Path] = {}
    for path in self._folder.glob("*-*.json"):
      unit = path.name.partition("-")[0]
      if unit and (unit not in last or _generation(path) > _generation(last[unit])):
        last[unit] = path
    return last

  def _tick(self):
    while not self._ended.wait(self._seconds / 6):
      with self._lock:
        self._count += 1
        for unit, generation in list(self._held.items()):
          path = self._path(unit, generation)
          if self._path(unit, generation + 1).exists() or not self._is_ours(path):
            del self._held[unit]  # another has taken over: this process must have stood still
            continue
          with contextlib.suppress(OSError):  # a full disk, say: if it lasts, another takes over
            self._write(path)

  def _is_ours(self, path):
    try:
      return json.loads(path.read_text(encoding="utf-8"))["owner"] == self._owner
    except (OSError, ValueError, KeyError, TypeError):
      return False

  def _write(self, path, *, exclusively=False):
    content = json.dumps(
      {"format": FORMAT, "owner": self._owner, "count": self._count, "process": _process()}
    )
    if exclusively:
      _create(path, content)
    else:
      atomic_write_text(path, content)

  def _path(self, unit, generation):
    return self._folder / f"{unit}-{generation}.json"


def _create(path, content):
  """Creates the file whole, as a link; FileExistsError if the name is taken."""
  whole = path.with_name(f".tmp-{uuid.uuid4().hex}")
  while True:
    path.parent.mkdir(exist_ok=True)
    try:
      whole.write_text(content, encoding="utf-8")
      os.link(whole, path)
      return
    except FileNotFoundError:
      continue  # another launcher has just given back its last lease, and the folder with it
    finally:
      whole.unlink(missing_ok=True)


def _generation(path):
  number = path.stem.partition("-")[2]
  return int(number) if number.isdigit() else -1


def _machine():
  """What process numbers are of: this boot of this system, and its namespace of processes."""
  try:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""


def _started(pid):
  """When the process began, in the system's ticks; None if there is none."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
  except OSError:
    return None
  return stat.rpartition(")")[2].split()[19]


def _process():
  return {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def _owner_is_dead(content):
  """Whether the owner was a process of this machine that is no more: nobody need wait for it."""
  try:
    process = json.loads(content)["process"]
    machine, pid, started = process["machine"], process["pid"], process["started"]
  except (ValueError, KeyError, TypeError):
    return False
  if not machine or machine != _machine() or started is None:
    return False
  return _started(pid) != started
