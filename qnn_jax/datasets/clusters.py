"""The Nonlinear Cluster data of Table 3: six Gaussians in the plane, two rows of three."""

import operator
from typing import NamedTuple

import numpy as np

from qnn_jax.errors import InputError

MEANS = np.array([(-16, 0), (-8, 0), (0, 0), (0, 10), (-8, 10), (-16, 10)], np.float64)
"""The centres [6, 2], in the order of Table 3: red, black, magenta, green, cyan, blue."""

CORRELATIONS = np.array([-0.3, 0, 0.3, -0.3, 0, 0.3])
"""The off-diagonal entries of the covariances, [6]; every variance is 1."""

CLASSES = len(MEANS)


class Clusters(NamedTuple):
  """The six clusters.

  Attributes:
    train_x: float32 [6 train, 2], in a random order, all classes mixed.
    train_y: int32 [6 train], the classes 0 to 5, in the order of Table 3.
    test_x: float32 [6 test, 2], class by class.
    test_y: int32 [6 test], the classes.
  """

  train_x: np.ndarray
  train_y: np.ndarray
  test_x: np.ndarray
  test_y: np.ndarray


def make_clusters(seed: int, train: int = 2000, test: int = 500) -> Clusters:
  """Draws the data and the order of its training samples.

  Args:
    seed: the seed of the draw and of the order.
    train: training samples for each class; 2,000 in the paper.
    test: test samples for each class; 500 in the paper.

  Raises:
    InputError: the seed is negative, a number of samples is below 1, or one is not a whole number.

  Source: Table 3 and Section 6.1.

  >>> make_clusters(seed=0).train_x.shape
  (12000, 2)
  """
  for name, value, least in (("seed", seed, 0), ("train", train, 1), ("test", test, 1)):
    if not _is_whole(value) or value < least:
      raise InputError(f"{name} must be a whole number from {least} up, got {value!r}")
  # Separate random streams: another number of training samples does not change the test samples.
  train_rng, test_rng, order_rng = np.random.default_rng(seed).spawn(3)
  train_x, train_y = _draw(train_rng, train)
  order = order_rng.permutation(len(train_y))
  return Clusters(train_x[order], train_y[order], *_draw(test_rng, test))


def _draw(rng: np.random.Generator, pairs: int) -> tuple[np.ndarray, np.ndarray]:
  u, v = rng.standard_normal((2, CLASSES, pairs))
  r = CORRELATIONS[:, None]
  # The rows of the Cholesky factor of [[1, r], [r, 1]].
  noise = np.stack([u, r * u + np.sqrt(1 - r**2) * v], axis=-1)
  x = (MEANS[:, None] + noise).reshape(-1, 2).astype(np.float32)
  return x, np.repeat(np.arange(CLASSES, dtype=np.int32), pairs)


def _is_whole(value) -> bool:
  try:
    operator.index(value)
  except TypeError:
    return False
  return True
