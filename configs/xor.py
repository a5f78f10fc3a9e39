"""XOR with a single quadratic neuron: Fig. 1.

Source: Section 2, 'Single neuron solutions to the XOR problem', (20) and Fig. 1; trained with (8),
(11, its sign mended) and (19).

  python -m experiments.xor                              # to results/xor
  python -m experiments.xor --config=configs/xor.py:smoke
  python -m experiments.xor --sweep=starts               # the kinds by distribution and scale of Q

Costs 3 seconds on a laptop. Expect 4 of 4 points right from every start: an ellipse from Q = I,
mostly hyperbolas from a random Q. The paper gives no rate, number of epochs or spread of Q.
"""

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import product

PRESETS = ("", "smoke")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """The configuration, or with 'smoke' a few starts of it."""
  if preset not in PRESETS:
    raise InputError(f"configs/xor.py has no preset '{preset}'; it has 'smoke'")
  config = ml_collections.ConfigDict()
  config.seeds = 100  # random starts, numbered from 0, beside the one from the identity
  config.learning_rate = 0.01
  config.epochs = 2000
  # The random starts' distribution: 'normal' for N(0, init_scale^2), 'symmetric' for
  # U[-init_scale, init_scale), 'positive' for U[0, init_scale); Q symmetrised.
  config.init = "normal"
  config.init_scale = 1.0
  config.keep_params = False
  if preset == "smoke":
    config.seeds, config.epochs = 10, 1000
  return config


def sweep_starts():
  """Each distribution of the random starts, narrow and wide."""
  return product(init=("normal", "symmetric", "positive"), init_scale=(0.1, 1.0))
