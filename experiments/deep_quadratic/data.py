"""MNIST at 7 x 7 pixels: so small that three quadratic layers train in seconds."""

import functools
from typing import NamedTuple

import numpy as np

from qnn_jax.datasets import load_dataset

SIDE, CLASSES = 28, 10
INPUTS = (SIDE // 4) ** 2


class Small(NamedTuple):
  """What the networks see.

  Attributes:
    x, y: [N, 49] in [0, 1], and one-hot [N, 10].
    test_x, test_labels: [T, 49] and [T].
    constant: the loss of the best constant output on the training samples.
  """

  x: np.ndarray
  y: np.ndarray
  test_x: np.ndarray
  test_labels: np.ndarray
  constant: float


@functools.lru_cache(maxsize=1)
def small_data(name: str, data_dir: str, train_size: int, test_size: int) -> Small:
  """The first images of each kind, shrunk; kept for the next group of the process."""
  data = load_dataset(name, data_dir or None)
  y = np.eye(CLASSES, dtype=np.float32)[data.train_labels[:train_size]]
  constant = float(((y - y.mean(0)) ** 2 / 2).sum(1).mean())
  x, test_x = shrink(data.train_images[:train_size]), shrink(data.test_images[:test_size])
  return Small(x, y, test_x, data.test_labels[:test_size], constant)


def shrink(images: np.ndarray) -> np.ndarray:
  """uint8 [N, 784] -> [N, 49]: the mean brightness of 4 x 4 pixels, in [0, 1]."""
  blocks = images.reshape(-1, 7, 4, 7, 4).mean((2, 4), dtype=np.float32)
  return blocks.reshape(-1, INPUTS) / 255
