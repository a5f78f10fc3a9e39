"""One shard of a sweep: some seeds at one training size, trained, tested and put on disk."""

import functools
import itertools
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qnn_jax.datasets import Mnist
from qnn_jax.reports.paper import Cell
from qnn_jax.reports.summary import Run
from qnn_jax.sweeps import records
from qnn_jax.sweeps.grid import Grid
from qnn_jax.training import _compile, per_sample
from qnn_jax.training.constant import Constant, constant_inputs
from qnn_jax.training.evaluate import Evaluation, evaluate
from qnn_jax.training.fleet import Fleet, Params, init, sample_order

# Samples of a seed between two checkpoints, where marks are further apart: three passes of 60,000, 20 s
# on two cores.
_A_CHECKPOINT = 180_000


class Shard(NamedTuple):
  """Seeds that are trained together at one training size, to the marks at which they lack runs."""

  train_size: int
  seeds: tuple[int, ...]
  marks: tuple[int, ...]


class Reached(NamedTuple):
  """To be tested: a shard that has passed all its samples `mark` times."""

  shard: Shard
  mark: int
  params: list[Params]  # NumPy arrays, which go from process to process


class Compiled(NamedTuple):
  """A message: this many seconds went into compiling."""

  seconds: float


class Trained(NamedTuple):
  """A message: so many more samples were passed (samples x seeds), or found done already."""

  samples: int
  resumed: bool = False


class Finished(NamedTuple):
  """A message: these runs are finished, and on disk."""

  runs: list[Run]


Message = Compiled | Trained | Finished


class Worker:
  """What shards of one process have in common: data on the device and compiled programs."""

  def __init__(self, grid: Grid, data: Mnist):
    self.grid = grid
    constants, self.data, self.test_data = on_device(grid.fleet, data)
    # The same at every training size.
    self.init = functools.lru_cache(maxsize=1)(functools.partial(init, grid.fleet))
    self.trainer = per_sample.make_trainer(grid.fleet, grid.method, constants)
    # The images are arguments: as constants they would be folded while compiling, for seconds.
    self.evaluate = _compile.jit(functools.partial(evaluate, grid.fleet), level=1)

  def train(self, shard: Shard, workdir: pathlib.Path) -> Iterator[Message | Reached]:
    """Trains the shard from its last checkpoint, if there is one; says what is done as it goes.

    What a `Reached` tells of is on disk as a checkpoint, and has to be passed to `test`, of this or
    another worker of the same grid, in the same order.
    """
    grid, (size, seeds, marks) = self.grid, shard
    begin = time.perf_counter()
    order = sample_order(seeds, size, self.data[0].shape[0], shared=grid.shared_order)
    chunks = per_sample.make_chunks(order[:1] if grid.shared_order else order, grid.method)
    done, params = 0, self.init(seeds)
    checkpoint = records.read_checkpoint(workdir, size, seeds, most=marks[0])
    if checkpoint:
      done, params = checkpoint
    yield Compiled(time.perf_counter() - begin)
    yield Trained(done * size * len(seeds), resumed=True)

    if done in marks:
      yield Reached(shard, done, params)
    passes = per_sample.passes(self.trainer, self.data[0], chunks, marks[-1] - done)
    counts = itertools.cycle([int(chunk.valid.sum()) for chunk in chunks])
    between = None  # the checkpoint that the next one makes useless
    for stop in _stops(grid.marks, size):
      if not done < stop <= marks[-1]:
        continue
      state = yield from _call(self.trainer.start, params)
      for chunk, count in itertools.islice(zip(passes, counts), (stop - done) * len(chunks)):
        state = yield from _call(self.trainer.run, state, *self.data, chunk)
        yield Trained(count * len(seeds))
      params = yield from _call(self.trainer.finish, state)
      done, params = stop, jax.tree.map(np.asarray, params)
      path = records.write_checkpoint(workdir, size, seeds, done, params)
      if between:
        between.unlink(missing_ok=True)
      between = None if done in marks else path
      if done in marks:
        yield Reached(shard, done, params)

  def test(self, reached: Reached, workdir: pathlib.Path) -> Iterator[Message]:
    """Tests what was reached, puts its runs on disk and removes the checkpoints before it."""
    (size, seeds, _), mark, params = reached
    of_seeds = []
    for i in range(len(seeds)):  # one by one: a single program, whoever trained how many
      of_seed = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], params)
      of_seeds.append((yield from _call(self.evaluate, of_seed, *self.test_data)))
    evaluation = Evaluation(*(np.concatenate(part, 1) for part in zip(*of_seeds)))
    runs = runs_of(self.grid.cells(size, mark), seeds, evaluation)
    records.write_record(workdir, runs)
    yield Finished(runs)
    records.remove_checkpoints(workdir, size, seeds, before=mark)


def on_device(
  fleet: Fleet, data: Mnist
) -> tuple[Constant, tuple[Array, Array], tuple[Array, Array]]:
  """(constant pixels, (training images of the others, labels), (test images, labels))."""
  constants = constant_inputs(fleet, data.train_images)
  varying = data.train_images[:, constants.varies]
  train = jnp.asarray(varying), jnp.asarray(data.train_labels, "int32")
  return constants, train, (jnp.asarray(data.test_images), jnp.asarray(data.test_labels, "int32"))


def _stops(marks, size):
  """The passes after which there is a checkpoint: at every mark, and some between.

  They are the same for every run, as rounding is: what is packed and unpacked there is not what goes
  on, to the last bit.
  """
  every = max(1, _A_CHECKPOINT // size)
  between = (range(a + every, b, every) for a, b in itertools.pairwise((0, *marks)))
  return sorted({*marks, *itertools.chain.from_iterable(between)})


def _call(program, *args):
  """The program's result; before that a `Compiled`, if the call had to compile it."""
  programs = program._cache_size()
  begin = time.perf_counter()
  result = jax.block_until_ready(program(*args))
  if program._cache_size() > programs:
    yield Compiled(time.perf_counter() - begin)
  return result


def split(seeds: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
  """Consecutive parts as equal as can be, without empty ones."""
  parts = min(parts, len(seeds))
  ends = [-(-len(seeds) * i // parts) for i in range(parts + 1)] if parts else []
  return [seeds[a:b] for a, b in itertools.pairwise(ends)]


def missing_marks(
  grid: Grid, size: int, seed: int, finished: set[tuple[Cell, int]]
) -> tuple[int, ...]:
  """The marks at which the seed lacks a run of some net."""
  return tuple(
    mark
    for mark in grid.marks
    if any((cell, seed) not in finished for cell in grid.cells(size, mark))
  )


def runs_of(cells: Sequence[Cell], seeds: Sequence[int], evaluation: Evaluation) -> list[Run]:
  """The runs of an evaluation [nets, S], whose nets are of these cells."""
  accuracy, finite = np.asarray(evaluation.accuracy, float), np.asarray(evaluation.finite)
  return [
    Run(
      model=cell.model,
      train_size=cell.train_size,
      epochs=cell.epochs,
      hidden=cell.hidden,
      seed=seed,
      # Hundredths of a percent are single images; what is beyond is rounding.
      accuracy=round(float(accuracy[i, j]), 4),
      status="ok" if finite[i, j] else "diverged",
    )
    for i, cell in enumerate(cells)
    for j, seed in enumerate(seeds)
  ]
