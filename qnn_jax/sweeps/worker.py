"""A worker: runs groups, one after another, and writes their rows to disk as they finish."""

import contextlib
import pathlib
import time
import traceback
from collections.abc import Callable, Generator
from multiprocessing import connection
from typing import NamedTuple

from qnn_jax.errors import InputError, out_of_memory
from qnn_jax.sweeps import configs, failures, signals
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Group, Row, Said, Worked
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task


class Started(NamedTuple):
  """An event: a group begins."""

  group: Group


class Rows(NamedTuple):
  """An event: these rows are finished, and on disk."""

  rows: list[Row]


class Ended(NamedTuple):
  """An event: a group has ended, and its rows are on disk."""

  group: Group


class Failed(NamedTuple):
  """An event: a group ended with an exception, of which this is the last line."""

  group: Group
  why: str


class Idle(NamedTuple):
  """A message: the worker asks for a group."""


class Alive(NamedTuple):
  """A message: the worker still works, and has nothing else to report."""


Event = Started | Rows | Worked | Compiled | Said | Ended | Failed


def run_group(
  task: Task,
  workdir: pathlib.Path,
  keep_params: bool,
  group: Group,
  tell: Callable[[], None] = lambda: None,
  store: Store | None = None,
) -> Generator[Event, None, None]:
  """Runs one group. The rows of a `Rows` event are already on disk, and in the store if one is given.

  `tell` is called between events as a sign of life.

  Raises:
    InputError: the input is wrong, and would be for other groups too.
    WorkdirError: the workdir cannot be written, for other groups too.
    signals.Stopped: a signal asked to stop, and all of the group that can be kept is on disk.
  """
  yield Started(group)
  store = store or Store(workdir, task.name, task.axis_names, task.possible)
  job = Job(workdir, keep_params, group.points, tell)
  begin, left = time.perf_counter(), len(group.points)
  try:
    for event in task.run(group, job):
      if isinstance(event, (Worked, Compiled, Said)):
        yield event
        continue
      rows = [event] if isinstance(event, Row) else list(event)
      seconds, begin = time.perf_counter() - begin, time.perf_counter()
      store.write(rows, seconds, keep_params=keep_params)
      yield Rows([row._replace(params=None) for row in rows])
      left -= len(rows)
      if left > 0:
        signals.check()
    job.end()
    failures.forget(workdir, group.points)
    yield Ended(group)
  except (InputError, GeneratorExit):
    raise
  except Exception as error:
    why = _reason(error)
    text = "".join(traceback.format_exception(error))
    failures.write(workdir, group.points, why, text)
    yield Failed(group, why)


def _reason(error):
  """The exception in one line."""
  name, why = type(error).__name__, (str(error).strip().splitlines() or [""])[0]
  memory = out_of_memory(error)
  if memory is not None:
    name, why = "out of memory", memory
  return f"{name}: {why}" if why else name


def work(
  pipe: connection.Connection,
  task: Task,
  workdir: pathlib.Path,
  keep_params: bool,
  config_file: pathlib.Path | None,
) -> None:
  """The work of a worker process: asks for groups and runs them until it receives None."""
  if config_file is not None:
    configs.enter(config_file)

  def tell():
    with contextlib.suppress(OSError):  # the parent has ended, which is not a failure of this group
      pipe.send(Alive())

  pipe.send(Idle())
  while (group := pipe.recv()) is not None:
    for event in run_group(task, workdir, keep_params, group, tell):
      pipe.send(event)
    pipe.send(Idle())
