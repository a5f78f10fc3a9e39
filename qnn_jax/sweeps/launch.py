"""Running a sweep on one machine: shards, worker processes, and the stream of what they finish."""

import collections
import contextlib
import dataclasses
import math
import os
import pathlib
import queue
from collections.abc import Iterator

import jax

from qnn_jax.datasets import load_mnist
from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import processes, records
from qnn_jax.sweeps.grid import Grid, check_sizes
from qnn_jax.sweeps.shard import Message, Reached, Shard, Worker, missing_marks, split

# Sixteen seeds fill a vector register; fewer a worker still pay, because products and head share a
# core's caches. Measured on two cores only.
_SEEDS_A_WORKER = 4

# More seeds in one program do not get faster a seed, and their state outgrows the caches. Measured on two
# cores; an accelerator takes them all at once.
_SEEDS_AT_ONCE = 13

# A seed's 10,000 test samples take about as long as so many training samples of one more seed.
_A_TEST = 3000


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is left to do: each worker's shards, in order, small training sizes first."""

  shards: tuple[tuple[Shard, ...], ...]

  @property
  def workers(self) -> int:
    """How many workers have anything to do."""
    return len(self.shards)

  @property
  def passes(self) -> int:
    """Of single samples of single seeds, to the last mark that is missing."""
    return sum(s.train_size * s.marks[-1] * len(s.seeds) for mine in self.shards for s in mine)


def default_workers(seeds: int) -> int:
  """The fastest number of processes here: one a CPU core, each on its own seeds; one with a GPU.

  A core by itself runs the steps' many small operations without waiting for another.
  """
  if jax.default_backend() != "cpu":
    return 1
  return max(1, min(_cores(), math.ceil(seeds / _SEEDS_A_WORKER)))


def plan(grid: Grid, workdir: pathlib.Path, workers: int) -> Plan:
  """Splits the unfinished seeds of every training size among the workers.

  Raises:
    InputError: fewer than one worker.
  """
  if workers < 1:
    raise InputError(f"--workers must be at least 1, got {workers}")
  if workers > 1 and jax.default_backend() != "cpu":
    raise InputError(
      f"--workers must be 1 on an accelerator, which they would share, got {workers}"
    )
  finished = records.finished(workdir)
  shards = [[] for _ in range(workers)]
  for size in grid.train_sizes:
    # Seeds that have come equally far stay together, so that a shard resumes as one.
    alike = collections.defaultdict(list)
    for seed in grid.seeds:
      alike[missing_marks(grid, size, seed, finished)].append(seed)
    alike.pop((), None)
    if not alike:
      continue
    share = math.ceil(sum(map(len, alike.values())) / workers)
    if jax.default_backend() == "cpu":
      share = math.ceil(share / math.ceil(share / _SEEDS_AT_ONCE))
    parts = [
      Shard(size, part, marks)
      for marks, seeds in alike.items()
      for part in split(tuple(seeds), math.ceil(len(seeds) / share))
    ]
    load = [0] * workers
    for part in sorted(parts, key=lambda part: -_trained(grid, part)):
      i = min(range(workers), key=load.__getitem__)
      shards[i].append(part)
      load[i] += _trained(grid, part)
  return Plan(tuple(tuple(mine) for mine in shards if mine))


def run(grid: Grid, workdir: pathlib.Path, todo: Plan) -> Iterator[Message]:
  """Does what is planned and yields the workers' messages as they come.

  Everything that a `Finished` tells of is on disk already, and what is trained is there at the
  latest three passes of 60,000 samples later, as far as tests have kept up.

  Raises:
    InputError: the data cannot be read, or is too small for a training size.
    WorkerDied: a worker process ended before its work.
  """
  # Read once here, so that a mistake is told before anything starts and the cache is there for all.
  data = load_mnist(grid.data_dir)
  check_sizes(grid.train_sizes, len(data.train_images))
  messages = (
    _run_here(grid, workdir, todo, data)
    if todo.workers <= 1
    else _run_processes(grid, workdir, todo)
  )
  return _cleaned(messages, grid, workdir)


def _cleaned(messages, grid, workdir):
  yield from messages
  if not plan(grid, workdir, 1).shards:
    records.remove_all_checkpoints(workdir)


def _run_here(grid, workdir, todo, data):
  # Whoever calls has the precision that was set again as soon as the sweep ends.
  with jax.enable_x64(grid.fleet.dtype == "float64" or jax.config.jax_enable_x64):
    for shards in todo.shards:
      worker = Worker(grid, data)
      for shard in shards:
        for message in worker.train(shard, workdir):
          if isinstance(message, Reached):
            yield from worker.test(message, workdir)
          else:
            yield message


def _run_processes(grid, workdir, todo):
  tester, tests = _tester(grid, todo), processes.context.Queue()
  each = []
  for i, shards in enumerate(todo.shards):
    share = () if tester is None else (tests, todo.workers - 1 if i == tester else 0)
    each.append((grid, workdir, shards, *share))
  try:
    yield from processes.run(_work, each)
  except WorkerDied as error:
    raise WorkerDied(f"{error}; the same command carries on from what is finished") from error


def _trained(grid: Grid, shard: Shard) -> int:
  """Samples times seeds from the mark before the first that is missing to the last."""
  before = max((mark for mark in grid.marks if mark < shard.marks[0]), default=0)
  return shard.train_size * (shard.marks[-1] - before) * len(shard.seeds)


def _tester(grid: Grid, todo: Plan) -> int | None:
  """Which worker tests for all of them: the one with the least to train, if that makes up for it."""
  work = [sum(_trained(grid, shard) for shard in shards) for shards in todo.shards]
  least = min(range(todo.workers), key=work.__getitem__)
  others = [shard for i, shards in enumerate(todo.shards) if i != least for shard in shards]
  tests = sum(len(shard.seeds) * len(shard.marks) for shard in others)
  return least if tests * _A_TEST < max(work) - work[least] else None


def _work(put, grid, workdir, shards, tests=None, helped=0):
  """A worker process: trains its shards, and tests what it has trained.

  Where one tests for all, there is a queue, `tests`: that one takes from it what the others, so many
  as `helped` says, put there.
  """
  if grid.fleet.dtype == "float64":
    jax.config.update("jax_enable_x64", True)

  def test(reached):
    for message in worker.test(reached, workdir):
      put(message)

  worker, going_on = Worker(grid, load_mnist(grid.data_dir)), helped
  for shard in shards:
    for message in worker.train(shard, workdir):
      if not isinstance(message, Reached):
        put(message)
      elif tests and not helped:
        tests.put(message)
      else:
        test(message)
      going_on = _test_others(tests, going_on, test, wait=False)
  _test_others(tests, going_on, test, wait=True)
  if tests and not helped:
    tests.put(None)


def _test_others(tests, going_on, test, *, wait):
  """Tests what others have put there by now, or all until they end; returns how many go on."""
  with contextlib.suppress(queue.Empty):
    while going_on:
      reached = tests.get(block=wait)
      if reached is None:
        going_on -= 1
      else:
        test(reached)
  return going_on


def _cores() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
