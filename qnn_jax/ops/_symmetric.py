"""Packed upper triangle <-> full symmetric matrix.

A symmetric n x n matrix has P = n(n+1)/2 free entries (Section 1). They are stored in the order of
`np.triu_indices(n)`, row by row, as the leading axis; the neurons are the last axis.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.ops import _mesh


def packed_size(n: int) -> int:
  """P = n(n+1)/2, the free entries of a symmetric n x n matrix."""
  return n * (n + 1) // 2


def matrix_size(packed: int) -> int:
  """The n with n(n+1)/2 = `packed`. InputError if there is none."""
  n = (int(np.sqrt(8 * packed + 1)) - 1) // 2
  if packed_size(n) != packed:
    raise InputError(
      f"{packed} is not the packed size n(n+1)/2 of any symmetric matrix; "
      f"{packed_size(n)} is, of {n} x {n}, and {packed_size(n + 1)}, of {n + 1} x {n + 1}"
    )
  return n


@functools.cache
def packed_index(n: int) -> np.ndarray:
  """A table [n, n]: the place of the matrix's entry (i, j) in packed storage."""
  index = np.zeros((n, n), np.int32)
  rows, columns = np.triu_indices(n)
  index[rows, columns] = index[columns, rows] = np.arange(packed_size(n))
  return index


@functools.cache
def multiplicity(n: int) -> np.ndarray:
  """How often each packed entry occurs in an n x n matrix, [P]: 1 on the diagonal, 2 off it; see (35)."""
  rows, columns = np.triu_indices(n)
  return np.where(rows == columns, 1, 2)


def unpack(q: jax.Array) -> jax.Array:
  """q [P, m] -> [m, n, n], symmetric to the last bit.

  Raises InputError if P is not n(n+1)/2 for any n.

  >>> unpack(jnp.array([[1.0], [2.0], [3.0]])).tolist()
  [[[1.0, 2.0], [2.0, 3.0]]]
  """
  n = matrix_size(q.shape[0])
  return _by_platform(n, lambda q: _taken(q.T, packed_index(n)), unpacked_by_rows, q)


def pack(q: jax.Array) -> jax.Array:
  """q [m, n, n] -> the packed upper triangles [P, m]. Entries below the diagonal are not read.

  >>> pack(jnp.array([[[1.0, 2.0], [2.0, 3.0]]])).tolist()
  [[1.0], [2.0], [3.0]]
  """
  rows, columns = np.triu_indices(q.shape[-1])
  return _by_platform(q.shape[-1], lambda q: _taken(q, rows, columns).T, packed_by_rows, q)


# A TPU has no fast gather of single entries, and XLA takes long to compile one. Compiling `quadratic` of
# 784 -> 10 in float32 for a v5e on two cores took 23 s with the gather and 1 s with the loop. XLA gives no
# estimate for the gather; it estimates the unpacking loop at 1.7 million cycles, about 2 ms.
def _by_platform(n, gather, loop, q):
  if n < _LOOP_FROM or _mesh.sharding(q) is not None or 0 in q.shape:
    return gather(q)
  return jax.lax.platform_dependent(q, tpu=loop, default=gather)


_LOOP_FROM = 64  # Below this n a gather has few entries: 64 -> 64 compiles in half a second.


def unpacked_by_rows(q: jax.Array) -> jax.Array:
  """`unpack`, one row after the other."""
  n, m = matrix_size(q.shape[0]), q.shape[1]
  q = _mesh.whole_rows(q.T).T  # Otherwise a sharded packed axis is exchanged once for every row.

  def put(i, full):
    # Row i of the upper triangle ends a window of n numbers, which begins in the rows above it.
    window = jax.lax.dynamic_slice_in_dim(q, row_start(n, i) - i, n, 0)
    return jax.lax.dynamic_update_slice_in_dim(full, window[None], i, 0)

  full = _mesh.vary(jnp.zeros((n, n, m), q.dtype), _mesh.varying(q))
  full = jax.lax.fori_loop(0, n, put, full)
  i, j = (jax.lax.broadcasted_iota(jnp.int32, full.shape, axis) for axis in (0, 1))
  return jnp.where(i <= j, full, full.swapaxes(0, 1)).transpose(2, 0, 1)


def packed_by_rows(q: jax.Array) -> jax.Array:
  """`pack`, one row after the other, the last one first."""
  m, n = q.shape[:2]

  def put(k, packed):
    i = n - 1 - k
    # The entries below the diagonal land on earlier rows, which are written later.
    row = jax.lax.dynamic_index_in_dim(q, i, 1, keepdims=False)
    return jax.lax.dynamic_update_slice_in_dim(packed, row.T, row_start(n, i) - i, 0)

  packed = jnp.zeros((packed_size(n), m), q.dtype)
  return jax.lax.fori_loop(0, n, put, _mesh.vary(packed, _mesh.varying(q)))


def row_start(n, i):
  """Where row i begins in packed storage."""
  return i * (2 * n - i + 1) // 2


def _taken(q: jax.Array, *entries: np.ndarray) -> jax.Array:
  """q[:, *entries], sharded by neurons as q is, if q lies on Explicit axes.

  The sharding is given explicitly there: outside `jax.set_mesh` JAX 0.12 loses it in the derivative
  of plain indexing, and raises a ShardingTypeError.
  """
  if _mesh.sharding(q) is None:
    return q[:, *entries]
  place = _mesh.sharding_like(q, _mesh.spec_of(q)[0], *[None] * entries[0].ndim)
  return q.at[:, *entries].get(mode="promise_in_bounds", out_sharding=place)
