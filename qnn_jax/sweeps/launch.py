"""The engine: what is missing, in groups, by leases, through workers, onto the disk, as events."""

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import checkpoints, processes, worker
from qnn_jax.sweeps.leases import Leases, unit_name
from qnn_jax.sweeps.points import Group, Point, in_slices
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task, cores
from qnn_jax.sweeps.worker import Ended, Event, Failed, Idle, Rows, Started

_WAIT = 1.0  # seconds between two looks at what other launchers do


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What a command asks for.

  Attributes:
    task: the experiment's.
    points: all that it owes, in the order of its results.
    workdir: where they go.
    keep_params: whether a point is done only with its parameters on disk.
    part: (i, n), to run the i-th of n slices only; None for all.
    workers: processes; None for what is fastest here.
    lease_seconds: how long another launcher's counter must stand still.
    config_file: what worker processes run first, for what it registers.
  """

  task: Task
  points: Sequence[Point]
  workdir: pathlib.Path
  keep_params: bool = False
  part: tuple[int, int] | None = None
  workers: int | None = None
  lease_seconds: float = 60.0
  config_file: pathlib.Path | None = None


class Plan(NamedTuple):
  """What is left to do here, as things stand.

  Attributes:
    groups: in the order in which they should run.
    workers: how many processes run them.
  """

  groups: list[Group]
  workers: int

  @property
  def cost(self) -> float:
    """Of all groups."""
    return sum(group.cost for group in self.groups)


class Waiting(NamedTuple):
  """An event: nothing is left here but what this many points of other launchers' groups will be."""

  points: int


class Over(NamedTuple):
  """An event: this group was run by another launcher meanwhile."""

  group: Group


def is_done(sweep: Sweep, store: Store, point: Point) -> bool:
  """Whether the point's row is on disk, with its parameters if they are wanted."""
  found = store.found.get(point)
  return found is not None and (found.params or not sweep.keep_params)


def owed(sweep: Sweep) -> list[Point]:
  """The points of this command: all, or those of its slice."""
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
    InputError: fewer than one worker, or several on an accelerator.
  """
  wanted = owed(sweep)
  missing = [point for point in wanted if not is_done(sweep, store, point)]
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
  """How many processes run these points; InputError for a number that cannot be."""
  on_cpu = jax.default_backend() == "cpu"
  if sweep.workers is None:
    return max(1, sweep.task.workers(points, cores())) if on_cpu else 1
  if sweep.workers < 1:
    raise InputError(f"--workers must be at least 1, got {sweep.workers}")
  if sweep.workers > 1 and not on_cpu:
    raise InputError(
      f"--workers must be 1 on an accelerator, which they would share, got {sweep.workers}"
    )
  return sweep.workers


def run(sweep: Sweep, store: Store, todo: Plan) -> Iterator[Event | Waiting | Over]:
  """Does what is missing and yields events as they come; what a `Rows` tells of is on disk already.

  A group that fails, with an exception, is told of in a `Failed`, and the others go on.

  Raises:
    InputError: a group's input is wrong.
    WorkerDied: a worker process ended before its work.
  """
  if not todo.groups:
    _clean(sweep, store)
    return
  with Leases(sweep.workdir, sweep.lease_seconds) as leases:
    queue = _Queue(sweep, store, leases, todo)
    yield from _in_turn(sweep, queue, alone=True)
    workers = min(todo.workers, len(queue.left))
    if workers > 1:
      yield from _side_by_side(sweep, queue, workers)
    else:
      yield from _in_turn(sweep, queue, alone=False)
  _clean(sweep, store)


def _clean(sweep, store):
  """Removes what a finished sweep needs no more, but for what others are at."""
  store.read()
  if all(is_done(sweep, store, point) for point in sweep.points):
    leases = Leases(sweep.workdir, sweep.lease_seconds)
    leases.forget(lambda: _units(sweep).values())
    if not leases.live():
      checkpoints.tidy(sweep.workdir)


def _units(sweep):
  """point -> the name of its unit: alike in every launcher of this configuration, whatever is missing."""
  units: dict[Point, str] = {}
  for group in sweep.task.groups(sweep.points, len(sweep.points)):
    units |= dict.fromkeys(group.points, unit_name(group.points))
  return units


class _Queue:
  """The groups that are left, and the next one for a worker: the part of it that others leave to us."""

  def __init__(self, sweep, store, leases, todo):
    self._sweep, self._store, self._leases = sweep, store, leases
    self.left = list(todo.groups)
    self._unit = _units(sweep)
    self._taken: dict[str, int] = {}  # program -> how many workers have compiled it

  def next(self, programs: Sequence[str] = (), *, alone: bool = False) -> Group | None:
    """A group for a worker that has compiled these programs; None if there is none to be had now."""
    todo = [group for group in self.left if group.alone == alone]
    # Its own program first, then one that nobody has, then any.
    rank = lambda g: 0 if g.program in programs else 1 if g.program not in self._taken else 2
    for group in sorted(todo, key=rank):
      mine = self._acquired(group)
      if mine:
        self.left.remove(group)
        if len(mine.points) < len(group.points):  # the rest another launcher is at, and may give up
          kept = set(mine.points)
          rest = tuple(point for point in group.points if point not in kept)
          self.left.append(dataclasses.replace(group, points=rest, title=""))
        if group.program not in programs:
          self._taken[group.program] = self._taken.get(group.program, 0) + 1
        return mine
    return None

  def _acquired(self, group):
    units = {self._unit[point] for point in group.points}
    won = self._leases.acquire(units)
    if not won:
      return None
    self._store.read()  # what others have finished, they have put on disk before they gave it back
    done = lambda point: is_done(self._sweep, self._store, point)
    if group.alone and won == units and not all(map(done, group.points)):
      return group
    mine = [p for p in group.points if self._unit[p] in won and not done(p)]
    if group.alone or not mine:
      self._leases.release(won)
      return None
    self._leases.release(won - {self._unit[point] for point in mine})
    if len(mine) == len(group.points):
      return group
    share = group.cost * len(mine) / len(group.points)
    return dataclasses.replace(group, points=tuple(mine), cost=share, title="")

  def end(self, group):
    """Gives a group back, done or not."""
    self._leases.release({self._unit[point] for point in group.points})

  def over(self) -> Iterator[Over]:
    """Drops the groups that others have finished."""
    self._store.read()
    for group in list(self.left):
      if all(is_done(self._sweep, self._store, point) for point in group.points):
        self.left.remove(group)
        yield Over(group)

  def waiting(self) -> Waiting:
    """What others are at."""
    return Waiting(sum(len(group.points) for group in self.left))


def _in_turn(sweep, queue, *, alone):
  """Groups one after another in this process, until none is left, ours or another's."""
  programs: list[str] = []
  place = sweep.task, sweep.workdir, sweep.keep_params
  while any(group.alone == alone for group in queue.left):
    group = queue.next(programs, alone=alone)
    if group is None:
      yield from queue.over()
      if any(group.alone == alone for group in queue.left):
        yield queue.waiting()
        time.sleep(_WAIT)
      continue
    programs.append(group.program)
    try:
      yield from worker.run_group(*place, group)
    finally:
      queue.end(group)


def _side_by_side(sweep, queue, count):
  inboxes = [processes.context.Queue() for _ in range(count)]
  programs: list[list[str]] = [[] for _ in range(count)]
  at_work: dict[int, Group] = {}
  idle: set[int] = set()

  def feed():
    for i in sorted(idle):
      group = queue.next(programs[i])
      if group is None and queue.left:
        continue  # another launcher's group, which may come to us
      idle.discard(i)
      inboxes[i].put(group)
      if group:
        programs[i].append(group.program)
        at_work[i] = group

  place = sweep.task, sweep.workdir, sweep.keep_params
  each = [(i, *place, sweep.config_file, inbox) for i, inbox in enumerate(inboxes)]
  try:
    for event in processes.run(worker.work, each, ticks=True):
      if event is None:  # nothing has come for a while
        yield from queue.over()
        feed()
        if len(idle) == count and queue.left:
          yield queue.waiting()
      elif isinstance(event, Idle):
        if event.worker in at_work:
          queue.end(at_work.pop(event.worker))
        idle.add(event.worker)
        feed()
      else:
        yield event
  except WorkerDied as error:
    raise WorkerDied(f"{error}; the same command carries on from what is finished") from error


__all__ = [
  "Ended", "Event", "Failed", "Over", "Plan", "Rows", "Started", "Sweep", "Waiting", "is_done", "owed",
  "plan", "run",
]  # fmt: skip
