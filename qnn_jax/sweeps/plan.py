"""What a command asks for, and which part of it is still to do."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax

from qnn_jax.errors import InputError
from qnn_jax.sweeps import failures
from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.machine import cores
from qnn_jax.sweeps.points import Group, Point, in_slices
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task

SILENCE_SECONDS = 1800.0
"""How long a worker process may give no sign of life before it is killed."""


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What a command asks for.

  Attributes:
    task: the task of the experiment.
    points: all points, in the order of the results.
    workdir: the folder for the results.
    keep_params: whether a point is done only with its parameters on disk.
    part: (i, n), to run the i-th of n slices only; None for all.
    units: the names of units, to run these only; None for all.
    workers: the number of processes; None for the fastest number on this machine.
    lease_seconds: how long another launcher's counter must stand still before its units are taken over.
    config_file: the file that worker processes run first, since it may register heads.
    silence_seconds: how long a worker may give no sign of life; None for `SILENCE_SECONDS`. With a number, a
      single worker is a separate process too. With None it is this process, which nobody watches.
    retry_failed: whether only the points with a recorded failure run.
  """

  task: Task
  points: Sequence[Point]
  workdir: pathlib.Path
  keep_params: bool = False
  part: tuple[int, int] | None = None
  units: frozenset[str] | None = None
  workers: int | None = None
  lease_seconds: float = 60.0
  config_file: pathlib.Path | None = None
  silence_seconds: float | None = None
  retry_failed: bool = False


class Plan(NamedTuple):
  """What is left to do at present.

  Attributes:
    groups: the groups, in the order in which they should run.
    workers: how many processes run them.
  """

  groups: list[Group]
  workers: int

  @property
  def cost(self) -> float:
    """The cost of all groups."""
    return sum(group.cost for group in self.groups)


def is_done(sweep: Sweep, store: Store, point: Point) -> bool:
  """Whether the point's row is on disk, with its parameters if they are wanted."""
  found = store.found.get(point)
  return found is not None and (found.params or not sweep.keep_params)


def units_of(sweep: Sweep) -> dict[Point, str]:
  """point -> the name of its unit, the same in every launcher of the configuration, whatever is missing."""
  found: dict[Point, str] = {}
  for group in sweep.task.groups(sweep.points, len(sweep.points)):
    found |= dict.fromkeys(group.points, unit_name(group.points))
  return found


def owed(sweep: Sweep) -> list[Point]:
  """The points of this command: all, or those of its slice or of its units."""
  if sweep.units is not None:
    unit_of = units_of(sweep)
    return [point for point in sweep.points if unit_of[point] in sweep.units]
  if sweep.part is None:
    return list(sweep.points)
  i, n = sweep.part
  # The division must not depend on what is finished already, nor on the machine.
  mine = in_slices(sweep.task.groups(sweep.points, len(sweep.points)), n)
  kept = {point for group in (mine[i] if i < len(mine) else ()) for point in group.points}
  return [point for point in sweep.points if point in kept]


def plan(sweep: Sweep, store: Store) -> Plan:
  """The missing points in groups.

  Raises:
    InputError: the number of workers is below 1, or above 1 on an accelerator or with several devices, or
      --silence_seconds is given on an accelerator.
  """
  wanted = owed(sweep)
  missing = [point for point in wanted if not is_done(sweep, store, point)]
  if sweep.retry_failed:
    failed = failures.read(sweep.workdir)
    missing = [point for point in missing if failed and point.text() in failed]
  workers = workers_of(sweep, missing)
  return Plan(_groups(sweep, wanted, missing, workers), workers)


def _groups(sweep, wanted, missing, parts):
  if not missing:
    return []
  left, whole = dict.fromkeys(missing), []
  for group in sweep.task.groups(wanted, parts):
    if group.alone and any(point in left for point in group.points):
      whole.append(group)
      for point in group.points:
        left.pop(point, None)
  return whole + (sweep.task.groups(list(left), parts) if left else [])


def workers_of(sweep: Sweep, points: Sequence[Point]) -> int:
  """How many processes run these points; InputError if the sweep asks for an impossible number."""
  on_cpu = jax.default_backend() == "cpu"
  devices = jax.local_device_count()
  if sweep.silence_seconds is not None and not on_cpu:
    raise InputError(
      "--silence_seconds watches worker processes, and on an accelerator there are none; leave out the flag"
    )
  if sweep.workers is None:
    return max(1, sweep.task.workers(points, cores())) if on_cpu and devices == 1 else 1
  if sweep.workers < 1:
    raise InputError(f"--workers must be at least 1, got {sweep.workers}")
  if sweep.workers > 1 and not (on_cpu and devices == 1):
    where = f"with {devices} devices" if on_cpu else "on an accelerator"
    raise InputError(f"--workers must be 1 {where}, which they would share, got {sweep.workers}")
  return sweep.workers
