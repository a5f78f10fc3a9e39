"""Packed upper triangle <-> full symmetric matrix.

A symmetric n x n matrix has P = n(n+1)/2 free entries (Section 1). They are stored in the order of
`np.triu_indices(n)`, row by row, as the leading axis; the neurons are the last axis.
"""

import functools

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.ops import _mesh


def packed_size(n: int) -> int:
  """P = n(n+1)/2, the free entries of a symmetric n x n matrix."""
  return n * (n + 1) // 2


def matrix_size(packed: int) -> int:
  """The n with n(n+1)/2 = packed; InputError if there is none."""
  n = (int(np.sqrt(8 * packed + 1)) - 1) // 2
  if packed_size(n) != packed:
    raise InputError(
      f"{packed} is not the packed size n(n+1)/2 of any symmetric matrix; "
      f"{packed_size(n)} is, of {n} x {n}, and {packed_size(n + 1)}, of {n + 1} x {n + 1}"
    )
  return n


@functools.cache
def packed_index(n: int) -> np.ndarray:
  """[n, n] table of where the entry (i, j) of the symmetric matrix stands in packed storage."""
  index = np.zeros((n, n), np.int32)
  rows, columns = np.triu_indices(n)
  index[rows, columns] = index[columns, rows] = np.arange(packed_size(n))
  return index


@functools.cache
def multiplicity(n: int) -> np.ndarray:
  """[P] how often each packed entry occurs in the matrix: 1 on the diagonal, 2 off it; see (35)."""
  rows, columns = np.triu_indices(n)
  return np.where(rows == columns, 1, 2)


def unpack(q: jax.Array) -> jax.Array:
  """q [P, m] -> [m, n, n], symmetric to the last bit.

  Raises InputError if P is not n(n+1)/2 for any n.

  >>> unpack(jnp.array([[1.0], [2.0], [3.0]])).tolist()
  [[[1.0, 2.0], [2.0, 3.0]]]
  """
  return _taken(q.T, packed_index(matrix_size(q.shape[0])))


def pack(q: jax.Array) -> jax.Array:
  """q [m, n, n] -> the packed upper triangles [P, m]; what is below the diagonal is not read.

  >>> pack(jnp.array([[[1.0, 2.0], [2.0, 3.0]]])).tolist()
  [[1.0], [2.0], [3.0]]
  """
  rows, columns = np.triu_indices(q.shape[-1])
  return _taken(q, rows, columns).T


def _taken(q: jax.Array, *entries: np.ndarray) -> jax.Array:
  """q[:, *entries], split by neurons as q is where it lies on Explicit axes.

  Said outright there: outside `jax.set_mesh` JAX 0.12 forgets the layout in the derivative of plain
  indexing, and raises a ShardingTypeError.
  """
  if _mesh.sharding(q) is None:
    return q[:, *entries]
  place = _mesh.sharding_like(q, _mesh.spec_of(q)[0], *[None] * entries[0].ndim)
  return q.at[:, *entries].get(mode="promise_in_bounds", out_sharding=place)
