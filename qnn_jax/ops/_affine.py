"""The affine map of an ordinary layer, z = W a + b: (66), with (28) and (31) backwards."""

import functools

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments, _mesh, _products
from qnn_jax.ops._products import How


def affine(
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z = W a + b, batch first.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}, with any leading axes, or none; they may be empty.
    kernel: [n, m], the transpose of the paper's W^l.
    bias: [m], or None for none.
    derivative: "closed_form" for the paper's equations, in reverse mode only; "autodiff" for JAX's own
      derivative, which forward mode needs.
    precision, preferred_element_type, out_sharding: options of the matrix product, as in
      `jax.lax.dot_general`.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or for an unknown derivative.

  Source: (66); the backpropagation notes, 'Forward Pass'. Backwards (28), (31) and the affine part
  of (41).

  >>> affine(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.zeros(1)).tolist()
  [[3.0], [3.0]]
  """
  _arguments.check_derivative("affine", derivative)
  _arguments.check_given("affine", kernel=kernel)
  x, kernel, bias = _arguments.promote(x, kernel, bias)
  n, m = _arguments.sizes("affine", x, kernel=kernel, bias=bias)
  _arguments.check_shapes("affine", x, {"kernel": (kernel, (n, m)), "bias": (bias, (m,))})
  return by(How(precision, preferred_element_type, out_sharding), derivative, x, kernel, bias)


def by(how, derivative, *args):
  """The op on arguments whose shapes are checked, with the product options `how`."""
  form = _affine if derivative == "closed_form" else _forward
  return form(how, *_mesh.vary_alike(*args))


def _forward(how, x, kernel, bias):
  return _products.affine(x, kernel, bias, how)


_affine = functools.partial(jax.custom_vjp, nondiff_argnums=(0,))(_forward)


def _affine_fwd(how, x, kernel, bias):
  return _forward(how, x, kernel, bias), (x, kernel, bias)


def _affine_bwd(how, residuals, delta):
  x, kernel, bias = residuals
  dx = _products.to_inputs(delta, kernel, x, how).astype(x.dtype)  # (41) without g' and Q
  dkernel = _products.to_kernel(x, delta, kernel, how)  # (31)
  dbias = _products.to_bias(delta, bias)  # (28)
  return dx, dkernel, dbias


_affine.defvjp(_affine_fwd, _affine_bwd)


def affine_reference(x, kernel, bias):
  """(66) transcribed for one sample: z_k = b_k + sum_i w_ki a_i.

  x [n], kernel [n, m], bias [m] -> z [m].
  """
  n, m = kernel.shape
  return jnp.stack([bias[k] + sum(kernel[i, k] * x[i] for i in range(n)) for k in range(m)])
