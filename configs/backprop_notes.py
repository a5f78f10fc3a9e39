"""A plain network trained by hand and by JAX: the backpropagation notes, followed step by step.

Source: the notes on backpropagation (W, b, half squared error, any depth). A sigmoid network of
four layers learns z = x1 x2 on [-1, 1]^2 by full-batch gradient descent. It is trained twice from
the same initial parameters: once with the notes' delta recursion in NumPy, and once with
`ops.affine` and `losses.half_squared_error`.

  python -m experiments.backprop_notes --config=configs/backprop_notes.py
  python -m experiments.backprop_notes --sweep=depth     # networks of one to five layers

Cost: 6 seconds on two cores. Expect gradients that agree to float32 rounding in every layer, at the
start and at the end of training: they differ by less than 1e-6 of the size of their terms. The two
loss curves coincide. Set another depth with `--config.sizes='(2, 8, 1)'`. Preset `smoke`: a short
training, 5 seconds.
"""

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import product


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  if preset not in ("", "smoke"):
    raise InputError(f"configs/backprop_notes.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.sizes = (2, 16, 16, 8, 1)  # the number of inputs, then the neurons of each layer
  config.grid = 9  # training points along each axis
  config.learning_rate = 1.0
  config.epochs = 6000  # each epoch is one step on all points
  config.seeds = 1  # numbered from 0; each seed draws its own initial parameters
  config.keep_params = False
  if preset == "smoke":
    config.epochs = 50
  return config


def sweep_depth():
  """How well the gradients agree at each depth."""
  return product(
    sizes=((2, 1), (2, 16, 1), (2, 16, 8, 1), (2, 16, 16, 8, 1), (2, 16, 16, 16, 8, 1))
  )
