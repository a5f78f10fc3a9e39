"""Packed storage: the order of np.triu_indices, there and back, and sizes that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import InputError, ops

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pack_takes_the_upper_triangle_row_by_row(n):
  full = np.random.default_rng(0).normal(size=(3, n, n)).astype(np.float32)
  packed = ops.pack(jnp.asarray(full))
  assert packed.shape == (ops.packed_size(n), 3)
  for k in range(3):
    np.testing.assert_array_equal(packed[:, k], full[k][np.triu_indices(n)])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_round_trips_are_exact(n):
  packed = jax.random.normal(jax.random.key(0), (ops.packed_size(n), 3))
  full = ops.unpack(packed)
  assert full.shape == (3, n, n)
  np.testing.assert_array_equal(full, full.swapaxes(1, 2))
  np.testing.assert_array_equal(ops.pack(full), packed)
  np.testing.assert_array_equal(ops.unpack(ops.pack(full)), full)


def test_no_neurons_and_jit():
  assert ops.unpack(jnp.zeros((6, 0))).shape == (0, 3, 3)
  packed = jnp.arange(6.0)[:, None]
  np.testing.assert_array_equal(jax.jit(ops.unpack)(packed), ops.unpack(packed))


def test_multiplicity_counts_each_entry_of_the_matrix():
  for n in (1, 3):
    assert ops.multiplicity(n).sum() == n * n
    ones = jnp.asarray(ops.multiplicity(n))[:, None]
    np.testing.assert_array_equal(jnp.diagonal(ops.unpack(ones)[0]), np.ones(n))


def test_matrix_size_undoes_packed_size():
  for n in (0, 1, 2, 10, 784, 4096):
    assert ops.matrix_size(ops.packed_size(n)) == n


@pytest.mark.parametrize(
  "packed, below, above", [(2, "1 is, of 1 x 1", "3, of 2 x 2"), (7, "6", "10")]
)
def test_a_packed_size_of_no_matrix_is_refused(packed, below, above):
  with pytest.raises(InputError) as error:
    ops.unpack(jnp.zeros((packed, 2)))
  message = str(error.value)
  assert message.startswith(f"{packed} is not the packed size") and "\n" not in message
  assert below in message and above in message
