"""The product x W of every op and its derivatives, for any leading axes, dtype and mesh.

The batch axes are never flattened: on a mesh each of them may be sharded over other devices. With a
window in `How` the product is a convolution of x [B, *image, c] with W [*window, c/g, m]. An op's
derivative rules are the same for both.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qnn_jax.ops import _mesh, _windows


class How(NamedTuple):
  """The arguments of `jax.lax.dot_general` that an op passes to its products, and its window."""

  precision: Any = None
  preferred_element_type: Any = None
  out_sharding: Any = None
  window: _windows.Window | None = None

  def form(self, dtype) -> "How":
    """The options for the products of a quadratic form in `dtype`, never rounded to a narrower dtype."""
    preferred = jnp.dtype(self.preferred_element_type or dtype)
    widest = max(jnp.dtype(dtype), preferred, key=lambda dtype: dtype.itemsize)
    return self._replace(preferred_element_type=widest)


def affine(x, kernel, bias, how: How):
  """x [..., n], kernel [n, m], bias [m] or None -> z [..., m].

  Equal to `nnx.Linear` to the last bit; with a window equal to `nnx.Conv`.
  """
  return plus_bias(product(x, kernel, how), bias)


def product(x, kernel, how: How):
  """x [..., n], kernel [n, m] -> [..., m]; with a window, by a convolution."""
  options = {
    "precision": how.precision,
    "preferred_element_type": how.preferred_element_type,
    "out_sharding": how.out_sharding,
  }
  if how.window is not None:
    return _windows.product(how.window, x, kernel, **options)
  return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())), **options)


def plus_bias(z, bias):
  """z [..., m] + bias [m], as `nnx.Linear` adds it; z if there is none."""
  return z if bias is None else z + bias.reshape((1,) * (z.ndim - 1) + (-1,))


def plus_affine(form, x, kernel, bias, how: How):
  """form + x W + b, in the dtype of x W + b; kernel and bias may be None."""
  if kernel is not None:
    return plus_form(affine(x, kernel, bias, how), form)
  dtype = how.preferred_element_type or x.dtype
  return plus_bias(form, None if bias is None else bias.astype(form.dtype)).astype(dtype)


def plus_form(z, form):
  """z + a quadratic form: added in the wider dtype of the two, returned in that of z."""
  wide_z, form = alike(z, form)
  return (wide_z + form).astype(z.dtype)


def to_inputs(delta, kernel, like, how: How):
  """W^T delta of (41): delta [..., m], kernel [n, m] -> [..., n], sharded as `like`.

  The sum runs over all axes of neurons, [r, m] for example.
  """
  if how.window is not None:
    delta, kernel = alike(delta, kernel)
    return _transposed(lambda x: product(x, kernel, _plain(how)), like.astype(delta.dtype), delta)
  neurons = tuple(range(1, kernel.ndim))
  last = tuple(range(delta.ndim - len(neurons), delta.ndim))
  return dot(delta, kernel, last, neurons, how, _mesh.sharding(like))


def to_kernel(x, delta, kernel, how: How):
  """(31): delta (x) a summed over the batch, with the shape and sharding of `kernel` [n, m]."""
  if how.window is not None:
    x, delta = alike(x, delta)
    return _window_to_kernel(x, delta, kernel, how).astype(kernel.dtype)
  batch = tuple(range(x.ndim - 1))
  return dot(x, delta, batch, batch, how, _mesh.sharding(kernel)).astype(kernel.dtype)


def _window_to_kernel(x, delta, kernel, how):

  def transposed(x, delta):
    of = lambda kernel: product(x, kernel, _plain(how))
    return _transposed(of, kernel.astype(x.dtype), delta)

  if not _mesh.on_one_device(x, delta, kernel) or not isinstance(x.shape[0], int):
    return transposed(x, delta)
  # XLA for CPU computes it as a convolution whose window is the image, in 2 to 10 times the time (measured).
  by_patches = lambda x, delta: _windows.kernel_by_patches(
    how.window, x, delta, kernel.shape, how.precision
  )
  return jax.lax.platform_dependent(x, delta, cpu=by_patches, default=transposed)


def _plain(how):
  """The options for a convolution's derivatives: the result has the dtype of the arguments."""
  return how._replace(preferred_element_type=None)


def _transposed(product, like, delta):
  """The transpose, at delta, of a function that is linear in `like`: JAX's own, of a convolution."""
  return jax.linear_transpose(product, like)(delta)[0]


def to_bias(delta, bias):
  """(28): delta [..., m] summed over the batch, shaped as `bias` [m]; None if bias is None."""
  if bias is None:
    return None
  total = delta.sum(tuple(range(delta.ndim - 1)))
  return _mesh.moved(total, *_mesh.spec_of(bias)).astype(bias.dtype)


def wide(*arrays):
  """The arrays, with float16 turned into float32: the square of 300 overflows in float16."""
  return tuple(a.astype(jnp.float32) if a.dtype == jnp.float16 else a for a in arrays)


def alike(*arrays):
  """All arrays cast to the widest dtype among them; JAX's strict promotion mode allows this."""
  dtype = max((a.dtype for a in arrays), key=lambda dtype: dtype.itemsize)
  return tuple(a.astype(dtype) for a in arrays)


def dot(left, right, left_axes, right_axes, how: How, out_sharding):
  """The product summed over the given axes. The other axes of `left` come first in the result."""
  left, right = alike(left, right)
  return jax.lax.dot_general(
    left,
    right,
    ((left_axes, right_axes), ((), ())),
    precision=how.precision,
    out_sharding=out_sharding,
  )
