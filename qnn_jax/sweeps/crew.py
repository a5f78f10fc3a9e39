"""The worker processes of a sweep: gives them groups, watches them, and replaces those that are lost."""

import collections
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from qnn_jax.errors import WorkerDied
from qnn_jax.sweeps import failures, processes, signals, worker
from qnn_jax.sweeps.plan import SILENCE_SECONDS, Sweep
from qnn_jax.sweeps.points import Group, Point
from qnn_jax.sweeps.processes import Gone, Worker
from qnn_jax.sweeps.queue import Over, Queue, Waiting
from qnn_jax.sweeps.worker import Alive, Ended, Event, Failed, Idle

TRIES = 2
"""How often a group is tried if its worker is lost each time."""

_TICK = 0.5  # seconds between two checks for other launchers' work and for silent workers
_START_SECONDS = 60.0  # a worker may take as long for its imports, whatever --silence_seconds is
_LONGEST_TURN = 5.0  # seconds of one turn of the loop: if it took longer, this process stood still


class Lost(NamedTuple):
  """An event: a worker process died, or gave no sign of life and was killed; another replaces it.

  Attributes:
    who: 'worker 0 (pid 4242)'.
    why: what happened to it, in words that follow its name.
    group: the group that it ran; None if it ran none.
    again: whether the group is tried again.
  """

  who: str
  why: str
  group: Group | None
  again: bool


@dataclasses.dataclass(eq=False)
class _Place:
  """A place for a worker, and the worker in it; None when the worker has ended."""

  number: int
  cores: tuple[int, ...]
  worker: Worker | None = None
  programs: set[str] = dataclasses.field(default_factory=set)
  group: Group | None = None
  ready: bool = False  # whether it has asked for work since it was started
  idle: bool = False
  heard: float = 0.0
  early: int = 0  # how many workers in a row died here before they asked for work


def side_by_side(
  sweep: Sweep, queue: Queue, count: int, *, alone: bool = False
) -> Iterator[Event | Lost | Over | Waiting]:
  """Runs the remaining groups in `count` processes, until none is left here or in another launcher.

  Raises:
    WorkerDied: in one place, two workers in a row died before they asked for work.
    InputError, OSError: a process raised it.
  """
  crew = _Crew(sweep, queue, count, alone)
  with signals.clean_up(lambda: processes.kill(crew.workers())):
    try:
      yield from crew.run()
    finally:
      processes.end(crew.workers())


class _Crew:
  def __init__(self, sweep: Sweep, queue: Queue, count: int, alone: bool):
    self._sweep, self._queue, self._alone = sweep, queue, alone
    self._places = [_Place(i, cores) for i, cores in enumerate(processes.core_groups(count))]
    self._lost_with: collections.Counter[Point] = collections.Counter()
    self._clock = 0.0  # seconds that this process has watched

  def workers(self) -> Sequence[Worker]:
    return [place.worker for place in self._places if place.worker]

  def run(self):
    for place in self._places:
      self._start(place)
    before, asked = time.monotonic(), False
    while workers := self.workers():
      found = processes.wait(workers, _TICK)
      now = time.monotonic()
      self._clock += min(now - before, _LONGEST_TURN)
      before = now
      if signals.asked() and not asked:
        asked = True
        for one in self.workers():
          one.process.terminate()  # which asks it to save its state
      for one, message in found:
        yield from self._take(next(p for p in self._places if p.worker is one), message)
      if not found:
        yield from self._queue.over()
      if not found or any(isinstance(message, Idle) for _, message in found):
        yield from self._feed()
      yield from self._end_the_silent()
    signals.check()

  def _start(self, place):
    sweep = self._sweep
    args = sweep.task, sweep.workdir, sweep.keep_params, sweep.config_file
    place.ready = place.idle = False
    place.programs, place.heard = set(), self._clock
    place.worker = processes.start(place.number, place.cores, worker.work, args)

  def _take(self, place, message):
    place.heard = self._clock
    if isinstance(message, Idle):
      if place.group is not None:
        self._queue.end(place.group)
      place.group, place.idle, place.ready, place.early = None, True, True, 0
    elif not isinstance(message, Gone):
      if not isinstance(message, Alive):
        yield message
    elif message.done:
      place.worker = None
    else:
      yield from self._lost(place, processes.how(message.code))

  def _feed(self):
    waiting = 0
    for place in self._places:
      if not place.idle or not place.worker:
        continue
      group = None
      if not signals.asked():
        group = self._queue.next(place.programs, alone=self._alone)
        if group is None and self._are_left():
          waiting += 1
          continue  # another launcher has the group, and may give it up
      place.idle, place.group = False, group
      place.worker.send(group)
      if group:
        place.programs.add(group.program)
    if waiting and waiting == len(self.workers()):
      yield self._queue.waiting()

  def _are_left(self):
    return any(True for _ in self._queue.left(self._alone))

  def _end_the_silent(self):
    of_sweep = self._sweep.silence_seconds or SILENCE_SECONDS
    for place in self._places:
      limit = of_sweep if place.ready else max(of_sweep, _START_SECONDS)
      if place.worker and not place.idle and self._clock - place.heard > limit:
        processes.end([place.worker])
        why = f"gave no sign for {limit:,.0f} s (see --silence_seconds) and was killed"
        yield from self._lost(place, why)

  def _lost(self, place, why):
    who, group = place.worker.name, place.group
    place.worker, place.group, was_ready = None, None, place.ready
    if signals.asked():  # it has saved its state, or was killed because it did not
      if group is not None:
        self._queue.end(group)
      return
    if group is not None:
      yield from self._lost_with_group(who, why, group)
    elif was_ready:
      yield Lost(who, why, None, again=False)
    else:
      place.early += 1
      if place.early >= TRIES:
        raise WorkerDied(
          f"{who} {why}, and had not begun; the same command carries on from what is finished"
        )
      yield Lost(who, why, None, again=False)
    if self._are_left():
      self._start(place)

  def _lost_with_group(self, who, why, group):
    left = self._queue.missing(group)
    if left is None:  # all of it is on disk
      self._queue.end(group)
      yield Ended(group)
      return
    self._lost_with.update(left.points)
    again = max(self._lost_with[point] for point in left.points) < TRIES
    yield Lost(who, why, group, again)
    if again:
      self._queue.end(group)
      self._queue.add(left)
      return
    why = f"its worker {why}, at each of {TRIES} tries"
    failures.write(self._sweep.workdir, left.points, why, "")  # before other launchers may take it
    self._queue.end(group)
    yield Failed(left, why)
