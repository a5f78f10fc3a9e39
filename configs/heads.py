"""Which final layer a network should have: dense, quadratic, reduced, Heavy or low rank, at equal size.

Source: none. The paper proposes quadratic final layers for CNNs but does not measure them; this experiment does.
It trains an MLP and a small CNN on MNIST. Each has the same number of parameters with every head, because the width
of the layer before the head is chosen to give that number. With the same seed every head sees the same images in
the same order, so that heads are compared in pairs, seed by seed.

  python -m experiments.heads                                  300 runs, 20 minutes on two cores
  python -m experiments.heads --config=configs/heads.py:smoke  seconds
  python -m experiments.heads --config=configs/heads.py:rates --sweep=rates --workdir=results/heads-rates
                                                               checks that the rate suits every head

Measured: in the CNN no head differs from the dense head by more than 0.3 points, at any size. In the MLP the
reduced and the Heavy head gain 1.0 and 1.4 points at 8,000 images; the reduced head loses 1.5 points at 500
images. At 8,000 images the full quadratic head gains 2.1 points in nine of ten seeds, and fails to train in the
tenth.
"""

import ml_collections

from configs import train
from qnn_jax.errors import InputError


def sweep_rates() -> list[dict]:
  """Learning rates around those below; both networks use the same rate."""
  return [{"learning_rates": (rate,) * 2} for rate in (0.001, 0.002, 0.004, 0.008, 0.016)]


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """Two networks, five heads, three sizes, ten seeds; preset 'rates' does not use the test images, 'smoke' takes seconds."""
  if preset not in ("", "rates", "smoke"):
    raise InputError(f"configs/heads.py has no preset '{preset}'; choose rates, smoke or none")
  config = train.get_config()
  for name in ("network", "head", "train_size", "epochs", "learning_rate"):  # chosen below
    del config[name]
  config.networks = ("mlp", "cnn")
  # Every other head is compared with the first.
  config.heads = ("ann", "qnn", "rpqnn", "heavy", "lowrank:4")
  config.train_sizes = (500, 2000, 8000)
  config.seeds = 10
  config.channels = (4, 8)
  config.parameters = 20000  # of every network, within 2 %
  config.steps = 800  # of every run, so that a small training set is passed over more often
  # Of AdamW, one rate per network. Each suits every head: see preset 'rates'.
  config.learning_rates = (0.002, 0.008)
  config.schedule = "cosine"
  config.evaluate_every = 0
  config.log_every = 0
  if preset == "rates":
    config.train_sizes = (2000,)
    config.seeds = 3
    # The learning rate must not be chosen on the test images of the table.
    config.train_split, config.test_split = "train[:50000]", "train[50000:]"
  elif preset == "smoke":
    config.heads = ("ann", "qnn")
    config.train_sizes = (100,)
    config.seeds = 2
    config.steps = 4
    config.test_split = "test[:10%]"
  return config
