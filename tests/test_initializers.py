"""The start of quadratic matrices: full draws, averaged with their transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import initializers, ops

pytestmark = pytest.mark.fast

UNIFORM = jax.nn.initializers.uniform(0.01)


def test_symmetrized_is_the_average_of_the_draw_and_its_transpose():
  key = jax.random.key(0)
  q = ops.unpack(initializers.symmetrized(UNIFORM)(key, (6, 2), jnp.float32))
  full = UNIFORM(key, (2, 3, 3), jnp.float32)
  np.testing.assert_array_equal(q, (full + full.swapaxes(1, 2)) / 2)
  np.testing.assert_array_equal(q, q.swapaxes(1, 2))


def test_symmetrized_uniform_keeps_its_range_and_is_narrower_off_the_diagonal():
  n = 20
  q = initializers.symmetrized(UNIFORM)(jax.random.key(0), (ops.packed_size(n), 30))
  assert 0 <= q.min() and q.max() < 0.01
  on, off = (np.std(q[ops.multiplicity(n) == times]) for times in (1, 2))
  np.testing.assert_allclose([on, off], [0.01 / 12**0.5, 0.01 / 24**0.5], rtol=0.05)


def test_symmetric_uniform():
  drawn = initializers.symmetric_uniform(0.3)(jax.random.key(0), (200, 50))
  assert drawn.dtype == jnp.float32
  assert -0.3 <= drawn.min() < -0.29 and 0.29 < drawn.max() < 0.3
  np.testing.assert_allclose([drawn.mean(), drawn.std()], [0, 0.3 / 3**0.5], atol=0.005)


def test_dtype_and_sharding_are_passed_on():
  for inner in (UNIFORM, initializers.symmetric_uniform(0.1)):
    check_dtype_and_sharding(initializers.symmetrized(inner))
  check_dtype_and_sharding(initializers.symmetric_uniform(0.1))


def check_dtype_and_sharding(init):
  assert init(jax.random.key(0), (3, 1), jnp.bfloat16).dtype == jnp.bfloat16
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  assert init(jax.random.key(0), (3, 1), out_sharding=sharding).sharding == sharding
