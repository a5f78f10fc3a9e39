"""XOR with a single quadratic neuron: Fig. 1.

Source: Section 2, 'Single neuron solutions to the XOR problem', (20) and Fig. 1; trained with (8),
(11, its sign mended) and (19).

  python -m experiments.xor                              # to results/xor
  python -m experiments.xor --config=configs/xor.py:smoke

Costs 3 seconds on a laptop. Expect 4 of 4 points right from every start: an ellipse from Q = I,
mostly hyperbolas from a random Q. The paper gives no rate, number of epochs or spread of Q.
"""

import ml_collections

from qnn_jax.errors import InputError

PRESETS = ("", "smoke")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """The configuration, or with 'smoke' a few starts of it."""
  if preset not in PRESETS:
    raise InputError(f"configs/xor.py has no preset '{preset}'; it has 'smoke'")
  config = ml_collections.ConfigDict()
  config.starts = 100  # random ones, beside the one from the identity
  config.rate = 0.01
  config.epochs = 2000
  config.scale = 1.0  # the standard deviation of the random starts' entries
  config.seed = 0
  if preset == "smoke":
    config.starts, config.epochs = 10, 1000
  return config
