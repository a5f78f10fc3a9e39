"""The data of (20)."""

import numpy as np
import pytest

from qnn_jax.datasets.xor import make_xor

pytestmark = pytest.mark.fast


def test_the_points_of_equation_20():
  data = make_xor()
  assert data.x.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
  assert data.bipolar.tolist() == [-1, 1, 1, -1]


def test_targets_are_the_exclusive_or_of_the_signs():
  data = make_xor()
  a, b = (data.x > 0).T
  assert (data.targets == (a ^ b)).all()
  assert data.targets.dtype == data.x.dtype == np.float32
