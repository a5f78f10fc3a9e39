"""Checks the configuration of heavy_curve."""

from collections.abc import Mapping

import ml_collections

from experiments.heavy_curve.task import GRID, LANES_AT_ONCE, parameters
from qnn_jax.errors import InputError
from qnn_jax.ops import packed_size
from qnn_jax.sweeps import checks


def check(config: ml_collections.ConfigDict) -> None:
  """InputError names the first value that makes no sense."""
  checks.whole(config, "epochs", "seeds", "points")
  checks.whole(config, "data_seed", least=0)
  checks.once(config, "learning_rates")
  checks.number(config, "learning_rates", above=0)
  checks.number(config, "noise", least=0)
  if not config.networks:
    raise InputError("networks must name at least one network")
  for name, network in config.networks.items():
    _network(f"networks.{name}", network)
    _memory(config, f"networks.{name}", network)


def _network(name, network):
  if not isinstance(network, (Mapping, ml_collections.ConfigDict)) or set(network) != {
    "hidden", "kinds",
  }:  # fmt: skip
    raise InputError(f"{name} must have the fields hidden and kinds, and no others")
  hidden, kinds = network["hidden"], network["kinds"]
  if not isinstance(hidden, (tuple, list)) or not hidden:
    raise InputError(f"{name}.hidden must be a tuple of at least one layer's size, got {hidden!r}")
  checks.whole({f"{name}.hidden": hidden}, f"{name}.hidden")
  if not isinstance(kinds, (tuple, list)) or len(kinds) != len(hidden) + 1:
    raise InputError(
      f"{name}.kinds must name every hidden layer and the last, got {kinds!r} with hidden "
      f"{tuple(hidden)}"
    )
  for kind in kinds:
    checks.head(f"{name}.kinds", kind)


def _memory(config, name, network):
  lanes = min(LANES_AT_ONCE, len(config.learning_rates) * config.seeds)
  sizes = (1, *network["hidden"], 1)
  # First a lower bound, for plain layers: parameters are counted exactly only where this fits.
  checks.memory(24.0 * lanes * sum(n * m for n, m in zip(sizes, sizes[1:])), name)
  # Parameters, Adam's two moments, gradients and updates; and copies of all these.
  held = 8.0 * 4 * parameters(network)
  # Activations for all points and the products of pairs that a Heavy layer forms, forward and backward.
  held += 4.0 * 4 * config.points * sum(n + packed_size(n) for n in sizes)
  held += 4.0 * 4 * config.epochs + 8.0 * 4 * GRID.size
  what = f"{name} with points = {config.points:,}, epochs = {config.epochs:,}"
  checks.memory(lanes * held, what)
