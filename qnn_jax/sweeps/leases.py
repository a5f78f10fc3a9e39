"""Leases divide the work among launchers that share a workdir and do not know of each other.

A lease is a file in DIR/leases, created exclusively, for one unit: the points that a task cannot split. It
holds a counter that its owner increases. If a launcher sees a counter stand still for a set time on its own
clock, it may take the unit over by creating the next generation of the lease. If several launchers try, one
succeeds. If the former owner still runs, it notices this and gives up the unit; what it finishes is right
nevertheless. No launcher reads the clock of another machine.
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

from qnn_jax import living
from qnn_jax.atomic import atomic_write_bytes, create_exclusively, silent_files
from qnn_jax.errors import WorkdirError
from qnn_jax.sweeps import damage
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.records import FORMAT

SECONDS = 60.0
"""How long a counter must stand still before others take over."""


def unit_name(points: Sequence[Point]) -> str:
  """The name of a unit, the same in every launcher."""
  return f"{zlib.crc32('|'.join(sorted(point.text() for point in points)).encode()):08x}"


class _Seen(NamedTuple):
  """The content that was last read from another's lease, and when it was first seen, on our clock."""

  content: str
  since: float


class Leases:
  """The leases of one launcher: the units that it holds, and the leases of others that it has seen.

  Use it as a context manager: on exit it gives back the units that it holds.
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
    try:
      self._folder.mkdir(exist_ok=True)
    except OSError as error:
      raise WorkdirError.of(error) from error
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
    """Takes the leases of those units that are free; returns these units."""
    with self._lock:
      return {unit for unit in units if self._acquire_one(unit)}

  def release(self, units: Iterable[str]) -> None:
    """Gives units back, done or not."""
    with self._lock:
      for unit in units:
        generation = self._held.pop(unit, None)
        # A lease that was taken over is removed by its new owner: generations must have no gaps.
        if generation is None or self._path(unit, generation + 1).exists():
          continue
        if self._is_ours(self._path(unit, generation)):
          for number in reversed(range(generation + 1)):
            _unlink(self._path(unit, number))

  def live(self) -> set[str]:
    """The units that others hold, as far as this launcher has seen."""
    return {
      unit for unit, generations in self._files().items()
      if unit not in self._held and not self._is_stale(self._path(unit, max(generations)))
    }  # fmt: skip

  def forget(self, units: Callable[[], Iterable[str]]) -> None:
    """Removes the leases of owners that have ended. Call it when all that the configuration asks for is done.

    Nobody works on the configuration's own `units` by then, so that their leases are removed. Of the units of
    other configurations, it removes the leases of dead processes, and those from other machines that have given
    no sign of life for too long.
    """
    files = self._files()
    last = {unit: self._path(unit, max(generations)) for unit, generations in files.items()}
    over = set(units()).intersection(files) if files else set()
    elsewhere = []
    for unit in files.keys() - over:
      owner = _owner(last[unit])
      if owner is not None and living.is_dead(owner):
        over.add(unit)
      elif owner is None or owner.machine != living.machine():
        elsewhere.append(last[unit])
    silent = set(silent_files(self._folder, elsewhere, self._seconds))
    over |= {unit for unit in files if last[unit] in silent}
    for unit in over:
      for generation in sorted(files[unit], reverse=True):
        _unlink(self._path(unit, generation))
    with contextlib.suppress(OSError):
      self._folder.rmdir()

  def _acquire_one(self, unit):
    if unit in self._held:
      return False
    generation = 0
    while not self._create(self._path(unit, generation)):
      # The name is taken. If the next generation exists, this lease has been taken over.
      if not self._path(unit, generation + 1).exists():
        if not self._is_stale(self._path(unit, generation)):
          return False
      generation += 1
    self._held[unit] = generation
    return True

  def _is_stale(self, path):
    try:
      content = damage.read_file(path)[0].decode(errors="replace")
    except (Damaged, Unreadable):
      content = ""  # waited for as long as a lease that does not change
    except OSError:
      self._seen.pop(path, None)
      return False  # just given back: the next call will see
    now, seen = time.monotonic(), self._seen.get(path)
    if seen is None or seen.content != content:
      seen = self._seen[path] = _Seen(content, now)
    return now - seen.since >= self._seconds or _owner_is_dead(content)

  def _files(self) -> dict[str, list[int]]:
    """unit -> the generations of its leases."""
    found: dict[str, list[int]] = {}
    for path in self._folder.glob("[!.]*-*.json"):
      unit, _, number = path.stem.partition("-")
      if number.isdecimal():
        found.setdefault(unit, []).append(int(number))
    return found

  def _tick(self):
    while not self._ended.wait(self._seconds / 6):
      with self._lock:
        self._count += 1
        for unit, generation in list(self._held.items()):
          path = self._path(unit, generation)
          if self._path(unit, generation + 1).exists() or not self._is_ours(path):
            del self._held[unit]  # another took over, since this process stood still
            continue
          with contextlib.suppress(OSError):  # such as a full disk: if it lasts, another takes over
            atomic_write_bytes(path, self._content(), sync=False)

  def _is_ours(self, path):
    try:
      return json.loads(damage.read_file(path)[0])["owner"] == self._owner
    except (OSError, ValueError, LookupError, TypeError, RecursionError, Damaged, Unreadable):
      return False

  def _content(self):
    process = living.this()._asdict()
    content = {
      "format": FORMAT, "owner": self._owner, "count": self._count, "process": process
    }  # fmt: skip
    return json.dumps(content).encode()

  def _create(self, path):
    try:
      # Nobody needs a lease after a power cut. Another launcher may just have removed the empty folder.
      return create_exclusively(path, self._content(), make_folder=True, sync=False)
    except OSError as error:
      raise WorkdirError.of(error) from error

  def _path(self, unit, generation):
    return self._folder / f"{unit}-{generation}.json"


def _unlink(path):
  with contextlib.suppress(OSError):
    path.unlink()


def _owner_is_dead(content):
  """Whether the owner was a process of this machine that has ended, so that nobody needs to wait for it."""
  owner = _process(content)
  return owner is not None and living.is_dead(owner)


def _owner(path):
  try:
    return _process(damage.read_file(path)[0].decode(errors="replace"))
  except (OSError, Damaged, Unreadable):
    return None


def _process(content):
  """The process that a lease names; None if it names none."""
  try:
    process = json.loads(content)["process"]
    process = living.Process(*(process[name] for name in living.Process._fields))
    return process if type(process.pid) is int else None
  except (ValueError, LookupError, TypeError, RecursionError):
    return None
