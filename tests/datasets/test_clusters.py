"""The six Gaussians are those of Table 3, and belong to their seed."""

import re

import numpy as np
import pytest

from qnn_jax.datasets.clusters import make_clusters
from qnn_jax.errors import InputError

# Table 3, by its colours.
TABLE_3 = {
  "red": ((-16, 0), -0.3),
  "black": ((-8, 0), 0.0),
  "magenta": ((0, 0), 0.3),
  "green": ((0, 10), -0.3),
  "cyan": ((-8, 10), 0.0),
  "blue": ((-16, 10), 0.3),
}


def test_means_and_covariances_are_table_3():
  data = make_clusters(seed=0, train=20_000, test=1)
  for k, (mean, r) in enumerate(TABLE_3.values()):
    x = data.train_x[data.train_y == k]
    # Four standard errors of 20,000 draws: 1 / 141 of a mean, at most 1.42 / 141 of a covariance.
    np.testing.assert_allclose(x.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), [[1, r], [r, 1]], atol=0.04)


def test_the_papers_numbers_of_pairs():
  data = make_clusters(seed=0)
  assert data.train_x.shape == (12_000, 2) and data.test_x.shape == (3_000, 2)
  assert np.bincount(data.train_y).tolist() == [2000] * 6
  assert np.bincount(data.test_y).tolist() == [500] * 6


def test_the_same_seed_gives_the_same_data_and_order():
  for a, b in zip(make_clusters(3), make_clusters(3)):
    assert (a == b).all()
  assert (make_clusters(3).train_x != make_clusters(4).train_x).any()


def test_the_classes_come_mixed():
  labels = make_clusters(seed=0).train_y
  assert np.bincount(labels[:1200], minlength=6).min() > 100


def test_test_pairs_are_not_the_training_pairs_and_do_not_depend_on_their_number():
  small, large = make_clusters(0, train=10), make_clusters(0, train=20)
  assert (small.test_x == large.test_x).all()
  data = make_clusters(0, train=500, test=500)
  assert not set(map(tuple, data.train_x)) & set(map(tuple, data.test_x))


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"seed": -1}, "seed must be a whole number from 0 up, got -1"),
    ({"seed": 0, "train": 0}, "train must be a whole number from 1 up, got 0"),
    ({"seed": 0, "test": 2.5}, "test must be a whole number from 1 up, got 2.5"),
  ],
)
def test_bad_input(arguments, message):
  with pytest.raises(InputError, match=re.escape(message)):
    make_clusters(**arguments)
