"""The XOR data of (20): four points, bipolar."""

from typing import NamedTuple

import numpy as np


class Xor(NamedTuple):
  """XOR, in the order of (20).

  Attributes:
    x: float32 [4, 2], the corners of the square, -1 for false and 1 for true.
    bipolar: float32 [4], the targets as printed, -1 or 1.
    targets: float32 [4], the same targets as 0 or 1, as a sigmoid and (3) need them.
  """

  x: np.ndarray
  bipolar: np.ndarray
  targets: np.ndarray


def make_xor() -> Xor:
  """The four points of (20).

  >>> make_xor().targets.tolist()
  [0.0, 1.0, 1.0, 0.0]
  """
  x = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)
  bipolar = np.array([-1, 1, 1, -1], np.float32)
  return Xor(x, bipolar, (bipolar + 1) / 2)
