"""Three quadratic layers in a row: an initialisation that diverges, and one that trains.

Source: Section 3 of the paper derives backpropagation for quadratic layers at any depth, but its
experiments have one quadratic layer. Here a 49-48-48-10 network has three. It is trained on MNIST
averaged to 7 x 7 pixels, with the half squared error on one-hot targets, SGD with momentum 0.9,
batches of 32 and 5 seeds. Q starts from zero or from N(0, 1), and either shares the learning rate
of the other parameters or has its own (an optax partition). A plain network of the same layer sizes
is trained for comparison.

  python -m experiments.deep_quadratic --config=configs/deep_quadratic.py
  python -m experiments.deep_quadratic --config=configs/deep_quadratic.py:smoke
  python -m experiments.deep_quadratic --config=configs/deep_quadratic.py --sweep=own_rate --workdir=results/own_rate

Cost: 1 to 2 minutes on two cores. Expect that Q ~ N(0, 1) at the shared rate diverges within 20 steps
in every seed. Starting Q from zero alone, or giving Q its own rate alone, ends no better than a
constant output. Both together train the network to 82 to 86 %: as well as the plain network after
the same number of epochs, not better. Preset `smoke`: the variants "naive" and "stable" for 40 steps,
too few to train, 15 seconds.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """All variants and seeds; preset 'smoke' takes seconds."""
  if preset not in ("", "smoke"):
    raise InputError(f"configs/deep_quadratic.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.hidden = (48, 48)
  config.learning_rate = 0.1
  config.quadratic_learning_rate = 0.001  # the learning rate of Q
  config.momentum = 0.9
  config.init_scale = 1.0  # standard deviation of Q's initial entries in the variants that draw Q
  config.batch_size = 32
  config.train_size = 6000
  config.test_size = 10000
  config.epochs = 12
  config.seeds = 5  # seeds 0 to 4
  config.variants = ("naive", "own rate only", "zero start only", "stable", "plain network")
  config.dataset = "mnist"
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.keep_params = False  # True: DIR/params keeps every trained network
  if preset == "smoke":
    config.train_size = 1280
    config.test_size = 500
    config.epochs = 1
    config.seeds = 2
    config.variants = ("naive", "stable")
  return config


def sweep_own_rate() -> list[dict]:
  """Learning rates for Q, with Q started from zero: which of them train?"""
  rates = (0.0001, 0.001, 0.01, 0.1)
  return [{"variants": ("stable",), "quadratic_learning_rate": rate} for rate in rates]
