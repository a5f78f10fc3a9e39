"""train's task: one run per seed. A bad config is refused in one sentence before anything runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from experiments.train import settings
from experiments.train.data import data_of
from experiments.train.loop import run
from experiments.train.program import Program
from qnn_jax import losses, models
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.points import Group, Point, describe
from qnn_jax.sweeps.possible import (
  COUNT,
  NUMBER,
  PERCENT,
  POSITIVE,
  SEED,
  Possible,
  list_of,
  or_none,
  text,
)
from qnn_jax.sweeps.task import Task

AXES = {"head": "head", "seeds": "seed"}
DTYPES = ("float32", "bfloat16", "float16")


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/train.py that makes no sense without its data."""
  checks.whole(config, "seeds", "epochs", "batch_size", "kernel_size", "loaders")
  checks.whole(config, "channels", "hidden", "resize")
  whole = ("train_size", "parameters", "warmup_steps", "evaluate_every", "patience", "log_every")
  checks.whole(config, *whole, least=0)
  checks.number(config, "learning_rate", above=0)
  checks.number(config, "quadratic_learning_rate", "weight_decay", "clip", least=0)
  checks.number(config, "checkpoint_seconds", least=0)
  checks.number(config, "input_shift")
  if abs(config.input_shift) > 1000:
    raise InputError(f"input_shift must be from -1000 to 1000, got {config.input_shift}")
  if config.loaders > 256:
    raise InputError(f"loaders must be at most 256 threads, got {config.loaders}")
  if "weight_decay" in settings.arguments("optimizer_arguments", config.optimizer_arguments):
    raise InputError("weight_decay is a field of its own: take it out of optimizer_arguments")
  checks.choice("network", config.network, models.kinds())
  checks.choice("loss", config.loss, losses.NAMES)
  checks.choice("dtype", config.dtype, DTYPES)
  if not 0 <= config.label_smoothing < 1:
    raise InputError(
      f"label_smoothing must be at least 0 and below 1, got {config.label_smoothing}"
    )
  if len(config.resize) not in (0, 2):
    raise InputError(f"resize must be (height, width) or (), got {tuple(config.resize)}")
  if config.network == "cnn" and not config.channels:
    raise InputError("channels must name at least one convolution, (8, 16) say; or use network=mlp")
  checks.head("head", config.head)
  for field, layers in (("hidden_kinds", "hidden"), ("conv_kinds", "channels")):
    if len(config[field]) not in {1, len(config[layers]) or 1}:
      raise InputError(
        f"{field} must name one kind for all layers, or one a layer, {len(config[layers])} by {layers}, "
        f"got {tuple(config[field])}"
      )
    for kind in config[field]:
      checks.head(field, kind)
  if config.patience and not (config.validation_split and config.evaluate_every):
    raise InputError(
      "patience stops at the loss of a validation split: name one in validation_split, such as "
      "'train[90%:]' beside train_split='train[:90%]', and set evaluate_every, or set patience to 0"
    )


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if a split cannot be read, or the network cannot be made for its images."""
  check_values(config.to_dict())


def check_values(values: Mapping[str, Any]) -> None:
  """`check_data` for a dict of the fields."""
  data = data_of(values, seed=0)
  train = data.batches.images
  devices = jax.local_device_count()
  if values["batch_size"] % devices:
    raise InputError(
      f"batch_size must be a multiple of the {devices} devices of this process, got "
      f"{values['batch_size']}"
    )
  shape = settings.shape_of(values, train.shape, train.classes, len(data.batches))
  pixels = 4.0 * values["batch_size"] * math.prod(train.shape)
  checks.memory(pixels, f"a batch of {values['batch_size']} images of {train.shape}")
  program = Program(shape)
  # With Adam: parameters, their gradients, and two moments.
  checks.memory(16.0 * program.parameters, f"training {program.parameters:,} parameters")
  program.check()


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """One group per run. Runs of one program that follow each other in a process compile it once."""
  return [
    Group((point,), cost=_cost(values), program=_program(values), title=_title(point))
    for point in missing
    for values in (settings.values_of(point),)
  ]


def _cost(values):
  """The cost in training images; that of all of MNIST if the config does not give the number of images."""
  return float(values["epochs"] * (values["train_size"] or 60_000))


def _program(values):
  numbers = ("seed", *settings.RATES)
  return str(sorted((k, v) for k, v in values.items() if k not in numbers))


def _title(point):
  values = settings.values_of(point)
  return f"{values['network']}: {describe((point,))}"


_CURVE = list_of(or_none(NUMBER))
METRICS = {
  "accuracy": PERCENT,
  "loss": NUMBER,
  "epochs_run": COUNT,
  "best_epoch": COUNT,
  "parameters": COUNT,
  "step_ms": or_none(POSITIVE),
  "step_mb": or_none(POSITIVE),
  "ended": text(),
  "watched": text(),
  "class_names": list_of(text()),
  "confusion": list_of(COUNT),
  "curve_train_loss": _CURVE,
  "curve_train_accuracy": list_of(PERCENT),
  "curve_watched_loss": _CURVE,
  "curve_watched_accuracy": list_of(or_none(PERCENT)),
}
MEASURED = ("step_ms", "step_mb")
COLUMNS = (
  *(
    "head",
    "seed",
    "accuracy",
    "loss",
    "epochs_run",
    "best_epoch",
    "parameters",
    "step_ms",
    "step_mb",
  ),
  *("ended", "status"),
)
POSSIBLE = Possible(
  metrics=METRICS,
  axes={"head": text(), "seed": SEED},
  statuses=("ok", "diverged"),
  measured=MEASURED,
)
TASK = Task("train", AXES, run, groups, apart=tuple(settings.APART), possible=POSSIBLE)
