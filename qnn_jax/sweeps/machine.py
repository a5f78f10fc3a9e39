"""This machine: its cores, and what a record says of where its rows were computed.

A record keeps the origin of its rows, so that a report can tell the machine that ran them from the machine that
only makes the report.
"""

import functools
import importlib.metadata
import math
import os
import pathlib
import platform
import re
import time
from typing import Any

import jax

# What a container may use of the processors, in microseconds of a period: "200000 100000", or "max 100000".
_QUOTA = pathlib.Path("/sys/fs/cgroup/cpu.max")
# How much memory a container may use, in bytes, or "max".
_MEMORY = pathlib.Path("/sys/fs/cgroup/memory.max")
_PACKAGES = ("qnn_jax", "jax", "jaxlib", "flax", "optax", "numpy")


def cores() -> int:
  """CPU cores that this process may use: of its affinity, and no more than a container's limit allows."""
  if hasattr(os, "sched_getaffinity"):
    there = len(os.sched_getaffinity(0))
  else:
    there = os.cpu_count() or 1
  try:
    quota, period = map(int, _QUOTA.read_text(encoding="ascii").split())
  except (OSError, ValueError):  # no such limit
    return there
  return max(1, min(there, math.ceil(quota / period)))


def origin(seconds: float) -> dict[str, Any]:
  """Where and when rows were computed, for their record: this machine, this process, now.

  Args:
    seconds: how long the rows took.

  Returns:
    finished (seconds since 1970), seconds, and what `_here` says of the machine.
  """
  return {"finished": round(time.time(), 3), "seconds": round(seconds, 3)} | _here()


@functools.cache
def _here():
  return {
    "host": platform.node(),
    "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    "device": _device(),
    "devices": jax.local_device_count(),
    "cores": os.cpu_count() or 1,
    "cores_a_process": cores(),
    "memory": _memory(),
    "versions": _versions(),
  }


def _device():
  device = jax.local_devices()[0]
  if device.platform != "cpu":
    return device.device_kind
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return re.findall(r"^model name\s*: (.*)$", info, re.MULTILINE)[0]
  except (OSError, IndexError):
    return platform.machine()


def _memory():
  """Bytes of memory of the machine, and no more than a container may use; 0 where nothing tells."""
  try:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (AttributeError, OSError, ValueError):  # no POSIX system, or one without these names
    return 0
  try:
    return min(there, int(_MEMORY.read_text(encoding="ascii")))
  except (OSError, ValueError):  # no such limit
    return there


def _versions():
  found = {"python": platform.python_version()}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      found[name] = "from a checkout"
  return found
