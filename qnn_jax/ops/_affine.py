"""The affine map of an ordinary layer, z = W a + b: (66), with (28) and (31) backwards."""

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments


def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
  """z = W a + b, batch first.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}; any leading axes, none and empty included.
    kernel: [n, m], the transpose of the paper's W^l.
    bias: [m].

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit.

  Source: (66); 001_…txt, 'Forward Pass'. Backwards (28), (31) and the affine part of (41).

  >>> affine(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.zeros(1)).tolist()
  [[3.0], [3.0]]
  """
  x, kernel, bias = _arguments.promote(x, kernel, bias)
  m = _arguments.last_axis("affine", "bias", bias)
  n = x.shape[-1] if x.ndim else 0
  _arguments.check_shapes("affine", x, {"kernel": (kernel, (n, m)), "bias": (bias, (m,))})
  return _affine(_arguments.as_rows(x), kernel, bias).reshape(*x.shape[:-1], m)


@jax.custom_vjp
def _affine(x, kernel, bias):
  return x @ kernel + bias


def _affine_fwd(x, kernel, bias):
  return _affine(x, kernel, bias), (x, kernel)


def _affine_bwd(residuals, delta):
  x, kernel = residuals
  dx = delta @ kernel.T  # (41) without g' and Q: W^T delta
  dkernel = x.T @ delta  # (31): delta (x) a, summed over the batch
  dbias = delta.sum(0)  # (28): delta
  return dx, dkernel, dbias


_affine.defvjp(_affine_fwd, _affine_bwd)


def affine_reference(x, kernel, bias):
  """(66) transcribed for one sample: x [n] -> z [m], z_k = b_k + sum_i w_ki a_i."""
  n, m = kernel.shape
  return jnp.stack([bias[k] + sum(kernel[i, k] * x[i] for i in range(n)) for k in range(m)])
