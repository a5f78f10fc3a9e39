"""All but the full quadratic against their documents' backward equations, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from op_cases import CASES, arguments

from qnn_jax import ops

pytestmark = pytest.mark.fast


def affine(a, kernel, bias, delta):
  return kernel @ delta, np.outer(a, delta), delta  # (41) without Q, (31), (28)


def reduced_quadratic(a, w, b, u, c, delta):
  W, U = w.T, u.T  # the paper's layout
  # (65) as first printed, before its terms are gathered.
  da = U.T @ (delta * b) + W.T @ (delta * c) + W.T @ (delta * (U @ a)) + U.T @ (delta * (W @ a))
  dW = np.outer(delta * (c + U @ a), a)  # (56)
  dU = np.outer(delta * (b + W @ a), a)  # (57)
  db = delta * (c + U @ a)  # (59)
  dc = delta * (b + W @ a)  # (60)
  return da, dW.T, db, dU.T, dc


def heavy(a, heavy_kernel, kernel, bias, delta):
  X = a[:, None]
  da = (kernel + 2 * X * heavy_kernel) @ delta  # [W + 2 X H]
  return da, np.outer(a**2, delta), np.outer(a, delta), delta


def low_rank_quadratic(a, v, s, kernel, bias, delta):
  t = np.einsum("i,irk->rk", a, v)
  da = kernel @ delta + 2 * np.einsum("k,rk,rk,irk->i", delta, s, t, v)  # (L4)
  dv = 2 * np.einsum("k,rk,rk,i->irk", delta, s, t, a)  # (L3)
  ds = delta * t**2  # (L2)
  return da, dv, ds, np.outer(a, delta), delta


@pytest.mark.parametrize("backward", [affine, reduced_quadratic, heavy, low_rank_quadratic])
def test_backward_pass_is_the_document_s(backward, x64):
  name = backward.__name__
  x, *params = arguments(name)
  delta = np.random.default_rng(1).normal(size=(4, 2))
  gradients = jax.vjp(CASES[name].op, x, *params)[1](jnp.asarray(delta))
  rows = [backward(a, *params, d) for a, d in zip(x, delta, strict=True)]
  inputs, *parameters = zip(*rows, strict=True)
  np.testing.assert_allclose(gradients[0], np.stack(inputs), rtol=1e-12)
  for ours, samples in zip(gradients[1:], parameters, strict=True):
    np.testing.assert_allclose(ours, sum(samples), rtol=1e-12)


def test_heavy_is_a_quadratic_layer_of_diagonal_matrices(x64):
  x, heavy_kernel, kernel, bias = arguments("heavy")
  q = np.stack([np.diag(column) for column in heavy_kernel.T])
  z = CASES["quadratic_full"].op(x, q, kernel, bias)
  np.testing.assert_allclose(CASES["heavy"].op(x, heavy_kernel, kernel, bias), z, rtol=1e-12)


def test_reduced_is_a_quadratic_layer_of_rank_one_matrices(x64):
  x, w, b, u, c = arguments("reduced_quadratic")
  outer = np.einsum("im,jm->mij", w, u)
  q = (outer + outer.swapaxes(1, 2)) / 2
  z = CASES["quadratic_full"].op(x, q, w * c + u * b, b * c)
  np.testing.assert_allclose(CASES["reduced_quadratic"].op(x, w, b, u, c), z, rtol=1e-12)


def test_low_rank_is_a_quadratic_layer_with_its_gradient_by_the_chain_rule(x64):
  """(37), and Q_k = V_k diag(s_k) V_k^T differentiated by JAX, give (L2) and (L3); (47) gives (L4)."""
  x, v, s, kernel, bias = arguments("low_rank_quadratic")
  of_q = lambda v, s: jnp.einsum("irm,rm,jrm->mij", v, s, v)
  delta = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)))
  z, pullback = jax.vjp(CASES["low_rank_quadratic"].op, x, v, s, kernel, bias)
  q, q_pullback = jax.vjp(of_q, v, s)
  z_full, full_pullback = jax.vjp(lambda *args: ops.quadratic(*args), x, ops.pack(q), kernel, bias)
  np.testing.assert_allclose(z, z_full, rtol=1e-12)
  dx, dq, dkernel, dbias = full_pullback(delta)
  # dL/dq of one packed entry is that of both its halves.
  dq = ops.unpack(dq / ops.multiplicity(3)[:, None])
  expected = dx, *q_pullback(dq), dkernel, dbias
  for ours, full in zip(pullback(delta), expected, strict=True):
    np.testing.assert_allclose(ours, full, rtol=1e-11)
