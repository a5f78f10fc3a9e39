"""The reduced-parameter quadratic neuron, z = (W a + b) * (U a + c): (52); backwards (56)-(65)."""

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments


def reduced_quadratic(
  x: jax.Array, w: jax.Array, b: jax.Array, u: jax.Array, c: jax.Array
) -> jax.Array:
  """z = (W a + b) * (U a + c), the product of two affine maps of the same input.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}; any leading axes, none and empty included.
    w, u: [n, m], the transposes of the paper's W^l and U^l.
    b, c: [m].

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit.

  Source: (52). Backwards (56), (57), (59), (60) and the bracket of (65); Algorithm 2 prints the
  updates of b and c with v1 and v2 exchanged, (59) and (60) are right.

  >>> ones = jnp.ones((3, 1))
  >>> reduced_quadratic(jnp.ones((2, 3)), ones, jnp.ones(1), ones, jnp.zeros(1)).tolist()
  [[12.0], [12.0]]
  """
  x, w, b, u, c = _arguments.promote(x, w, b, u, c)
  m = _arguments.last_axis("reduced_quadratic", "b", b)
  n = x.shape[-1] if x.ndim else 0
  expected = {"w": (w, (n, m)), "b": (b, (m,)), "u": (u, (n, m)), "c": (c, (m,))}
  _arguments.check_shapes("reduced_quadratic", x, expected)
  rows = _arguments.as_rows(x)
  # Measured, docs/performance.md: a narrow product wastes the machine, a wide one only the copies.
  form = _one_product if len(rows) > 1 and m <= 32 else _reduced_quadratic
  return form(rows, w, b, u, c).reshape(*x.shape[:-1], m)


@jax.custom_vjp
def _reduced_quadratic(x, w, b, u, c):
  return (x @ w + b) * (x @ u + c)


def _reduced_quadratic_fwd(x, w, b, u, c):
  v1 = x @ w + b  # 'Cache for BP' in Algorithm 2
  v2 = x @ u + c
  return v1 * v2, (x, w, u, v1, v2)


def _reduced_quadratic_bwd(residuals, delta):
  x, w, u, v1, v2 = residuals
  delta_v1 = delta * v1
  delta_v2 = delta * v2
  dx = delta_v1 @ u.T + delta_v2 @ w.T  # (65) without g'
  dw = x.T @ delta_v2  # (56)
  db = delta_v2.sum(0)  # (59)
  du = x.T @ delta_v1  # (57)
  dc = delta_v1.sum(0)  # (60)
  return dx, dw, db, du, dc


_reduced_quadratic.defvjp(_reduced_quadratic_fwd, _reduced_quadratic_bwd)


@jax.custom_vjp
def _one_product(x, w, b, u, c):
  """The same with W and U side by side, so that x is read once each way."""
  return _one_product_fwd(x, w, b, u, c)[0]


def _one_product_fwd(x, w, b, u, c):
  wu = jnp.concatenate([w, u], 1)
  v1, v2 = jnp.split(x @ wu, 2, 1)
  v1, v2 = v1 + b, v2 + c
  return v1 * v2, (x, w, u, v1, v2)


def _one_product_bwd(residuals, delta):
  x, w, u, v1, v2 = residuals
  deltas = jnp.concatenate([delta * v2, delta * v1], 1)
  dx = deltas @ jnp.concatenate([w, u], 1).T  # (65) without g'
  dw, du = jnp.split(x.T @ deltas, 2, 1)  # (56), (57)
  db, dc = jnp.split(deltas.sum(0), 2)  # (59), (60)
  return dx, dw, db, du, dc


_one_product.defvjp(_one_product_fwd, _one_product_bwd)


def reduced_quadratic_reference(x, w, b, u, c):
  """(51) transcribed for one sample: x [n] -> z [m]."""
  n, m = w.shape
  z = []
  for k in range(m):
    first = b[k] + sum(w[i, k] * x[i] for i in range(n))
    second = c[k] + sum(u[i, k] * x[i] for i in range(n))
    z.append(first * second)
  return jnp.stack(z)
