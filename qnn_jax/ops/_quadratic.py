"""The quadratic neuron, z = b + (W + A Q) a: (24); backwards (28), (31), (37) and (47).

Two storages of one layer. `quadratic` keeps the packed upper triangle: in
z = sum_i q_ii a_i^2 + 2 sum_{i<j} q_ij a_i a_j the shared q_ij stands for both halves of the
symmetric matrix, so its derivative is 2 a_i a_j, M(a) of (35), and (37) is what autodiff gives.
`quadratic_full` keeps the paper's block of full matrices: there (37) is the derivative along
symmetric matrices, which is what the paper updates with. Both walk the same trajectory.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.ops import _arguments, _symmetric, _tiles


def quadratic(
  x: jax.Array, q: jax.Array, kernel: jax.Array, bias: jax.Array, *, cache: bool = True
) -> jax.Array:
  """z_k = b_k + w_k^T a + a^T Q_k a, with every symmetric Q_k in packed storage.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}; any leading axes, none and empty included.
    q: [P, m], P = n(n+1)/2, upper triangles in `np.triu_indices` order.
    kernel: [n, m], the transpose of the paper's W^l.
    bias: [m].
    cache: whether V of (44) is kept for the backward pass ('Cache for BP' in Algorithm 1): B n m
      numbers for a batch of B, 4 MB for 128 rows of 784 -> 10 in float32. False makes V anew
      there, a tenth to two fifths more time for value and gradient.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit.

  Source: (24). Backwards (28), (31), (37) and the bracket of (47).

  >>> x = jnp.array([2.0, 3.0])
  >>> q = jnp.array([[1.0], [0.5], [0.0]])  # a_1^2 + a_1 a_2
  >>> quadratic(x, q, jnp.zeros((2, 1)), jnp.zeros(1)).tolist()
  [10.0]
  """
  x, q, kernel, bias = _arguments.promote(x, q, kernel, bias)
  m = _arguments.last_axis("quadratic", "bias", bias)
  n = x.shape[-1] if x.ndim else 0
  expected = {
    "q": (q, (_symmetric.packed_size(n), m)),
    "kernel": (kernel, (n, m)),
    "bias": (bias, (m,)),
  }
  _arguments.check_shapes("quadratic", x, expected)
  rows = _arguments.as_rows(x)
  # Measured, docs/performance.md: below this the plain form's few large steps are faster.
  tiled = n >= 64 and n * m >= 2048 or not cache
  form = functools.partial(_tiled, cache) if tiled and rows.size and m else _quadratic
  return form(rows, q, kernel, bias).reshape(*x.shape[:-1], m)


def quadratic_full(x: jax.Array, q: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
  """z_k = b_k + w_k^T a + a^T Q_k a, with every Q_k a full symmetric matrix: the paper's form.

  The gradient with respect to q is delta (x) M(a) of (37): the derivative with both halves moving
  together, twice on off-diagonal entries what autodiff of the same expression gives.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}; any leading axes, none and empty included.
    q: [m, n, n], symmetric in the last two axes: (47) holds for no other.
    kernel: [n, m], the transpose of the paper's W^l.
    bias: [m].

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or if q is a concrete array (not traced) and some Q_k is
      not symmetric.

  Source: (24). Backwards (28), (31), (37) and the bracket of (47).

  >>> x = jnp.array([2.0, 3.0])
  >>> q = jnp.array([[[1.0, 0.5], [0.5, 0.0]]])
  >>> quadratic_full(x, q, jnp.zeros((2, 1)), jnp.zeros(1)).tolist()
  [10.0]
  """
  x, q, kernel, bias = _arguments.promote(x, q, kernel, bias)
  m = _arguments.last_axis("quadratic_full", "bias", bias)
  n = x.shape[-1] if x.ndim else 0
  expected = {"q": (q, (m, n, n)), "kernel": (kernel, (n, m)), "bias": (bias, (m,))}
  _arguments.check_shapes("quadratic_full", x, expected)
  _check_symmetric(q)
  return _quadratic_full(_arguments.as_rows(x), q, kernel, bias).reshape(*x.shape[:-1], m)


def _check_symmetric(q):
  """Refuses a concrete Q that differs from its transpose by more than rounding."""
  if isinstance(q, jax.core.Tracer):
    return
  values = np.asarray(q).astype(np.float64)
  with np.errstate(invalid="ignore"):  # infinity less infinity
    gap = np.abs(values - values.swapaxes(1, 2))
    # An update computed in floating point may leave the halves a few roundings apart.
    tolerance = 8 * float(jnp.finfo(q.dtype).eps) * np.abs(values).max(initial=0)
  # Neither NaN nor infinity is above the tolerance then: they flow into z, as in any other op.
  if (gap > tolerance).any():
    k, i, j = np.unravel_index(gap.argmax(), gap.shape)
    raise InputError(
      f"quadratic_full: q must be symmetric, but q[{k}, {i}, {j}] = {values[k, i, j]:g} and "
      f"q[{k}, {j}, {i}] = {values[k, j, i]:g}; pass (q + q.swapaxes(1, 2)) / 2"
    )


@jax.custom_vjp
def _quadratic(x, q, kernel, bias):
  return _quadratic_fwd(x, q, kernel, bias)[0]


def _quadratic_fwd(x, q, kernel, bias):
  z, (x, v, kernel) = _quadratic_full_fwd(x, _symmetric.unpack(q), kernel, bias)
  return z, (x, v, kernel)


def _quadratic_bwd(residuals, delta):
  dx, dq, dkernel, dbias = _backward(residuals, delta)
  # One packed entry is one variable: M(a)_ij of (35) once, not once for each half.
  return dx, _symmetric.pack(dq), dkernel, dbias


_quadratic.defvjp(_quadratic_fwd, _quadratic_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiled(cache, x, q, kernel, bias):
  return _tiled_fwd(cache, x, q, kernel, bias)[0]


def _tiled_fwd(cache, x, q, kernel, bias):
  form, residuals = _tiles.forward(x, q, cache)
  return form + x @ kernel + bias, (residuals, kernel)  # (24)


def _tiled_bwd(cache, residuals, delta):
  residuals, kernel = residuals
  dx, dq = _tiles.backward(residuals, delta)
  dkernel = residuals[0].T @ delta  # (31)
  dbias = delta.sum(0)  # (28)
  return dx + delta @ kernel.T, dq, dkernel, dbias  # (47) without g'


_tiled.defvjp(_tiled_fwd, _tiled_bwd)


@jax.custom_vjp
def _quadratic_full(x, q, kernel, bias):
  return _quadratic_full_fwd(x, q, kernel, bias)[0]


def _quadratic_full_fwd(x, q, kernel, bias):
  v = jnp.einsum("Bi,mij->Bmj", x, q)  # V = A Q, (44): row k of a sample's V is a^T Q_k
  z = jnp.einsum("Bmj,Bj->Bm", v, x) + x @ kernel + bias  # (24)
  return z, (x, v, kernel)  # 'Cache for BP' in Algorithm 1


def _quadratic_full_bwd(residuals, delta):
  dx, dq, dkernel, dbias = _backward(residuals, delta)
  # (37) is symmetric, its rounding is not: over a long run the halves of Q would drift apart.
  return dx, (dq + dq.swapaxes(1, 2)) / 2, dkernel, dbias


def _backward(residuals, delta):
  x, v, kernel = residuals
  dx = delta @ kernel.T + 2 * jnp.einsum("Bm,Bmj->Bj", delta, v)  # (47) without g'
  outer = jnp.einsum("Bm,Bi,Bj->mij", delta, x, x)
  dq = outer * (2 - jnp.eye(x.shape[-1], dtype=x.dtype))  # (37) with M(a) of (35)
  dkernel = x.T @ delta  # (31)
  dbias = delta.sum(0)  # (28)
  return dx, dq, dkernel, dbias


_quadratic_full.defvjp(_quadratic_full_fwd, _quadratic_full_bwd)


def quadratic_reference(x, q, kernel, bias):
  """(21) transcribed for one sample, full symmetric Q: x [n], q [m, n, n] -> z [m]."""
  n, m = kernel.shape
  z = []
  for k in range(m):
    linear = sum(kernel[i, k] * x[i] for i in range(n))
    quadratic_form = sum(q[k, r, s] * x[r] * x[s] for r in range(n) for s in range(n))
    z.append(bias[k] + linear + quadratic_form)
  return jnp.stack(z)
