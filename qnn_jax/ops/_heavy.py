"""The Heavy layer, z = (a*a) H + a W + b, of the notes Heavy Layers.

The notes write X^T X H, whose shape does not fit their own W X + b. Their gradient on the inputs,
W + 2 X H, is that of the elementwise square. So this op has the elementwise square.
"""

import functools

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments, _mesh, _products
from qnn_jax.ops._products import How


def heavy(
  x: jax.Array,
  heavy_kernel: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z = (a*a) H + a W + b, a quadratic layer whose every Q is diagonal.

  Squares of float16 are computed in float32.

  Args:
    x: [..., n] inputs, with any leading axes, or none; they may be empty.
    heavy_kernel: [n, m], the notes' H.
    kernel: [n, m], the notes' W, or None for the squares alone.
    bias: [m], or None for none.
    derivative, precision, preferred_element_type, out_sharding: as in `affine`.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or for an unknown derivative.

  Source: the notes Heavy Layers, 'Forward Pass' and 'Backward Pass'.

  >>> heavy(jnp.full((1, 2), 3.0), jnp.ones((2, 1)), jnp.ones((2, 1)), jnp.zeros(1)).tolist()
  [[24.0]]
  """
  _arguments.check_derivative("heavy", derivative)
  _arguments.check_given("heavy", heavy_kernel=heavy_kernel)
  x, heavy_kernel, kernel, bias = _arguments.promote(x, heavy_kernel, kernel, bias)
  n, m = _arguments.sizes("heavy", x, heavy_kernel=heavy_kernel, kernel=kernel, bias=bias)
  expected = {
    "heavy_kernel": (heavy_kernel, (n, m)),
    "kernel": (kernel, (n, m)),
    "bias": (bias, (m,)),
  }
  _arguments.check_shapes("heavy", x, expected)
  how = How(precision, preferred_element_type, out_sharding)
  return by(how, derivative, x, heavy_kernel, kernel, bias)


def by(how, derivative, *args):
  """The op on arguments whose shapes are checked, with the product options `how`."""
  form = _heavy if derivative == "closed_form" else _forward
  return form(how, *_mesh.vary_alike(*args))


def _forward(how, x, heavy_kernel, kernel, bias):
  wide_x, wide_heavy = _products.wide(x, heavy_kernel)
  squares = _products.affine(wide_x * wide_x, wide_heavy, None, how.form(wide_x.dtype))
  return _products.plus_affine(squares, x, kernel, bias, how)


_heavy = functools.partial(jax.custom_vjp, nondiff_argnums=(0,))(_forward)


def _heavy_fwd(how, x, heavy_kernel, kernel, bias):
  return _forward(how, x, heavy_kernel, kernel, bias), (x, heavy_kernel, kernel, bias)


def _heavy_bwd(how, residuals, delta):
  x, heavy_kernel, kernel, bias = residuals
  wide_x, wide_heavy, wide_delta = _products.wide(x, heavy_kernel, delta)
  wide_x, slope = _products.alike(wide_x, _products.to_inputs(wide_delta, wide_heavy, x, how))
  dx = 2 * wide_x * slope  # delta . 2 X H
  # As for the kernel, with the square in the place of the input.
  dheavy_kernel = _products.to_kernel(wide_x * wide_x, wide_delta, heavy_kernel, how)
  dkernel = None
  if kernel is not None:
    dx = sum(_products.alike(dx, _products.to_inputs(delta, kernel, x, how)))  # delta . W
    # 'Stays the same, along with the weight gradient'.
    dkernel = _products.to_kernel(x, delta, kernel, how)
  return dx.astype(x.dtype), dheavy_kernel, dkernel, _products.to_bias(delta, bias)


_heavy.defvjp(_heavy_fwd, _heavy_bwd)


def heavy_reference(x, heavy_kernel, kernel, bias):
  """The notes' forward pass for one sample: z_k = b_k + sum_i w_ki a_i + h_ki a_i^2.

  x [n], heavy_kernel and kernel [n, m], bias [m] -> z [m].
  """
  n, m = kernel.shape
  return jnp.stack(
    [
      bias[k] + sum(kernel[i, k] * x[i] + heavy_kernel[i, k] * x[i] ** 2 for i in range(n))
      for k in range(m)
    ]
  )
