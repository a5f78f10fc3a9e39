"""The reduced-parameter quadratic neuron, z = (W a + b) * (U a + c): (52); backwards (56)-(65)."""

import functools

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments, _mesh, _products
from qnn_jax.ops._products import How


def reduced_quadratic(
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  u: jax.Array,
  c: jax.Array | None,
  *,
  derivative: str = "closed_form",
  precision=None,
  preferred_element_type=None,
  out_sharding=None,
) -> jax.Array:
  """z = (W a + b) * (U a + c), the product of two affine maps of the same input.

  For float16 the second map and the product are computed in float32.

  Args:
    x: [..., n] the previous layer's outputs a^{l-1}, with any leading axes, or none; they may be empty.
    kernel, u: [n, m], the transposes of the paper's W^l and U^l.
    bias, c: [m], the paper's b^l and c^l; None for none.
    derivative, precision, preferred_element_type, out_sharding: as in `affine`.

  Returns:
    z [..., m].

  Raises:
    InputError: if the shapes do not fit, or for an unknown derivative.

  Source: (52). Backwards (56), (57), (59), (60) and the bracket of (65). Algorithm 2 as printed
  exchanges v1 and v2 in the updates of b and c; (59) and (60) are right.

  >>> ones = jnp.ones((3, 1))
  >>> reduced_quadratic(jnp.ones((2, 3)), ones, jnp.ones(1), ones, jnp.zeros(1)).tolist()
  [[12.0], [12.0]]
  """
  _arguments.check_derivative("reduced_quadratic", derivative)
  _arguments.check_given("reduced_quadratic", kernel=kernel, u=u)
  x, kernel, bias, u, c = _arguments.promote(x, kernel, bias, u, c)
  n, m = _arguments.sizes("reduced_quadratic", x, kernel=kernel, bias=bias, u=u, c=c)
  expected = {"kernel": (kernel, (n, m)), "bias": (bias, (m,)), "u": (u, (n, m)), "c": (c, (m,))}
  _arguments.check_shapes("reduced_quadratic", x, expected)
  how = How(precision, preferred_element_type, out_sharding)
  return by(how, derivative, x, kernel, bias, u, c)


def by(how, derivative, *args):
  """The op on arguments whose shapes are checked, with the product options `how`."""
  args = _mesh.vary_alike(*args)
  if derivative == "autodiff":
    return _factors(how, *args)[0]
  x, m = args[0], args[1].shape[-1]
  # Measured: one joint product is faster for few neurons; for many the copies to join them cost more.
  # On a mesh one product less is one exchange less.
  joint = x.ndim > 1 and x.size != x.shape[-1] and (m <= 32 or not _mesh.on_one_device(*args))
  return _reduced_quadratic(how, joint and how.window is None, *args)


def _factors(how, x, kernel, bias, u, c):
  """(z, v1, v2) of Algorithm 2."""
  v1 = _products.affine(x, kernel, bias, how)
  wide_x, wide_u = _products.wide(x, u)
  form = how.form(wide_x.dtype)
  wide_c = None if c is None else c.astype(form.preferred_element_type)
  v2 = _products.affine(wide_x, wide_u, wide_c, form)
  wide_v1, v2 = _products.alike(v1, v2)
  return (wide_v1 * v2).astype(v1.dtype), v1, v2


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reduced_quadratic(how, joint, x, kernel, bias, u, c):
  return _factors(how, x, kernel, bias, u, c)[0]


def _reduced_quadratic_fwd(how, joint, x, kernel, bias, u, c):
  z, v1, v2 = _factors(how, x, kernel, bias, u, c)
  return z, (x, kernel, bias, u, c, v1, v2)  # v1, v2: 'Cache for BP' in Algorithm 2


def _reduced_quadratic_bwd(how, joint, residuals, delta):
  x, kernel, bias, u, c, v1, v2 = residuals
  wide_x, wide_kernel, wide_u, delta = _products.wide(x, kernel, u, delta)
  if wide_x.dtype != x.dtype:  # Where z overflows in float16, its derivative may still be finite.
    form = how.form(wide_x.dtype)
    wide_bias = None if bias is None else bias.astype(form.preferred_element_type)
    v1 = _products.affine(wide_x, wide_kernel, wide_bias, form)
  delta, v1, v2 = _products.alike(delta, v1, v2)
  delta_v2 = delta * v2
  delta_v1 = delta * v1
  if joint and _mesh.spec_of(kernel) == _mesh.spec_of(u):
    dx, dkernel, du = _side_by_side(how, wide_x, wide_kernel, wide_u, delta_v2, delta_v1)
  else:
    dx = _products.to_inputs(delta_v1, wide_u, x, how)  # (65) without g', its first
    dx = dx + _products.to_inputs(delta_v2, wide_kernel, x, how)  # and its second term
    dkernel = _products.to_kernel(wide_x, delta_v2, kernel, how)  # (56)
    du = _products.to_kernel(wide_x, delta_v1, u, how)  # (57)
  dbias = _products.to_bias(delta_v2, bias)  # (59)
  dc = _products.to_bias(delta_v1, c)  # (60)
  return dx.astype(x.dtype), dkernel.astype(kernel.dtype), dbias, du.astype(u.dtype), dc


def _side_by_side(how, x, kernel, u, delta_v2, delta_v1):
  """(dx, dkernel, du) with W and U side by side, so that x and dx are read and written once each.

  They are stacked on a new axis, [.., 2, m]: a sharded axis of neurons cannot be concatenated.
  """
  deltas = jnp.stack([delta_v2, delta_v1], -2)
  kernels = jnp.stack([kernel, u], 1)
  last_two = deltas.ndim - 2, deltas.ndim - 1
  dx = _products.dot(deltas, kernels, last_two, (1, 2), how, _mesh.sharding(x))  # (65)
  batch = tuple(range(x.ndim - 1))
  inputs, neurons = _mesh.spec_of(kernel)
  place = _mesh.sharding_like(kernel, inputs, None, neurons)
  both = _products.dot(x, deltas, batch, batch, how, place)
  return dx, both[:, 0], both[:, 1]  # (56), (57)


_reduced_quadratic.defvjp(_reduced_quadratic_fwd, _reduced_quadratic_bwd)


def reduced_quadratic_reference(x, kernel, bias, u, c):
  """(51) transcribed for one sample: x [n], kernel and u [n, m], bias and c [m] -> z [m]."""
  n, m = kernel.shape
  z = []
  for k in range(m):
    first = bias[k] + sum(kernel[i, k] * x[i] for i in range(n))
    second = c[k] + sum(u[i, k] * x[i] for i in range(n))
    z.append(first * second)
  return jnp.stack(z)
