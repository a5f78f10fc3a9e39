"""The columns x_i and x_i x_j, i <= j, of a data matrix: those of PolynomialFeatures(2).

In these columns z = x^T Q x + w^T x + b of (1) has the coefficients w_i, Q_ii, and 2 Q_ij for i < j,
since x^T Q x contains each pair twice. Axis letters: N samples, n features, K neurons,
F = n + n(n+1)/2 columns.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from qnn_jax import ops

STORED = 2**19  # numbers, 4 MB in float64: with more, products of x are faster than stored columns
_BLOCK = 64  # the number of features whose pairs are computed in one product
_CHUNK = 2**17  # numbers in a chunk's products, few enough for the cache


def columns(x: np.ndarray) -> LinearOperator:
  """The columns of x [N, n] as an operator [N, F]; columns that would not fit into memory are not stored.

  With stored columns `matmat` and `rmatmat` take 2 N F K operations at memory speed. Without, they take
  a few more operations, at the speed of matrix products.
  """
  n = x.shape[1]
  shape = len(x), n + ops.packed_size(n)
  if shape[0] * shape[1] <= STORED:
    return aslinearoperator(stored(x))
  pairs = np.ravel_multi_index(np.triu_indices(n), (n, n))
  blocks = [slice(first, min(n, first + _BLOCK)) for first in range(0, n, _BLOCK)]

  # For i <= j a feature j in a block needs only the features up to the end of the block.
  def matmat(theta):
    k = theta.shape[1]
    upper = np.zeros((n * n, k), x.dtype)
    upper[pairs] = theta[n:]
    upper = upper.reshape(n, n, k)
    z = x @ theta[:n]
    for block in blocks:
      side_by_side = upper[: block.stop, block].swapaxes(1, 2).reshape(block.stop, -1)
      for rows in chunks(len(x), side_by_side.shape[1]):
        products = (x[rows, : block.stop] @ side_by_side).reshape(-1, k, block.stop - block.start)
        z[rows] += np.einsum("bkn,bn->bk", products, x[rows, block])
    return z

  def rmatmat(r):
    k = r.shape[1]
    total = np.zeros((n, n, k), x.dtype)
    for block in blocks:
      width = k * (block.stop - block.start)
      sums = np.zeros((block.stop, width), x.dtype)
      for rows in chunks(len(x), width):
        weighed = r[rows][:, :, None] * x[rows, None, block]
        sums += x[rows, : block.stop].T @ weighed.reshape(-1, width)
      total[: block.stop, block] = sums.reshape(block.stop, k, -1).swapaxes(1, 2)
    return np.concatenate([x.T @ r, total.reshape(n * n, k)[pairs]])

  return LinearOperator(shape, matvec=None, matmat=matmat, rmatmat=rmatmat, dtype=x.dtype)


def stored(x: np.ndarray) -> np.ndarray:
  """The columns themselves: [N, n] -> [N, F]."""
  n = x.shape[1]
  phi = np.empty((len(x), n + ops.packed_size(n)), x.dtype)
  phi[:, :n] = x
  end = n
  for i in range(n):
    start, end = end, end + n - i
    np.multiply(x[:, i:], x[:, i, None], out=phi[:, start:end])
  return phi


def quadratic_form(x: np.ndarray, q: np.ndarray) -> np.ndarray:
  """x^T q_k x of every sample and neuron: x [N, n], q [K, n, n], symmetric or not -> [N, K]."""
  k, n, _ = q.shape
  side_by_side = np.ascontiguousarray(q.transpose(1, 0, 2)).reshape(n, k * n)
  z = np.empty((len(x), k), np.result_type(x, q))
  for rows in chunks(len(x), k * n):
    products = (x[rows] @ side_by_side).reshape(-1, k, n)
    z[rows] = np.einsum("bkn,bn->bk", products, x[rows])
  return z


def moments(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Means and variances [F] of the columns over samples of these weights, in float64."""
  n = x.shape[1]
  sums = np.zeros((2, n)), np.zeros((2, n, n))
  for rows in chunks(len(x), n):
    part, weight = x[rows], weights[rows, None].astype(x.dtype)
    for power in (0, 1):  # the columns, then their squares
      sums[0][power] += (weight * part).sum(0)
      sums[1][power] += part.T @ (weight * part)
      part = part * part
  linear, quadratic = (total / weights.sum() for total in sums)
  mean, square = np.concatenate([linear, quadratic[:, *np.triu_indices(n)]], axis=1)
  return mean, np.maximum(square - mean**2, 0)


def coefficients(q: np.ndarray, w: np.ndarray) -> np.ndarray:
  """The coefficients of the columns: q [K, n, n] symmetric, w [K, n] -> [F, K]."""
  i, j = np.triu_indices(q.shape[-1])
  return np.concatenate([w, q[:, i, j] * np.where(i == j, 1, 2)], axis=1).T


def neurons(theta: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
  """The inverse of `coefficients`: theta [F, K] -> q [K, n, n] symmetric, w [K, n]."""
  i, j = np.triu_indices(n)
  q = np.zeros((theta.shape[1], n, n), theta.dtype)
  q[:, i, j] = q[:, j, i] = theta[n:].T * np.where(i == j, 1, 0.5).astype(theta.dtype)
  return q, theta[:n].T.copy()


def chunks(samples: int, width: int) -> Iterator[slice]:
  """Slices of the samples: chunks of this width that fit into the cache."""
  size = max(64, _CHUNK // max(1, width))
  return (slice(start, start + size) for start in range(0, samples, size))
