"""What a quadratic layer looks for: the leading eigenvectors of a trained Q, drawn as images.

Source: none; the picture is not in the papers. One quadratic layer, 784 -> 10, is trained on MNIST as in
configs/low_rank.py, one output a digit. Q_k = sum_i l_i v_i v_i^T, so that the output is a sum of l_i (v_i^T x)^2
beside its affine part: an eigenvector v_i is an image that is compared with x, and its eigenvalue l_i says how
much a likeness, or the likeness of the negative, speaks for the digit (l_i > 0) or against it.

  python -m experiments.eigenimages --config=configs/eigenimages.py
  python -m experiments.eigenimages --config=configs/eigenimages.py --config.dataset=digits --config.train_size=1437 --config.epochs=60 --config.quadratic_learning_rate=0.001
  python -m experiments.eigenimages --config=configs/eigenimages.py:smoke

Cost: that of a seed of low_rank, 6 minutes on two cores that five other programs used; preset `smoke`, scikit-learn's
digits: seconds. Seen: 97.15 % with all of Q, 41.9 with one eigenvector a class, 91.9 with 4, 96.6 with 16 and 97.1 with
32. The first is of a negative eigenvalue in every class, the second shows the digit. Results are in
experiments/results/eigenimages.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """MNIST; preset 'smoke' takes seconds: digits of 8 x 8 pixels."""
  if preset not in ("", "smoke"):
    raise InputError(f"configs/eigenimages.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.places = 6  # eigenvectors drawn a class, by magnitude of their eigenvalues
  config.kept = (1, 2, 4, 8, 16, 32, 64)  # eigenvectors a class that the accuracy is measured with
  config.learning_rate = 0.001  # of Adam
  config.quadratic_learning_rate = 0.0001  # the own rate of Q
  config.batch_size = 128
  config.train_size = 60000
  config.epochs = 2
  config.seeds = 1  # seeds 0 to seeds - 1; the first is drawn
  config.dataset = "mnist"
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.keep_params = False  # True: DIR/params keeps every network with its full Q
  if preset == "smoke":
    config.dataset = "digits"
    config.train_size = 1280
    config.epochs = 5
    config.quadratic_learning_rate = 0.001
  return config
