"""The engine: takes leases on the missing groups, runs them in workers, and yields events."""

import time
from collections.abc import Iterator

from qnn_jax.sweeps import checkpoints, crew, failures, leftovers, signals, submissions, worker
from qnn_jax.sweeps.crew import Lost
from qnn_jax.sweeps.leases import Leases
from qnn_jax.sweeps.plan import Plan, Sweep, is_done, owed, plan, units_of
from qnn_jax.sweeps.queue import Over, Queue, Waiting
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Ended, Event, Failed, Rows, Started

_WAIT = 1.0  # seconds between two checks for other launchers' work


def run(sweep: Sweep, store: Store, todo: Plan) -> Iterator[Event | Lost | Over | Waiting]:
  """Runs what is missing and yields events. The rows of a `Rows` event are already on disk.

  If a group fails, by an exception or with its worker, a `Failed` event reports it, and the others go on.

  Raises:
    InputError: a group's input is wrong.
    OSError: the disk cannot be written.
    WorkerDied: worker processes die before they ask for work.
    signals.Stopped: a signal asked to stop, and the running groups have saved their state.
  """
  if not todo.groups:
    _clean(sweep, store)
    return
  with Leases(sweep.workdir, sweep.lease_seconds) as leases, signals.saving():
    with signals.clean_up(lambda: leases.__exit__(None, None, None)):
      queue = Queue(sweep, store, leases, todo.groups)
      for alone in (True, False):
        workers = min(1 if alone else todo.workers, sum(1 for _ in queue.left(alone)))
        if workers > 1 or (workers and sweep.silence_seconds is not None):
          yield from crew.side_by_side(sweep, queue, workers, alone=alone)
        else:
          yield from _in_turn(sweep, queue, alone=alone)
      signals.check()
  _clean(sweep, store)


def _clean(sweep, store):
  """Removes what a finished sweep no longer needs, except what other launchers use."""
  store.read()
  leftovers.remove(sweep.workdir, sweep.lease_seconds)
  if all(is_done(sweep, store, point) for point in sweep.points):
    leases = Leases(sweep.workdir, sweep.lease_seconds)
    leases.forget(lambda: [*units_of(sweep).values(), submissions.CLAIM])
    failures.forget(sweep.workdir, sweep.points)
    if not leases.live():
      checkpoints.tidy(sweep.workdir, sweep.points)


def _in_turn(sweep, queue, *, alone):
  """Runs groups one after another in this process, until none is left here or in another launcher."""
  programs: set[str] = set()
  place = sweep.task, sweep.workdir, sweep.keep_params
  while any(True for _ in queue.left(alone)):
    signals.check()
    group = queue.next(programs, alone=alone)
    if group is None:
      yield from queue.over()
      if any(True for _ in queue.left(alone)):
        yield queue.waiting()
        time.sleep(_WAIT)
      continue
    programs.add(group.program)
    try:
      yield from worker.run_group(*place, group, store=queue.store)
    finally:
      queue.end(group)


__all__ = [
  "Ended", "Event", "Failed", "Lost", "Over", "Plan", "Rows", "Started", "Sweep", "Waiting", "is_done",
  "owed", "plan", "run",
]  # fmt: skip
