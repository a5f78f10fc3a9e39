"""The remaining groups. A worker gets the next one, or the part of it that other launchers do not hold."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from qnn_jax.sweeps import failures
from qnn_jax.sweeps.leases import Leases
from qnn_jax.sweeps.plan import Sweep, is_done, units_of
from qnn_jax.sweeps.points import Group
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Failed


class Over(NamedTuple):
  """An event: this group was run by another launcher meanwhile."""

  group: Group


class Waiting(NamedTuple):
  """An event: this launcher has nothing left to do, and other launchers still run this many points."""

  points: int


class Queue:
  """The remaining groups: `next` takes one, `end` gives it back."""

  def __init__(self, sweep: Sweep, store: Store, leases: Leases, groups: Sequence[Group]):
    self._sweep, self.store, self._leases = sweep, store, leases
    self._unit = units_of(sweep)
    self._failures = failures.entries(sweep.workdir, {})
    # Failures of earlier commands, which this command tries again.
    self._known = {content["attempt"] for content in self._failures.values()}
    self._taken: dict[str, int] = {}  # program -> how many workers have compiled it
    self._numbers = itertools.count()
    # number -> group, in the order of the numbers: for each (alone, program), and for each `alone`.
    self._left: dict[tuple[bool, str], dict[int, Group]] = {}
    self._every: dict[bool, dict[int, Group]] = {True: {}, False: {}}
    for group in groups:
      self.add(group)

  def add(self, group: Group) -> None:
    """Puts a group at the end."""
    number = next(self._numbers)
    self._left.setdefault((group.alone, group.program), {})[number] = group
    self._every[group.alone][number] = group

  def left(self, alone: bool | None = None) -> Iterator[Group]:
    """The groups that no worker of this launcher has taken."""
    for (of_alone, _), groups in self._left.items():
      if alone is None or of_alone == alone:
        yield from groups.values()

  def next(self, programs: Collection[str] = (), *, alone: bool = False) -> Group | None:
    """A group for a worker that has compiled these programs; None if none can be taken now."""
    for number, group in self._in_order(programs, alone):
      mine = self._acquired(group)
      if mine:
        self._drop(number, group)
        if len(mine.points) < len(group.points):  # another launcher has the rest
          kept = set(mine.points)
          rest = tuple(point for point in group.points if point not in kept)
          cost = group.cost - mine.cost
          self.add(dataclasses.replace(group, points=rest, cost=cost, title=""))
        if group.program not in programs:
          self._taken[group.program] = self._taken.get(group.program, 0) + 1
        return mine
    return None

  def _in_order(self, programs, alone):
    """(number, group): first of programs that the worker has compiled, then of those that none has, then the rest."""
    own = [of for p in programs if (of := self._left.get((alone, p)))]
    yield from own[0].items() if len(own) == 1 else sorted(i for of in own for i in of.items())
    of_others = []
    for number, group in self._every[alone].items():
      if group.program in programs:
        continue
      if group.program in self._taken:
        of_others.append((number, group))
      else:
        yield number, group
    yield from of_others

  def _drop(self, number, group):
    del self._every[group.alone][number]
    groups = self._left[group.alone, group.program]
    del groups[number]
    if not groups:
      del self._left[group.alone, group.program]

  def _acquired(self, group):
    wanted = {self._unit[point] for point in group.points}
    won = self._leases.acquire(wanted)
    if not won:
      return None
    self.store.read()  # others write what they have finished to disk before they give a unit back
    failed = self.failed_elsewhere()
    done = lambda point: is_done(self._sweep, self.store, point)
    gone = lambda point: done(point) or (failed and point.text() in failed)
    if group.alone and won == wanted and not all(map(gone, group.points)):
      return group
    mine = [p for p in group.points if self._unit[p] in won and not gone(p)]
    if group.alone or not mine:
      self._leases.release(won)
      return None
    self._leases.release(won - {self._unit[point] for point in mine})
    if len(mine) == len(group.points):
      return group
    share = group.cost * len(mine) / len(group.points)
    return dataclasses.replace(group, points=tuple(mine), cost=share, title="")

  def failed_elsewhere(self) -> dict[str, str]:
    """`Point.text()` -> why, of the failures that were recorded since this launcher began."""
    self._failures = failures.entries(self._sweep.workdir, self._failures)
    new = [c for c in self._failures.values() if c["attempt"] not in self._known]
    return {text: content["why"] for content in new for text in content["points"]}

  def end(self, group: Group) -> None:
    """Gives a group back, done or not."""
    self._leases.release({self._unit[point] for point in group.points})

  def missing(self, group: Group) -> Group | None:
    """The part of a group that is not on disk yet; the whole group if it cannot be split; None if all is on disk."""
    self.store.read()
    left = tuple(p for p in group.points if not is_done(self._sweep, self.store, p))
    if not left or group.alone or len(left) == len(group.points):
      return group if left else None
    cost = group.cost * len(left) / len(group.points)
    return dataclasses.replace(group, points=left, cost=cost, title="")

  def over(self) -> Iterator[Over | Failed]:
    """Drops the groups that other launchers have finished, or that have failed there."""
    self.store.read()
    failed = self.failed_elsewhere()
    for (_, _), groups in list(self._left.items()):
      for number, group in list(groups.items()):
        left = [p for p in group.points if not is_done(self._sweep, self.store, p)]
        if not left:
          self._drop(number, group)
          yield Over(group)
        elif failed and all(point.text() in failed for point in left):
          self._drop(number, group)
          yield Failed(group, f"{failed[left[0].text()]} (in another launcher)")

  def waiting(self) -> Waiting:
    """The event that says how many points other launchers still run."""
    return Waiting(sum(len(group.points) for group in self.left()))
