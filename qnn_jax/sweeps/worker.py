"""A worker: runs groups, one after another, and puts their rows on disk as they are finished."""

import pathlib
import time
import traceback
from collections.abc import Generator
from typing import NamedTuple

from qnn_jax.errors import InputError
from qnn_jax.sweeps import configs, failures
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Group, Row, Worked
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
  """An event: this worker asks for a group."""

  worker: int


Event = Started | Rows | Worked | Compiled | Ended | Failed


def run_group(
  task: Task, workdir: pathlib.Path, keep_params: bool, group: Group
) -> Generator[Event, None, None]:
  """Runs one group; what a `Rows` tells of is on disk already.

  Raises:
    InputError: the group's input is wrong; nothing of other groups would be better.
  """
  yield Started(group)
  store, job = Store(workdir, task.name, task.axis_names), Job(workdir, keep_params)
  begin = time.perf_counter()
  try:
    for event in task.run(group, job):
      if isinstance(event, (Worked, Compiled)):
        yield event
        continue
      rows = [event] if isinstance(event, Row) else list(event)
      seconds, begin = time.perf_counter() - begin, time.perf_counter()
      store.write(rows, seconds, keep_params=keep_params)
      yield Rows([row._replace(params=None) for row in rows])
    job.end()
    failures.forget(workdir, group.points)
    yield Ended(group)
  except (InputError, GeneratorExit):
    raise
  except Exception as error:
    text = "".join(traceback.format_exception(error))
    why = (str(error).strip().splitlines() or [""])[0]
    why = f"{type(error).__name__}: {why}" if why else type(error).__name__
    failures.write(workdir, group.points, why, text)
    yield Failed(group, why)


def work(put, number, task, workdir, keep_params, config_file, inbox) -> None:
  """A worker process: asks for groups and runs them until it is given None."""
  if config_file is not None:
    configs.enter(config_file)
  put(Idle(number))
  while (group := inbox.get()) is not None:
    for event in run_group(task, workdir, keep_params, group):
      put(event)
    put(Idle(number))
