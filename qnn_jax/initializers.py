"""Starting values for quadratic parameters, in the form of `jax.nn.initializers`."""

from collections.abc import Callable

import jax

from qnn_jax import ops

Initializer = Callable[..., jax.Array]


def symmetric_uniform(scale: float) -> Initializer:
  """U[-scale, scale): the start of every parameter that reproduces Table 4, at a scale of 0.01.

  >>> symmetric_uniform(0.01)(jax.random.key(0), (3, 4)).shape
  (3, 4)
  """

  def init(key, shape, dtype=None, out_sharding=None):
    drawn = jax.random.uniform(key, shape, dtype or jax.numpy.float32, -scale, scale)
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
