"""Whether the process that wrote a file is still there: for processes of this machine, told at once.

No clock and no other machine is asked. What cannot be told counts as alive.
"""

import functools
import os
import pathlib
import platform
import zlib
from typing import NamedTuple


class Process(NamedTuple):
  """A process, as a file names its writer.

  Attributes:
    machine: what its number is of; "" where that cannot be told.
    pid: its number.
    started: when it began, in the system's ticks; None where that cannot be told.
  """

  machine: str
  pid: int
  started: str | None


def this() -> Process:
  """This process."""
  return Process(machine(), os.getpid(), _started(os.getpid()))


def machine() -> str:
  """What process numbers are of: this host, boot, and namespaces of processes and of time.

  Containers share a boot, and each has processes of its own; where ticks are counted from depends on
  the namespace of time.
  """
  return _machine(os.getpid())


@functools.lru_cache(maxsize=1)  # of this process: a fork has another number
def _machine(pid):
  try:
    # In a new namespace whose /proc is still the old one's, numbers there are of other processes.
    if os.readlink("/proc/self") != str(pid):
      return ""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    spaces = [os.readlink("/proc/self/ns/pid")]
    if os.path.lexists("/proc/self/ns/time"):
      spaces.append(os.readlink("/proc/self/ns/time"))
    return " ".join([platform.node(), boot, *spaces])
  except OSError:
    return ""


def tag() -> str:
  """This process as a part of a file's name, for `of_tag`."""
  return _tag(os.getpid())


@functools.lru_cache(maxsize=1)
def _tag(pid):
  process = this()
  return f"{_short(process.machine)}-{process.pid}-{process.started or 'x'}"


def of_tag(text: str) -> Process | None:
  """The process that `tag` was of; None if it is none of this machine, or unknown."""
  short, _, rest = text.partition("-")
  pid, _, started = rest.partition("-")
  here = machine()
  if not here or short != _short(here) or not pid.isdigit() or not started.isdigit():
    return None
  return Process(here, int(pid), started)


def is_dead(process: Process) -> bool:
  """Whether it was a process of this machine that is no more."""
  here = machine()
  if not here or process.machine != here or process.started is None:
    return False
  try:
    os.kill(process.pid, 0)
  except ProcessLookupError:
    return True
  except (OSError, OverflowError):
    pass  # another user's, say
  now = _started(process.pid)  # /proc may hide other users' processes
  return now is not None and now != process.started


def _short(name):
  return f"{zlib.crc32(name.encode()):08x}"


def _started(pid):
  """When the process began; "" if it has ended and only its parent has not asked how; None if unknown."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
  except (OSError, IndexError, ValueError):
    return None
