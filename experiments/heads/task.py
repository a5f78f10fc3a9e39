"""heads' runs: those of experiments.train, one per network, head, training size and seed."""

from collections.abc import Iterator
from typing import Any

import ml_collections

from experiments.train import task as train
from experiments.train.loop import run
from experiments.train.settings import APART
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.possible import SEED, Possible, text, whole
from qnn_jax.sweeps.task import Task

AXES = {"networks": "network", "heads": "head", "train_sizes": "train_size", "seeds": "seed"}
COLUMNS = (*AXES.values(), *(name for name in train.COLUMNS if name not in AXES.values()))


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/heads.py that makes no sense without its data."""
  checks.once(config, "networks", "heads", "train_sizes")
  checks.whole(config, "train_sizes", "steps")
  if len(config.learning_rates) != len(config.networks):
    raise InputError(
      f"learning_rates must be one a network, {len(config.networks)}, got {tuple(config.learning_rates)}"
    )
  for combination in points(config):
    train.check(_as_train(config, combination))


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data cannot be read, or a network cannot be made in this size."""
  seen: set[tuple] = set()
  for combination in points(config):
    kind = combination["network"], combination["head"], combination["train_size"]
    if kind not in seen:
      seen.add(kind)
      train.check_values(_as_train(config, combination).to_dict())


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """Every combination of the axes, with the number of epochs that `steps` needs and the network's rate."""
  for values in TASK.all_combinations(config):
    an_epoch = values["train_size"] // config.batch_size
    if not an_epoch:
      raise InputError(
        f"train_sizes must be at least batch_size, {config.batch_size}, got {values['train_size']}"
      )
    # Rounded up to whole epochs, so that every run has at least `steps` steps.
    rate = config.learning_rates[list(config.networks).index(values["network"])]
    yield values | {"epochs": -(-config.steps // an_epoch), "learning_rate": rate}


def _as_train(config, combination):
  values = {name: value for name, value in config.to_dict().items() if name not in AXES}
  return ml_collections.ConfigDict({**values, **combination, "seeds": 1})


POSSIBLE = Possible(
  metrics=train.METRICS,
  axes={"network": text(), "head": text(), "train_size": whole(1), "seed": SEED},
  statuses=train.POSSIBLE.statuses,
  measured=train.MEASURED,
)
TASK = Task(
  "heads",
  AXES,
  run,
  train.groups,
  points=points,
  apart=(*APART, "steps"),
  possible=POSSIBLE,
)
