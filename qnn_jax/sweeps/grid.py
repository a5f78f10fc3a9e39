"""The grid of Table 4: what its configuration asks for, checked, as fleets and training sizes."""

import dataclasses
import math

import ml_collections

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.reports.paper import Cell
from qnn_jax.training.fleet import Fleet, Net
from qnn_jax.training.per_sample import Method


@dataclasses.dataclass(frozen=True)
class Grid:
  """A sweep: every net of the fleet, at every training size, epoch mark and seed.

  Attributes:
    fleet: the nets, models x hidden sizes.
    train_sizes: ascending, so that the quick ones come first.
    marks: ascending epochs at which a run is tested; one run serves them all.
    seeds: the seeds' numbers.
    shared_order: whether all seeds see the samples of seed 0.
    method: how the trajectory is computed.
    data_dir: a TFDS directory, or None for the one that ships.
  """

  fleet: Fleet
  train_sizes: tuple[int, ...]
  marks: tuple[int, ...]
  seeds: tuple[int, ...]
  shared_order: bool
  method: Method
  data_dir: str | None

  def cells(self, size: int, epochs: int) -> list[Cell]:
    """The cells of one size and mark, in the order of `fleet.nets`."""
    return [Cell(size, epochs, net.hidden, net.head) for net in self.fleet.nets]


def grid(config: ml_collections.ConfigDict) -> Grid:
  """The grid of `configs/table4.py`; InputError names the first value that makes no sense."""
  check_models(config)
  check_once(config, "models", "train_sizes", "epochs", "hidden")
  for name in ("train_sizes", "epochs", "hidden"):
    if not all(isinstance(value, int) for value in config[name]) or min(config[name]) < 1:
      raise InputError(f"{name} must be whole numbers of at least 1, got {tuple(config[name])}")
  if config.seeds < 1:
    raise InputError(
      f"seeds, the number of training runs a cell, must be at least 1, got {config.seeds}"
    )
  check_positive(config, "learning_rate", "init_scale")
  check_shift(config)
  if config.dtype not in ("float32", "float64"):
    raise InputError(f"dtype must be float32 or float64, got '{config.dtype}'")
  return Grid(
    fleet=Fleet(
      nets=tuple(Net(model, hidden) for hidden in sorted(config.hidden) for model in config.models),
      learning_rate=config.learning_rate,
      init=config.init,
      init_scale=config.init_scale,
      input_shift=config.input_shift,
      dtype=config.dtype,
    ),
    train_sizes=tuple(sorted(config.train_sizes)),
    marks=tuple(sorted(config.epochs)),
    seeds=tuple(range(config.seeds)),
    shared_order=config.shared_order,
    method=Method(config.method, config.block, config.sub_block),
    data_dir=config.data_dir or None,
  )


def check_models(config: ml_collections.ConfigDict) -> None:
  """InputError unless every one of `models` names a head."""
  for model in config.models:
    if model not in heads.names():
      raise InputError(f"unknown head '{model}' in models; choose among {', '.join(heads.names())}")


def check_once(config: ml_collections.ConfigDict, *names: str) -> None:
  """InputError unless these hold something, and nothing twice."""
  for name in names:
    values = config[name]
    if not values or any(value in values[:i] for i, value in enumerate(values)):
      raise InputError(f"{name} must hold at least one value and each once, got {tuple(values)}")


def check_positive(config: ml_collections.ConfigDict, *names: str) -> None:
  """InputError unless these are finite numbers above zero."""
  for name in names:
    if not 0 < config[name] < float("inf"):
      raise InputError(f"{name} must be a positive number, got {config[name]}")


def check_shift(config: ml_collections.ConfigDict) -> None:
  """InputError unless `input_shift` is a finite number."""
  if not math.isfinite(config.input_shift):
    raise InputError(f"input_shift must be a finite number, got {config.input_shift}")


def check_sizes(train_sizes: tuple[int, ...], available: int) -> None:
  """InputError unless the data set has samples enough for every training size."""
  for size in train_sizes:
    if size > available:
      raise InputError(
        f"train_sizes holds {size}, but the data set has {available} training samples"
      )
