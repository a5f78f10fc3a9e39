"""Table 5: how long the models train, measured epoch by epoch, in turn."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections

from qnn_jax.datasets import load_mnist
from qnn_jax.errors import InputError
from qnn_jax.reports.table5 import Timing
from qnn_jax.sweeps.grid import check_models, check_once, check_positive, check_shift
from qnn_jax.sweeps.shard import on_device
from qnn_jax.training import per_sample
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Net, init, sample_order


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/table5.py that makes no sense."""
  check_models(config)
  if "ann" not in config.models:
    raise InputError(
      f"models must hold 'ann', to which the others are compared, got {config.models}"
    )
  check_once(config, "models", "seeds")
  for name in ("train_size", "epochs", "hidden"):
    if config[name] < 1:
      raise InputError(f"{name} must be at least 1, got {config[name]}")
  if not all(isinstance(seeds, int) and seeds > 0 for seeds in config.seeds):
    raise InputError(f"seeds must be numbers of runs of at least 1, got {tuple(config.seeds)}")
  check_positive(config, "learning_rate", "init_scale")
  check_shift(config)
  _method(config)


def _method(config):
  return per_sample.Method(block=config.block, sub_block=config.sub_block)


@dataclasses.dataclass
class _Course:
  """A model's training, as far as it has come."""

  fleet: Fleet
  trainer: per_sample.Trainer
  state: Any
  passes: Iterator[per_sample.Chunk]
  seconds: list[float] = dataclasses.field(default_factory=list)  # of each epoch


def measure(config: ml_collections.ConfigDict, seeds: int) -> list[Timing]:
  """Trains every model of `config`, `seeds` runs at once.

  The models take turns, an epoch each, so that whatever else the machine does meets all alike.
  """
  data = load_mnist(config.data_dir or None)
  if config.train_size > len(data.train_images):
    raise InputError(
      f"train_size is {config.train_size}, but the data set has {len(data.train_images)} "
      "training samples"
    )
  method = _method(config)
  order = sample_order(range(seeds), config.train_size, len(data.train_images), shared=False)
  chunks = per_sample.make_chunks(order, method)

  courses = {}
  for model in config.models:
    fleet = Fleet(
      (Net(model, config.hidden),),
      learning_rate=config.learning_rate,
      init=config.init,
      init_scale=config.init_scale,
      input_shift=config.input_shift,
    )
    if not courses:  # the same for every model
      constants, train, test = on_device(fleet, data)
    trainer = per_sample.make_trainer(fleet, method, constants)
    start = init(fleet, range(seeds))
    first = trainer.prepare(train[0], chunks[0])
    jax.block_until_ready(trainer.run(trainer.start(start), *train, first))  # compiles
    passes = per_sample.passes(trainer, train[0], chunks, config.epochs)
    courses[model] = _Course(fleet, trainer, trainer.start(start), passes)
  for _ in range(config.epochs):
    for course in courses.values():
      begin = time.perf_counter()
      for chunk in itertools.islice(course.passes, len(chunks)):
        course.state = course.trainer.run(course.state, *train, chunk)
      jax.block_until_ready(course.state)
      course.seconds.append(time.perf_counter() - begin)

  timings = []
  for model, course in courses.items():
    params = course.trainer.finish(course.state)
    accuracy = float(evaluate(course.fleet, params, *test).accuracy.mean())
    # The first epoch also makes the products that the later ones use.
    first, *later = course.seconds
    seconds = first + (config.epochs - 1) * statistics.median(later or [first])
    seconds = round(seconds, 6)  # as it is stored, so that a rerun reports the same
    timings.append(Timing(model, seeds, seconds, round(accuracy, 2)))
  return timings
