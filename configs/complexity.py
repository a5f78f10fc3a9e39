"""Tables 1 and 2, (67) to (70): the paper's operation counts compared with what XLA compiles.

Source: Section 5 of the paper. Nothing is trained or even run. The forward pass, the backward pass
and the update of each layer are compiled for CPU, and the multiplications and bytes of the compiled
programs are counted.

  python -m experiments.complexity --config=configs/complexity.py
  python -m experiments.complexity --sweep=hidden        # the paper's three final layers

Cost: 10 seconds on two cores. Expect slopes of 2 (ANN, RPQNN) and 3 (QNN) in the figure. For ANN and
RPQNN the counts equal the formulas, except in the update. For QNN the counts are 2 to 5 times the
formulas. Preset `smoke`: small layers only, 5 seconds.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  if preset not in ("", "smoke"):
    raise InputError(f"configs/complexity.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.sizes = (8, 16, 32, 64, 128, 256)  # n = n_{l-1} = n_l of the square layers in the figure
  config.head = (30, 10)  # the paper's largest final layer: n inputs, m neurons
  config.network = (784, 30, 10)  # layer sizes for (67) to (70)
  config.learning_rate = 0.01  # compiled into the programs as a constant
  if preset == "smoke":
    config.sizes = (4, 8, 16)
  return config


def sweep_hidden():
  """The paper's numbers of hidden neurons: the final layer, and the network around it."""
  return [{"head": (n, 10), "network": (784, n, 10)} for n in (10, 20, 30)]
