"""What a quadratic layer looks for: the leading eigenvectors of a trained Q, drawn as images.

Source: none; the figure is not in the papers. One quadratic layer, 784 -> 10, is trained on MNIST as in
configs/low_rank.py, with one output per digit. Because Q_k = sum_i l_i v_i v_i^T, the output is the affine part
plus the sum of l_i (v_i^T x)^2. Each eigenvector v_i is thus an image with which the input x is compared. If x is
similar to v_i or to its negative, this is evidence for the digit when the eigenvalue l_i is positive, and against
the digit when l_i is negative. The size of l_i says how much it counts.

  python -m experiments.eigenimages --config=configs/eigenimages.py
  python -m experiments.eigenimages --config=configs/eigenimages.py --config.dataset=digits --config.train_size=1437 --config.epochs=60 --config.quadratic_learning_rate=0.001
  python -m experiments.eigenimages --config=configs/eigenimages.py:smoke

Cost: as much as one seed of low_rank, 6 minutes on two cores that five other programs used. Preset `smoke` trains on
scikit-learn's digits and takes seconds. Measured accuracy: 97.15 % with the full Q, 41.9 % with one eigenvector per
class, 91.9 % with 4, 96.6 % with 16 and 97.1 % with 32. In every class the first eigenvector has a negative
eigenvalue, and the second shows the digit. The results are in experiments/results/eigenimages.
"""

import ml_collections

from qnn_jax.errors import InputError


def get_config(preset: str = "") -> ml_collections.ConfigDict:
  """MNIST; preset 'smoke' takes seconds: digits of 8 x 8 pixels."""
  if preset not in ("", "smoke"):
    raise InputError(f"configs/eigenimages.py has no preset '{preset}'; choose smoke or none")
  config = ml_collections.ConfigDict()
  config.places = 6  # eigenvectors drawn per class, those with the largest |eigenvalue| first
  config.kept = (1, 2, 4, 8, 16, 32, 64)  # eigenvectors per class with which accuracy is measured
  config.learning_rate = 0.001  # of Adam
  config.quadratic_learning_rate = 0.0001  # the learning rate of Q
  config.batch_size = 128
  config.train_size = 60000
  config.epochs = 2
  config.seeds = 1  # seeds 0 to seeds - 1; the figure shows seed 0
  config.dataset = "mnist"
  config.data_dir = ""  # a TFDS directory; empty: data/tfds of the checkout
  config.keep_params = False  # True: DIR/params keeps every network with its full Q
  if preset == "smoke":
    config.dataset = "digits"
    config.train_size = 1280
    config.epochs = 5
    config.quadratic_learning_rate = 0.001
  return config
