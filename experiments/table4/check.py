"""Checks the configuration of Table 4. The recipe and Table 5 use most of these checks too."""

import inspect
from collections.abc import Sequence

import ml_collections

from experiments.table4.program import method_of
from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.initializers import STARTS
from qnn_jax.ops import packed_size
from qnn_jax.sweeps import checks


def check(config: ml_collections.ConfigDict) -> None:
  """InputError names the first value that makes no sense."""
  models(config)
  checks.once(config, "models", "train_sizes", "epochs", "hidden")
  checks.whole(config, "train_sizes", "epochs", "hidden")
  if config.seeds < 1:
    raise InputError(
      f"seeds, the number of training runs a cell, must be at least 1, got {config.seeds}"
    )
  learning(config)
  if config.dtype not in ("float32", "float64"):
    raise InputError(f"dtype must be float32 or float64, got '{config.dtype}'")
  method_of(config.to_dict())
  block(config, max(config.train_sizes))


def models(config: ml_collections.ConfigDict) -> None:
  """InputError unless every one of `models` names a head."""
  for model in config.models:
    checks.head("models", model)


def learning(config: ml_collections.ConfigDict) -> None:
  """InputError unless learning rate, initial distribution and input shift make sense."""
  checks.number(config, "learning_rate", "init_scale", above=0)
  checks.number(config, "input_shift")
  if config.init not in STARTS:
    raise InputError(f"unknown init '{config.init}'; choose one of {', '.join(STARTS)}")


def block(config: ml_collections.ConfigDict, size: int) -> None:
  """InputError if the inner products of one block of samples do not fit into memory."""
  checks.memory(12.0 * min(config.block, size) ** 2, f"block = {config.block}")


def memory(hidden: int, models: Sequence[str], inputs: int, classes: int) -> None:
  """InputError if the parameters of one net with so many hidden neurons do not fit into memory.

  The net is taken to have a QNN head, or a larger low-rank head if `models` names one.
  """
  largest = max(models, key=rank)
  directions = rank(largest) * (hidden + 1)
  what = f"hidden = {hidden}"
  if directions > packed_size(hidden):
    what = f"the model {largest} with {what}"
  parameters = inputs * hidden + classes * max(packed_size(hidden), directions)
  # Parameters, the trainer's copy of them with the full Q, and both again during a step.
  checks.memory(6.0 * 4 * parameters, what)


def rank(model: str) -> int:
  """The rank of a low-rank head (the layer's default if the name gives none); 0 for all other heads."""
  head = heads.get(model)
  if head.size != "rank":
    return 0
  default = inspect.signature(head.layer.__init__).parameters["rank"].default
  return head.arguments.get("rank", default)
