"""The Heavy layer, z = (a*a) H + a W + b: 000_…txt.

The document writes X^T X H, whose shape does not fit its own W X + b; its gradient W + 2 X H on the
inputs is that of the elementwise square, which is what is built here.
"""

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments


def heavy(x: jax.Array, heavy_kernel: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
  """z = (a*a) H + a W + b, a quadratic layer whose every Q is diagonal.

  Args:
    x: [..., n] inputs; any leading axes, none and empty included.
    heavy_kernel: [n, m], the document's H.
    kernel: [n, m], the document's W.
    bias: [m].

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit.

  Source: 000_…txt, 'Forward Pass' and 'Backward Pass'.

  >>> heavy(jnp.full((1, 2), 3.0), jnp.ones((2, 1)), jnp.ones((2, 1)), jnp.zeros(1)).tolist()
  [[24.0]]
  """
  x, heavy_kernel, kernel, bias = _arguments.promote(x, heavy_kernel, kernel, bias)
  m = _arguments.last_axis("heavy", "bias", bias)
  n = x.shape[-1] if x.ndim else 0
  expected = {
    "heavy_kernel": (heavy_kernel, (n, m)),
    "kernel": (kernel, (n, m)),
    "bias": (bias, (m,)),
  }
  _arguments.check_shapes("heavy", x, expected)
  return _heavy(_arguments.as_rows(x), heavy_kernel, kernel, bias).reshape(*x.shape[:-1], m)


@jax.custom_vjp
def _heavy(x, heavy_kernel, kernel, bias):
  return (x * x) @ heavy_kernel + x @ kernel + bias


def _heavy_fwd(x, heavy_kernel, kernel, bias):
  return _heavy(x, heavy_kernel, kernel, bias), (x, heavy_kernel, kernel)


def _heavy_bwd(residuals, delta):
  x, heavy_kernel, kernel = residuals
  dx = delta @ kernel.T + 2 * x * (delta @ heavy_kernel.T)  # delta . [W + 2 X H]
  dheavy_kernel = (x * x).T @ delta  # the square in the place of the input
  dkernel = x.T @ delta  # 'stays the same, along with the weight gradient'
  dbias = delta.sum(0)
  return dx, dheavy_kernel, dkernel, dbias


_heavy.defvjp(_heavy_fwd, _heavy_bwd)


def heavy_reference(x, heavy_kernel, kernel, bias):
  """One sample, term by term: x [n] -> z [m], z_k = b_k + sum_i w_ki a_i + h_ki a_i^2."""
  n, m = kernel.shape
  return jnp.stack(
    [
      bias[k] + sum(kernel[i, k] * x[i] + heavy_kernel[i, k] * x[i] ** 2 for i in range(n))
      for k in range(m)
    ]
  )
