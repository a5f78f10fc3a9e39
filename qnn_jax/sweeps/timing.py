"""Table 5: how long the models train, measured epoch by epoch, in turn."""

import itertools
import statistics
import time

import jax
import jax.numpy as jnp
import ml_collections

from qnn_jax.datasets import load_mnist
from qnn_jax.errors import InputError
from qnn_jax.models import LAYERS
from qnn_jax.reports.table5 import Timing
from qnn_jax.training import per_sample
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Net, init, sample_order


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/table5.py that makes no sense."""
  for model in config.models:
    if model not in LAYERS:
      raise InputError(f"unknown head '{model}' in models; choose among {', '.join(LAYERS)}")
  if "ann" not in config.models:
    raise InputError(
      f"models must hold 'ann', to which the others are compared, got {config.models}"
    )
  for name in ("models", "seeds"):
    if not config[name] or len(set(config[name])) < len(config[name]):
      raise InputError(
        f"{name} must hold at least one value and each once, got {tuple(config[name])}"
      )
  for name in ("train_size", "epochs", "hidden"):
    if config[name] < 1:
      raise InputError(f"{name} must be at least 1, got {config[name]}")
  if not all(isinstance(seeds, int) and seeds > 0 for seeds in config.seeds):
    raise InputError(f"seeds must be numbers of runs of at least 1, got {tuple(config.seeds)}")
  for name in ("learning_rate", "init_scale"):
    if not 0 < config[name] < float("inf"):
      raise InputError(f"{name} must be a positive number, got {config[name]}")


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
  keep = data.train_images.any(0)
  train = jnp.asarray(data.train_images[:, keep]), jnp.asarray(data.train_labels, "int32")
  test = jnp.asarray(data.test_images), jnp.asarray(data.test_labels, "int32")
  method = per_sample.Method(block=config.block, sub_block=config.sub_block)
  order = sample_order(range(seeds), config.train_size, len(data.train_images), shared=False)
  chunks = per_sample.make_chunks(order, method)

  nets = {}
  for model in config.models:
    fleet = Fleet(
      (Net(model, config.hidden),),
      learning_rate=config.learning_rate,
      init_scale=config.init_scale,
    )
    trainer = per_sample.make_trainer(fleet, method)
    start = init(fleet, range(seeds))
    fresh = lambda: trainer.start(per_sample.drop_inputs(start, keep))  # noqa: B023
    first = trainer.prepare(train[0], chunks[0])
    jax.block_until_ready(trainer.run(fresh(), *train, first))  # compiles
    passes = per_sample.passes(trainer, train[0], chunks, config.epochs)
    nets[model] = [fleet, trainer, start, fresh(), [], passes]
  for _ in range(config.epochs):
    for net in nets.values():
      begin = time.perf_counter()
      for chunk in itertools.islice(net[5], len(chunks)):
        net[3] = net[1].run(net[3], *train, chunk)
      jax.block_until_ready(net[3])
      net[4].append(time.perf_counter() - begin)

  timings = []
  for model, (fleet, trainer, start, state, times, _) in nets.items():
    params = per_sample.restore_inputs(trainer.finish(state), start, keep)
    accuracy = float(evaluate(fleet, params, *test).accuracy.mean())
    # The first epoch also makes the products that the later ones use.
    seconds = times[0] + (config.epochs - 1) * statistics.median(times[1:] or times)
    seconds = round(seconds, 6)  # as it is stored, so that a rerun reports the same
    timings.append(Timing(model, seeds, seconds, round(accuracy, 2)))
  return timings
