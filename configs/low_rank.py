"""A full Q trained on MNIST, and how many of its directions the accuracy needs.

Source: none; the low-rank layer is not in the papers. A single quadratic layer, 784 -> 10, is trained with a full
Q of 307,720 numbers per neuron. Then every Q_k is replaced by its nearest matrix of rank r, which keeps the r
eigenvalues of largest magnitude (`ops.to_low_rank`). The layer is tested again without further training.

  python -m experiments.low_rank --config=configs/low_rank.py
  python -m experiments.low_rank --config=configs/low_rank.py:network      784-30-10 with the head qnn
  python -m experiments.low_rank --config=configs/low_rank.py:smoke

Cost: 23 minutes on two cores that ten other programs used at the same time; `network` takes less than one minute.
Measured, as means of three seeds: the accuracy of the network is 95.6 %, and falls by 0.2 points at rank 4 and by
0.01 points at rank 10. The accuracy of the single layer is 97.2 %, and falls by 1.2 points at rank 10, 0.53 at 16,
0.35 at 20 and 0.10 at 30. Preset `smoke`: two ranks after ten steps, too few to learn anything.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """A single layer; preset 'network' has a hidden layer before it, 'smoke' takes seconds."""
  if preset not in ("", "network", "smoke"):
    raise InputError(f"configs/low_rank.py has no preset '{preset}'; choose network, smoke or none")
  config = ml_collections.ConfigDict()
  config.ranks = (1, 2, 4, 8, 10, 16, 20, 30)
  config.hidden = 0  # neurons of a hidden layer before the one with Q; 0 for none
  config.learning_rate = 0.001  # of Adam
  config.quadratic_learning_rate = 0.0001  # the learning rate of Q
  config.batch_size = 128
  config.train_size = 60000
  config.epochs = 2
  config.seeds = 3  # seeds 0 to 2
  config.dataset = "mnist"
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.keep_params = False  # True: DIR/params keeps every truncated network
  if preset == "network":
    config.hidden = 30
    config.quadratic_learning_rate = 0.001
    config.epochs = 5
  elif preset == "smoke":
    config.ranks = (1, 10)
    config.hidden = 12
    config.train_size = 1280
    config.epochs = 1
    config.seeds = 2
  return config
