"""Images of at most 7 x 7 pixels: so small that three quadratic layers train in seconds."""

import functools
from typing import NamedTuple

import numpy as np

from qnn_jax.datasets import load_dataset

SIDE = 7  # of a picture at most, once it is shrunk


class Small(NamedTuple):
  """What the networks see.

  Attributes:
    x, y: [N, n] in [0, 1], and one-hot [N, classes]; for MNIST n is 49.
    test_x, test_labels: [T, n] and [T].
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
  y = np.eye(data.classes, dtype=np.float32)[data.train_labels[:train_size]]
  constant = float(((y - y.mean(0)) ** 2 / 2).sum(1).mean())
  x, test_x = (
    shrink(images, data.shape)
    for images in (data.train_images[:train_size], data.test_images[:test_size])
  )
  return Small(x, y, test_x, data.test_labels[:test_size], constant)


def shrunk(shape: tuple[int, int, int]) -> tuple[int, int, int]:
  """A picture's (height, width, channels) once it is shrunk by a whole factor, to at most 7 x 7."""
  factor = -(-max(shape[:2]) // SIDE)
  return shape[0] // factor, shape[1] // factor, shape[2]


def shrink(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """uint8 [N, height width channels] -> [N, n]: the mean brightness of 4 x 4 pixels of MNIST's, in [0, 1].

  Of another data set it is that of so many that 7 x 7 or fewer are left; rows and columns that do not
  fill the last of them are left out.
  """
  height, width, channels = shrunk(shape)
  factor = -(-max(shape[:2]) // SIDE)
  whole = images.reshape(-1, *shape)[:, : height * factor, : width * factor]
  blocks = whole.reshape(-1, height, factor, width, factor, channels)
  return blocks.mean((2, 4), dtype=np.float32).reshape(len(images), -1) / 255
