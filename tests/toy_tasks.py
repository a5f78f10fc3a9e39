"""Tasks that need no data and no training, for tests of the engine: they run in any process."""

import errno
import os
import pathlib
import signal
import time

import numpy as np

from qnn_jax.sweeps.launch import Sweep
from qnn_jax.sweeps.points import Fields, Group, Point, Row, Worked, in_parts
from qnn_jax.sweeps.task import Task

AXES = ("size", "seed")


def points(sizes=(1, 2), seeds=3, **fields):
  """A point a size and seed, with the fields that `run` looks at."""
  shared = Fields({"kind": "good", "log": "", **fields})
  return [Point(shared, AXES, (size, seed)) for size in sizes for seed in range(seeds)]


def groups(missing, parts):
  """The seeds of a size together, in as many groups as there are parts."""
  found = []
  for size in sorted({point["size"] for point in missing}):
    of_size = [point for point in missing if point["size"] == size]
    parts_of = in_parts(of_size, parts)
    found += [Group(part, size * len(part), program=f"{size}", title="") for part in parts_of]
  return found


def run(group, job):
  """Notes every point in a log, so that a test sees what ran, where, and how often."""
  for point in group.points:
    kind = point["kind"]
    if kind == "fails" and point["size"] == 2:
      raise ValueError("size 2 cannot be done\nfor a reason of two lines")
    if kind == "slow":
      time.sleep(0.3)
    if kind == "dies" and point["seed"] == 1 and not died(point):
      os._exit(3)
    if kind == "killed" and point["seed"] == 1:
      os.kill(os.getpid(), signal.SIGKILL)
    if kind == "stops" and point["seed"] == 1 and not died(point):
      os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "memory" and point["size"] == 2:
      np.zeros(10**15)
    if kind == "full" and point["size"] == 2:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere/records/a.json")
    if point["log"]:
      with open(point["log"], "a") as log:
        log.write(f"{point['size']} {point['seed']} {os.getpid()}\n")
    yield Worked(point["size"])
    params = {"layers": {0: {"kernel": np.full(2, point["seed"], np.float32)}}}
    value = point["size"] + point["seed"] / 10
    yield Row(
      point, {"value": value}, "diverged" if kind == "diverges" else "ok", params, {"layer": "ann"}
    )


def died(point):
  """Whether this was called before for the log's directory."""
  mark = pathlib.Path(point["log"]).with_suffix(".died")
  if mark.exists():
    return True
  mark.touch()
  return False


TASK = Task("toy", {"sizes": "size", "seeds": "seed"}, run, groups)


def alone(missing, parts):
  """One group of all, which asks to run alone and whole."""
  return [Group(tuple(missing), len(missing), alone=True)] if missing else []


ALONE = Task("toy", {"sizes": "size", "seeds": "seed"}, run, alone)


def sweep(workdir, wanted=None, task=TASK, **kwargs):
  """A sweep of these points."""
  workdir.mkdir(exist_ok=True)
  return Sweep(task, wanted or points(), workdir, **{"workers": 1, "lease_seconds": 2.0, **kwargs})
