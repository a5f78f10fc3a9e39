"""Whether the process that wrote a file is still alive, for processes of this machine.

The answer needs no clock and no other machine. A process of which nothing is known counts as alive.
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
    machine: the machine whose process it is, see `machine`; "" if unknown.
    pid: the process id.
    started: when the process began, in the system's ticks; None if unknown.
  """

  machine: str
  pid: int
  started: str | None


def this() -> Process:
  """This process."""
  return Process(machine(), os.getpid(), _started(os.getpid()))


def machine() -> str:
  """A name for what a process id is unique in: this host, boot, and its process and time namespaces.

  Containers share a boot but have process ids of their own. The time namespace sets where ticks are
  counted from.
  """
  return _machine(os.getpid())


@functools.lru_cache(maxsize=1)  # per process: a fork has another pid
def _machine(pid):
  try:
    # In a new namespace /proc may still be that of the old one: its pids belong to other processes.
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
  """This process as a part of a file name, which `of_tag` reads."""
  return _tag(os.getpid())


@functools.lru_cache(maxsize=1)
def _tag(pid):
  process = this()
  return f"{_short(process.machine)}-{process.pid}-{process.started or 'x'}"


def of_tag(text: str) -> Process | None:
  """The process whose `tag` this is; None if it belongs to another machine or is unknown."""
  short, _, rest = text.partition("-")
  pid, _, started = rest.partition("-")
  here = machine()
  if not here or short != _short(here) or not pid.isdigit() or not started.isdigit():
    return None
  return Process(here, int(pid), started)


def is_dead(process: Process) -> bool:
  """Whether it is a process of this machine that has ended."""
  here = machine()
  if not here or process.machine != here or process.started is None:
    return False
  try:
    os.kill(process.pid, 0)
  except ProcessLookupError:
    return True
  except (OSError, OverflowError):
    pass  # the process of another user, say
  now = _started(process.pid)  # /proc may hide other users' processes
  return now is not None and now != process.started


def _short(name):
  return f"{zlib.crc32(name.encode()):08x}"


def _started(pid):
  """When the process began; "" for a zombie (ended, not yet waited for by its parent); None if unknown."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
  except (OSError, IndexError, ValueError):
    return None
