"""The one-line update against the printed equations, the gradient and itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from qnn_jax import losses, ops
from qnn_jax.training import logistic

RATE = 0.05


@pytest.fixture
def case():
  """theta [F, 2] of two neurons with three inputs, x [20, 3] and targets [20, 2]."""
  rng = np.random.default_rng(0)
  theta = jnp.asarray(rng.normal(0, 0.5, (10, 2)), jnp.float32)
  x = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32)
  return theta, x, jnp.asarray(rng.integers(2, size=(20, 2)), jnp.float32)


def columns(x):
  return logistic.features(x)[..., None]


def test_epoch_is_the_printed_equations(case):
  theta, x, y = case
  got = logistic.epoch(theta, columns(x), y, RATE)
  q, kernel, bias = logistic.split(theta, 3)
  for k, full in enumerate(ops.unpack(q)):
    expected = logistic.epoch_reference(full, kernel[:, k], bias[k], x, y[:, k], RATE)
    got_q, got_kernel, got_bias = logistic.split(got[:, [k]], 3)
    for ours, theirs in zip((ops.unpack(got_q)[0], got_kernel[:, 0], got_bias[0]), expected):
      assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_step_follows_the_gradient_of_the_layer(case):
  # (11) as printed, with a minus, fails here.
  theta, x, y = case

  def loss(q, kernel, bias):
    return losses.sigmoid_cross_entropy(ops.quadratic(x[0], q, kernel, bias), y[0])

  parameters = logistic.split(theta, 3)
  gradient = logistic.join(*jax.grad(loss, argnums=(0, 1, 2))(*parameters))
  got = logistic.epoch(theta, columns(x[:1]), y[:1], RATE)
  assert_allclose(got - theta, -RATE * gradient, rtol=1e-4, atol=1e-6)


def test_m_matrix_is_the_derivative_in_a_symmetric_q():
  x = jnp.array([2.0, -3.0, 0.5])
  n = len(x)

  def form(packed):  # one entry of the packed Q stands for both halves
    return x @ ops.unpack(packed)[0] @ x

  derivative = jax.grad(form)(jnp.zeros((ops.packed_size(n), 1)))
  assert_allclose(ops.unpack(derivative)[0], logistic.m_matrix(x))
  assert_allclose(logistic.features(x), [1, *x, *derivative[:, 0]])


def test_join_and_split_are_inverse(case):
  theta, _, _ = case
  q, kernel, bias = logistic.split(theta, 3)
  assert (q.shape, kernel.shape, bias.shape) == ((6, 2), (3, 2), (2,))
  assert (logistic.join(q, kernel, bias) == theta).all()


def test_features_made_on_the_way_give_the_same(case):
  theta, x, y = case
  stored = logistic.sgd(theta, columns(x), y, RATE, 3)
  made = logistic.sgd(theta, x, y, RATE, 3, expand=columns)
  assert_allclose(made, stored, rtol=1e-5, atol=1e-6)


def test_sgd_goes_on_where_it_stopped(case):
  theta, x, y = case
  half = logistic.sgd(theta, columns(x), y, RATE, 3)
  again = logistic.sgd(half, columns(x), y, RATE, 4)
  assert (again == logistic.sgd(theta, columns(x), y, RATE, 7)).all()
  assert (theta == logistic.sgd(theta, columns(x), y, RATE, 0)).all()


def test_neurons_with_data_of_their_own_do_not_see_each_other(case):
  theta, x, y = case
  both = jnp.stack([columns(x), columns(x[::-1])], axis=2)  # [20, F, 2 seeds, 1]
  targets = jnp.stack([y, y[::-1]], axis=1)
  together = logistic.sgd(jnp.stack([theta, theta], axis=1), both, targets, RATE, 2)
  for seed in range(2):
    alone = logistic.sgd(theta, both[:, :, seed], targets[:, seed], RATE, 2)
    assert_allclose(together[:, seed], alone, rtol=1e-5, atol=1e-6)
