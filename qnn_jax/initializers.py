"""Starting values for quadratic parameters, in the form of `jax.nn.initializers`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from qnn_jax import ops

Initializer = Callable[..., jax.Array]


def symmetric_uniform(scale: float) -> Initializer:
  """U[-scale, scale): the start of every parameter that reproduces Table 4, at a scale of 0.01.

  >>> symmetric_uniform(0.01)(jax.random.key(0), (3, 4)).shape
  (3, 4)
  """

  def init(key, shape, dtype=None, out_sharding=None):
    drawn = jax.random.uniform(key, shape, dtype or jnp.float32, -scale, scale)
    return drawn if out_sharding is None else jax.device_put(drawn, out_sharding)

  return init


STARTS: dict[str, Callable[..., Initializer]] = {
  "symmetric": symmetric_uniform,
  "positive": jax.nn.initializers.uniform,
  "normal": jax.nn.initializers.normal,
}
"""Distributions of a start by name, each a function of its scale: U[-s, s), U[0, s), N(0, s^2)."""


def symmetrized(init: Initializer) -> Initializer:
  """Packed q [P, m] whose matrices are (Q + Q^T) / 2, Q [m, n, n] drawn by `init`.

  The paper says that Q is symmetric, not how it starts; drawing the full matrix and averaging it
  with its transpose is what reproduces Table 4.

  >>> init = symmetrized(jax.nn.initializers.uniform(0.01))
  >>> init(jax.random.key(0), (6, 10)).shape  # ten neurons of three inputs
  (6, 10)
  """

  def packed_init(key, shape, dtype=None, out_sharding=None):
    packed, m = shape
    n = ops.matrix_size(packed)
    full = init(key, (m, n, n), *(() if dtype is None else (dtype,)))
    q = ops.pack((full + full.swapaxes(1, 2)) / 2)
    return q if out_sharding is None else jax.device_put(q, out_sharding)

  return packed_init


def unit_directions(init: Initializer) -> Initializer:
  """v [n, r, m] whose directions v[:, r, m] have length one, drawn by `init`, whatever its scale.

  The start of the layer of low rank: its s alone says how much each square counts. Several axes of
  inputs, as of a convolution's [*window, c, r, m], are one direction together. Directions drawn as
  zero stay zero.

  >>> v = unit_directions(jax.nn.initializers.normal(0.01))(jax.random.key(0), (3, 2, 1))
  >>> bool(jax.numpy.allclose((v**2).sum(0), 1))
  True
  """

  def directions_init(key, shape, dtype=None, out_sharding=None):
    drawn = init(key, shape, *(() if dtype is None else (dtype,)))
    # In at least float32: the small draws of a narrow start have squares below float16's least.
    wide = drawn.astype(jnp.promote_types(drawn.dtype, jnp.float32))
    length = jnp.linalg.norm(wide.reshape(-1, *shape[-2:]), axis=0)
    v = (wide / jnp.where(length == 0, 1, length)).astype(drawn.dtype)
    return v if out_sharding is None else jax.device_put(v, out_sharding)

  return directions_init
