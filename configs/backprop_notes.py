"""A plain network trained by hand and by JAX: the backpropagation notes, followed step by step.

Source: the notes on backpropagation (W, b, half squared error, any depth). A sigmoid network of
four layers learns z = x1 x2 on [-1, 1]^2 by full-batch descent, once with the document's delta
recursion in NumPy and once with `ops.affine` and `losses.half_squared_error`, from the same
start.

  python -m experiments.backprop_notes --config=configs/backprop_notes.py
  python -m experiments.backprop_notes --sweep=depth     # networks of one to five layers

Cost: 6 seconds on two cores. Expect gradients that agree to float32 rounding (below 1e-6 of the
size of the terms) in every layer, at the start and at the end, and one loss curve under two
names. Any depth: `--config.sizes='(2, 8, 1)'`. Preset `smoke`: a short training, 5 seconds.
"""

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import product


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  if preset not in ("", "smoke"):
    raise InputError(f"configs/backprop_notes.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.sizes = (2, 16, 16, 8, 1)  # inputs, and the neurons of every layer
  config.grid = 9  # training points a side
  config.learning_rate = 1.0
  config.epochs = 6000  # each a single step, of all points
  config.seeds = 1  # numbered from 0; each draws its start
  config.keep_params = False
  if preset == "smoke":
    config.epochs = 50
  return config


def sweep_depth():
  """The gradients' agreement by depth."""
  return product(
    sizes=((2, 1), (2, 16, 1), (2, 16, 8, 1), (2, 16, 16, 8, 1), (2, 16, 16, 16, 8, 1))
  )
