"""XOR learned by a single quadratic neuron: Fig. 1.

Source: Section 2, 'Single neuron solutions to the XOR problem', (20) and Fig. 1; trained with (8),
(11, with its sign corrected) and (19).

  python -m experiments.xor                              # to results/xor
  python -m experiments.xor --config=configs/xor.py:smoke
  python -m experiments.xor --sweep=starts               # other distributions and scales of Q

Cost: 3 seconds on a laptop. Expect 4 of 4 points right from every initial Q. The boundary is an
ellipse from Q = I, and mostly a hyperbola from a random Q. The paper gives no learning rate, number
of epochs or scale of Q.
"""

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import product

PRESETS = ("", "smoke")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """The configuration; preset 'smoke' has fewer starts and epochs."""
  if preset not in PRESETS:
    raise InputError(f"configs/xor.py has no preset '{preset}'; it has 'smoke'")
  config = ml_collections.ConfigDict()
  config.seeds = 100  # random starts, numbered from 0, in addition to the start from the identity
  config.learning_rate = 0.01
  config.epochs = 2000
  # The distribution of the random starts: 'normal' for N(0, init_scale^2), 'symmetric' for
  # U[-init_scale, init_scale), 'positive' for U[0, init_scale). Q is symmetrised.
  config.init = "normal"
  config.init_scale = 1.0
  config.keep_params = False
  if preset == "smoke":
    config.seeds, config.epochs = 10, 1000
  return config


def sweep_starts():
  """Each distribution of the random starts, at a small and a large scale."""
  return product(init=("normal", "symmetric", "positive"), init_scale=(0.1, 1.0))
