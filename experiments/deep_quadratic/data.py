"""Images reduced to at most 7 x 7 pixels, so that three quadratic layers train in seconds."""

import functools
from typing import NamedTuple

import numpy as np

from qnn_jax.datasets import load_dataset

SIDE = 7  # of a picture at most, once it is shrunk


class Small(NamedTuple):
  """The training and test data.

  Attributes:
    x, y: inputs [N, n] in [0, 1] and one-hot targets [N, classes]; for MNIST n is 49.
    test_x, test_labels: [T, n] and [T].
    constant: the training loss of the best constant output.
  """

  x: np.ndarray
  y: np.ndarray
  test_x: np.ndarray
  test_labels: np.ndarray
  constant: float


@functools.lru_cache(maxsize=1)
def small_data(name: str, data_dir: str, train_size: int, test_size: int) -> Small:
  """The first training and test images, reduced; cached for the next group of the process."""
  data = load_dataset(name, data_dir or None)
  y = np.eye(data.classes, dtype=np.float32)[data.train_labels[:train_size]]
  constant = float(((y - y.mean(0)) ** 2 / 2).sum(1).mean())
  x, test_x = (
    shrink(images, data.shape)
    for images in (data.train_images[:train_size], data.test_images[:test_size])
  )
  return Small(x, y, test_x, data.test_labels[:test_size], constant)


def shrunk(shape: tuple[int, int, int]) -> tuple[int, int, int]:
  """(height, width, channels) of an image reduced by a whole factor to at most 7 x 7 pixels."""
  factor = -(-max(shape[:2]) // SIDE)
  return shape[0] // factor, shape[1] // factor, shape[2]


def shrink(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """uint8 [N, height width channels] -> [N, n]: the mean brightness of squares of pixels, in [0, 1].

  For MNIST a square has 4 x 4 pixels. For other data sets it is as large as necessary to leave at most 7 x 7
  squares. Rows and columns that do not fill a square are dropped.
  """
  height, width, channels = shrunk(shape)
  factor = -(-max(shape[:2]) // SIDE)
  whole = images.reshape(-1, *shape)[:, : height * factor, : width * factor]
  blocks = whole.reshape(-1, height, factor, width, factor, channels)
  return blocks.mean((2, 4), dtype=np.float32).reshape(len(images), -1) / 255
