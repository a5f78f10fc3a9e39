"""The state of a sweep, and how long the rest would take: `--list` and `--dry_run`."""

import collections
import pathlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import NamedTuple

from qnn_jax.errors import WorkerDied
from qnn_jax.sweeps import configs, failures, processes, signals
from qnn_jax.sweeps.configs import fields
from qnn_jax.sweeps.leases import Leases, unit_name
from qnn_jax.sweeps.plan import Plan, Sweep, is_done, owed, workers_of
from qnn_jax.sweeps.points import Compiled, Group, Point, Worked
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Failed, Started, run_group

STATES = ("waiting", "queued", "running", "done", "diverged", "failed")


# A measured run ends so many seconds after its first finished work.
_MEASURED_SECONDS = 3.0
_LONGEST_MEASUREMENT = 30.0


class State(NamedTuple):
  """The state of a group.

  Attributes:
    group: the group with all its points, finished or not.
    state: one of `STATES`; 'diverged' is done, with a diverged run among its points.
    done, diverged: how many of its points are finished, and how many of those diverged.
    seconds: the time of its finished points.
    why: the reason of a failure.
  """

  group: Group
  state: str
  done: int
  diverged: int
  seconds: float
  why: str = ""


def states(sweep: Sweep, store: Store, queue: Mapping[str, str] | None = None) -> list[State]:
  """The present state of every group of the sweep, or of its slice.

  Args:
    sweep: the sweep of the command.
    store: what has been read of the workdir.
    queue: unit -> 'queued' or 'running', for the units in a cluster's queue.
  """
  wanted = owed(sweep)
  parts = workers_of(sweep, wanted)
  held = _running(sweep, queue or {})
  failed = failures.read(sweep.workdir)
  found = []
  for group in sweep.task.groups(wanted, parts):
    rows = [store.found[point] for point in group.points if is_done(sweep, store, point)]
    diverged = sum(row.status == "diverged" for row in rows)
    missing = [point for point in group.points if not is_done(sweep, store, point)]
    why = (
      next((failed[t] for point in missing if (t := point.text()) in failed), "") if failed else ""
    )
    if not missing:
      state = "diverged" if diverged else "done"
    elif of_group := {held[point] for point in missing if point in held}:
      state = "running" if "running" in of_group else "queued"
    else:
      state = "failed" if why else "waiting"
    seconds = sum(row.seconds for row in rows)
    found.append(State(group, state, len(rows), diverged, seconds, why))
  return found


def _running(sweep, queue):
  """point -> 'running' or 'queued', for points that some launcher, here or on a cluster, runs or will run."""
  live = Leases(sweep.workdir, sweep.lease_seconds).live()
  at_work = {**queue, **dict.fromkeys(live, "running")}
  if not at_work:
    return {}
  found: dict[Point, str] = {}
  for unit in sweep.task.groups(sweep.points, len(sweep.points)):
    state = at_work.get(unit_name(unit.points))
    found |= dict.fromkeys(unit.points, state) if state else {}
  return found


def list_lines(found: list[State]) -> list[str]:
  """One line for each group, and one with the counts and times of all groups."""
  names = _names([state.group for state in found])
  width = max(map(len, names), default=0)
  lines = []
  for name, (group, state, done, diverged, seconds, why) in zip(names, found):
    count = f"{done} of {len(group.points)}"
    notes = [f"{diverged} diverged"] * bool(diverged) + [why] * bool(why)
    line = f"{state:<8}  {name:<{width}}  {count:>14}  {_time(seconds):>8}"
    lines.append("  ".join([line, *notes]))
  counts = collections.Counter(state.state for state in found)
  runs, done = sum(len(s.group.points) for s in found), sum(s.done for s in found)
  listed = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "none"
  total = sum(state.seconds for state in found)
  lines.append(f"groups: {listed}; runs: {done:,} of {runs:,} done, in {_time(total)}")
  return lines


def _names(groups):
  """The groups' names, with the values of the fields in which they differ: those of a sweep."""
  every = [fields(of.values) for of in dict.fromkeys(p.fields for g in groups for p in g.points)]
  swept = [k for k in (every[0] if every else ()) if any(v.get(k) != every[0][k] for v in every)]
  return [group.name(swept) for group in groups]


def nothing_to_retry(sweep: Sweep) -> str:
  """The message of --retry_failed if there is nothing to do."""
  what = "configuration" if sweep.part is None and sweep.units is None else "slice"
  return f"nothing to retry: this {what} has no failed runs that are still missing"


def dry_run_lines(sweep: Sweep, todo: Plan) -> list[str]:
  """Lines that say what would run, in how many groups and programs, and about how long by a short measured run."""
  names = _names(todo.groups)
  lines = [
    f"would run  {name}  ({_runs(len(group.points))})" for name, group in zip(names, todo.groups)
  ]
  runs = sum(len(group.points) for group in todo.groups)
  if not todo.groups:
    return [nothing_to_retry(sweep) if sweep.retry_failed else "nothing to run: all is on disk"]
  programs = {group.program for group in todo.groups}
  workers = min(todo.workers, len(todo.groups))
  lines.append(
    f"{_runs(runs)} in {len(todo.groups)} group{'s' * (len(todo.groups) > 1)} "
    f"({len(programs)} program{'s' * (len(programs) > 1)}) on {workers} "
    f"worker{'s' * (workers > 1)}"
  )
  measured = measure(sweep, min(todo.groups, key=lambda group: group.cost))
  if isinstance(measured, str):
    return [*lines, f"the time cannot be estimated: {measured}"]
  speed, compiling = measured
  compilations = len(programs) / min(workers, len(programs))
  seconds = todo.cost / speed / workers + compiling * compilations
  lines.append(f"about {_time(seconds)}, from a measured run of a part of the cheapest group")
  return lines


def measure(sweep: Sweep, group: Group) -> tuple[float, float] | str:
  """(cost per second, seconds of compiling), measured on the beginning of a group in a temporary workdir.

  Instead the reason, as text, if nothing can be measured: the group fails, or half a minute is too short.
  """
  try:
    return _measure(sweep, group)
  except WorkerDied as error:
    return f"the measured run failed: {error}"


def _measure(sweep, group):
  done = compiling = later = 0.0
  first = None
  with tempfile.TemporaryDirectory() as folder, signals.clean_up(lambda: shutil.rmtree(folder)):
    begin = time.perf_counter()
    place = sweep.task, pathlib.Path(folder), group, sweep.config_file
    for event in processes.run(_run_group, [place], ticks=True):
      match event:
        case Started():
          begin = time.perf_counter()  # the process has started
        case Compiled(seconds):
          compiling += seconds
          later += seconds if first is not None else 0.0
        case Failed(_, why):
          return f"the measured run failed: {why}"
        case Worked(cost, resumed) if not resumed:
          if first is None:  # the first one includes compiling
            first = time.perf_counter()
          else:
            done += cost
      if first is not None and time.perf_counter() - first - later > _MEASURED_SECONDS and done:
        break
      if time.perf_counter() - begin > _LONGEST_MEASUREMENT:
        if not done:
          return f"nothing could be measured in {_LONGEST_MEASUREMENT:.0f} s"
        break
    if done and first is not None:
      return done / max(1e-6, time.perf_counter() - first - later), compiling
    return group.cost / max(1e-6, time.perf_counter() - begin - compiling), compiling


def _run_group(put, task, workdir, group, config_file):
  if config_file is not None:
    configs.enter(config_file)
  for event in run_group(task, workdir, False, group):
    put(event)


def _time(seconds):
  if seconds < 100:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
  minutes = round(seconds / 60)
  return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _runs(count):
  return "1 run" if count == 1 else f"{count:,} runs"
