"""Checks the configuration of deep_quadratic."""

import math

import ml_collections

from experiments.deep_quadratic.data import shrunk
from experiments.deep_quadratic.task import LANES_AT_ONCE, VARIANTS
from qnn_jax.datasets import load_dataset
from qnn_jax.errors import InputError
from qnn_jax.ops import packed_size
from qnn_jax.sweeps import checks


def check(config: ml_collections.ConfigDict) -> None:
  """InputError names the first value that makes no sense."""
  for name in config.variants:
    checks.choice("variants", name, VARIANTS)
  checks.once(config, "variants")
  checks.whole(config, "seeds", "epochs", "batch_size", "train_size", "test_size")
  if not isinstance(config.hidden, (tuple, list)) or not config.hidden:
    raise InputError(f"hidden must be a tuple of at least one layer's size, got {config.hidden!r}")
  checks.whole(config, "hidden")
  checks.number(config, "learning_rate", "quadratic_learning_rate", above=0)
  checks.number(config, "momentum", "init_scale", least=0)
  if config.train_size < config.batch_size:
    raise InputError(
      f"train_size must be at least batch_size, {config.batch_size}, got {config.train_size}"
    )


def _memory(config, inputs, classes):
  sizes = (inputs, *config.hidden, classes)
  quadratic = any(VARIANTS[name].kind == "qnn" for name in config.variants)
  inputs = lambda n: n + 1 + (packed_size(n) if quadratic else 0)  # of a neuron
  parameters = sum(m * inputs(n) for n, m in zip(sizes, sizes[1:]))
  lanes = min(LANES_AT_ONCE, config.seeds)
  # Parameters, momentum, gradients and updates; the full Q while it is drawn; products of inputs for a batch.
  held = 8.0 * 4 * parameters + 4.0 * 4 * config.batch_size * sum(map(inputs, sizes))
  # One loss per step, and the copy that goes into a checkpoint.
  held += 4.0 * 4 * config.epochs * (config.train_size // config.batch_size)
  of_tests = 4.0 * config.test_size * max(map(inputs, sizes))
  what = f"hidden = {tuple(config.hidden)} with epochs = {config.epochs:,}"
  checks.memory(lanes * held + of_tests, f"{what}, batch_size = {config.batch_size:,}")


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data set cannot be read or has too few images, or if training fits no memory."""
  data = load_dataset(config.dataset, config.data_dir or None)
  _memory(config, math.prod(shrunk(data.shape)), data.classes)
  for name, images in (("train_size", data.train_images), ("test_size", data.test_images)):
    if config[name] > len(images):
      raise InputError(
        f"{name} must be at most {len(images)}, as the data set has it, got {config[name]}"
      )
