"""Tables 1 and 2, (67) to (70): the formulas beside what XLA compiles for the same layer.

Source: Section 5 of the paper. Nothing is trained or even run: each layer's forward pass,
backward pass and update are compiled for CPU, and the compiled programs are counted.

  python -m experiments.complexity --config=configs/complexity.py
  python -m experiments.complexity --sweep=hidden        # the paper's three final layers

Cost: 10 seconds on two cores. Expect slopes of 2 (ANN, RPQNN) and 3 (QNN) in the picture, and
counts that equal the formulas for ANN and RPQNN but for the update; the QNN's are 2 to 5 times
theirs. Preset `smoke`: small layers only, 5 seconds.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  if preset not in ("", "smoke"):
    raise InputError(f"configs/complexity.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.sizes = (8, 16, 32, 64, 128, 256)  # n = n_{l-1} = n_l of the square layers in the picture
  config.head = (30, 10)  # the paper's largest final layer: n inputs, m neurons
  config.network = (784, 30, 10)  # layer sizes for (67) to (70)
  config.learning_rate = 0.01  # a constant of the programs
  if preset == "smoke":
    config.sizes = (4, 8, 16)
  return config


def sweep_hidden():
  """The paper's numbers of hidden neurons: the final layer, and the network around it."""
  return [{"head": (n, 10), "network": (784, n, 10)} for n in (10, 20, 30)]
