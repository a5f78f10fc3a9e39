"""Initializers for quadratic parameters, used as those of `jax.nn.initializers` are."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from qnn_jax import ops

Initializer = Callable[..., jax.Array]
"""(key, shape, dtype) -> array [*shape], as `jax.nn.initializers` has them."""


def symmetric_uniform(scale: float) -> Initializer:
  """Draws from U[-scale, scale). With a scale of 0.01 for every parameter it reproduces Table 4.

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
"""Initializers by name. Each is a function of a scale s: U[-s, s), U[0, s) and N(0, s^2)."""


def symmetrized(init: Initializer) -> Initializer:
  """Initializes packed q [P, m]: `init` draws Q [m, n, n], and the matrices are (Q + Q^T) / 2.

  The paper says that Q is symmetric but not how it is initialized. Drawing the full matrix and
  averaging it with its transpose reproduces Table 4.

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
  """Initializes v [n, r, m]: `init` draws it, and every direction v[:, r, m] is scaled to length one.

  This is how the low-rank layer starts: the weight of each square is in its s alone. If v has several
  axes of inputs, as a convolution's v [*window, c, r, m] has, all of them together are one direction.
  A direction that is drawn as zero stays zero.

  >>> v = unit_directions(jax.nn.initializers.normal(0.01))(jax.random.key(0), (3, 2, 1))
  >>> bool(jax.numpy.allclose((v**2).sum(0), 1))
  True
  """

  def directions_init(key, shape, dtype=None, out_sharding=None):
    drawn = init(key, shape, *(() if dtype is None else (dtype,)))
    # In at least float32: the squares of small draws are below the smallest number of float16.
    wide = drawn.astype(jnp.promote_types(drawn.dtype, jnp.float32))
    length = jnp.linalg.norm(wide.reshape(-1, *shape[-2:]), axis=0)
    v = (wide / jnp.where(length == 0, 1, length)).astype(drawn.dtype)
    return v if out_sharding is None else jax.device_put(v, out_sharding)

  return directions_init
