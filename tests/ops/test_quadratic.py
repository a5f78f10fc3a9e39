"""The quadratic op: (23), (37) and (47) as the paper prints them, and the two storages of Q."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from op_cases import arguments, full_from_packed

from qnn_jax import InputError, ops


def forward_and_backward(a, Q, W, b, delta):
  """(23), (28), (31), (37), (47) for one sample, block matrices and Kronecker products as printed.

  Q [m, n, n], W [m, n] as in the paper. Returns z and the derivatives by a, Q, W and b.
  """
  m, n = W.shape
  A = np.kron(np.eye(m), a[None, :])  # a^T in every diagonal block: [m, m n]
  V = A @ Q.reshape(m * n, n)
  z = b + (W + V) @ a
  M = 2 * np.outer(a, a) - np.diag(a**2)  # (35)
  dQ = np.kron(delta[:, None], M)  # (37): [m n, n]
  da = (W.T + 2 * V.T) @ delta  # (47) without g'
  return z, da, dQ.reshape(m, n, n), np.outer(delta, a), delta


def test_full_op_is_the_paper_s_equations(x64):
  x, q, kernel, bias = arguments("quadratic_full")
  delta = np.random.default_rng(1).normal(size=(4, 2))
  z, pullback = jax.vjp(ops.quadratic_full, x, q, kernel, bias)
  rows = [forward_and_backward(a, q, kernel.T, bias, d) for a, d in zip(x, delta, strict=True)]
  zs, das, dQs, dWs, dbs = (np.stack(column) for column in zip(*rows, strict=True))
  np.testing.assert_allclose(z, zs, rtol=1e-12)
  dx, dq, dkernel, dbias = pullback(jnp.asarray(delta))
  np.testing.assert_allclose(dx, das, rtol=1e-12)
  np.testing.assert_allclose(dq, dQs.sum(0), rtol=1e-12)
  np.testing.assert_array_equal(dq, dq.swapaxes(1, 2))  # or a long run would lose the symmetry
  np.testing.assert_allclose(dkernel, dWs.sum(0).T, rtol=1e-12)
  np.testing.assert_allclose(dbias, dbs.sum(0), rtol=1e-12)


def packed_form(x, q, kernel, bias):
  """sum_i q_ii a_i^2 + 2 sum_{i<j} q_ij a_i a_j + ..., for autodiff to differentiate."""
  z = x @ kernel + bias
  for p, (i, j) in enumerate(itertools.combinations_with_replacement(range(x.shape[-1]), 2)):
    z = z + (1 if i == j else 2) * q[p] * (x[..., i] * x[..., j])[..., None]
  return z


def test_packed_op_is_what_autodiff_makes_of_the_packed_form(x64):
  args = arguments("quadratic", (2, 3), n=4)
  ours, theirs = (
    jax.jit(jax.value_and_grad(lambda *args, op=op: jnp.sum(jnp.sin(op(*args))), (0, 1, 2, 3)))
    for op in (ops.quadratic, packed_form)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), ours(*args), theirs(*args)
  )


def test_packed_and_full_are_one_function_with_one_gradient(x64):
  x, q, kernel, bias = arguments("quadratic")
  delta = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)))
  z, pullback = jax.vjp(ops.quadratic, x, q, kernel, bias)
  z_full, pullback_full = jax.vjp(ops.quadratic_full, x, full_from_packed(q), kernel, bias)
  np.testing.assert_allclose(z, z_full, rtol=1e-12)
  (dx, dq, *rest), (dx_full, dq_full, *rest_full) = pullback(delta), pullback_full(delta)
  np.testing.assert_allclose(full_from_packed(np.asarray(dq)), dq_full, rtol=1e-12)
  for ours, full in zip((dx, *rest), (dx_full, *rest_full), strict=True):
    np.testing.assert_allclose(ours, full, rtol=1e-12)


def test_full_gradient_is_the_finite_difference_along_symmetric_directions(x64):
  x, q, kernel, bias = arguments("quadratic_full")
  f = jax.jit(lambda q: jnp.sum(jnp.sin(ops.quadratic_full(x, q, kernel, bias))))
  gradient = jax.grad(f)(q)
  step = 1e-6
  for k, (i, j) in itertools.product(range(2), zip(*np.triu_indices(3), strict=True)):
    direction = np.zeros_like(q)
    direction[k, i, j] = direction[k, j, i] = 1
    difference = (f(q + step * direction) - f(q - step * direction)) / (2 * step)
    np.testing.assert_allclose(gradient[k, i, j], difference, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(gradient[k, j, i], difference, rtol=1e-7, atol=1e-8)


def test_packed_and_full_walk_the_same_trajectory(x64):
  x, q, kernel, bias = arguments("quadratic", (30,))
  y = np.random.default_rng(1).normal(size=(30, 2))

  def walk(op, params):
    def step(params, sample):
      loss = lambda p: jnp.sum((op(sample[0], *p) - sample[1]) ** 2) / 2
      return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params)), None

    return jax.lax.scan(step, params, (x, y))[0]

  packed = walk(ops.quadratic, (jnp.asarray(q), jnp.asarray(kernel), jnp.asarray(bias)))
  full = walk(
    ops.quadratic_full,
    (jnp.asarray(full_from_packed(q)), jnp.asarray(kernel), jnp.asarray(bias)),
  )
  assert np.abs(packed[0] - q).max() > 0.01  # it has gone somewhere
  np.testing.assert_allclose(full_from_packed(np.asarray(packed[0])), full[0], rtol=1e-12)
  assert ops.quadratic_full(x, *full).shape == (30, 2)  # still symmetric enough to be taken
  for a, b in zip(packed[1:], full[1:], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_full_q_that_is_not_symmetric_is_refused():
  x, q, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments("quadratic_full"))
  with pytest.raises(InputError) as error:
    ops.quadratic_full(x, q.at[1, 0, 2].set(5).at[1, 2, 0].set(-5), kernel, bias)
  assert "q[1, 0, 2] = 5 and q[1, 2, 0] = -5" in str(error.value)
  assert "pass (q + q.swapaxes(1, 2)) / 2" in str(error.value)
  # Halves that an update left a rounding apart are symmetric.
  nudged = q.at[1, 0, 2].multiply(1 + 1e-7)
  assert jnp.isfinite(ops.quadratic_full(x, nudged, kernel, bias)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("entry", [(0, 0), (0, 2)])
def test_nan_and_infinity_in_q_flow_into_z(bad, entry):
  """A run that diverged is told by its loss, as with every other op."""
  x, q, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments("quadratic_full"))
  q = q.at[1, *entry].set(bad).at[1, *entry[::-1]].set(bad)
  z = ops.quadratic_full(x, q, kernel, bias)
  assert jnp.isfinite(z[:, 0]).all() and not jnp.isfinite(z[:, 1]).any()
  assert not jnp.isfinite(ops.quadratic(x, ops.pack(q), kernel, bias)[:, 1]).any()


def test_a_traced_q_is_not_looked_at():
  x, q, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments("quadratic_full"))
  assert jax.jit(ops.quadratic_full)(x, q.at[0, 0, 1].set(9), kernel, bias).shape == (4, 2)


def test_q_of_another_size_tells_the_size_that_fits():
  x, q, kernel, bias = arguments("quadratic")
  with pytest.raises(InputError, match=r"q has shape \(5, 2\), but \(6, 2\) is needed"):
    ops.quadratic(x, q[:5], kernel, bias)
  with pytest.raises(InputError, match=r"q has shape \(2, 3, 3\), but \(6, 2\) is needed"):
    ops.quadratic(x, full_from_packed(q), kernel, bias)
