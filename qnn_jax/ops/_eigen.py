"""From a full Q to the nearest matrix of low rank, by its eigenvalues, and back."""

import functools

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError
from qnn_jax.ops import _arguments, _symmetric


def to_low_rank(q: jax.Array, rank: int) -> tuple[jax.Array, jax.Array]:
  """q [P, m] packed -> (v [n, r, m], s [r, m]): for each neuron the nearest matrix of that rank.

  Q_k = sum_i l_i e_i e_i^T keeps its `rank` eigenvalues of largest magnitude, the largest first. s_rk is
  the eigenvalue with its sign, and v_rk is the eigenvector of length one. So s alone gives the weight
  of a direction, as in a newly made layer. By the theorem of Eckart, Young and Mirsky no symmetric
  matrix of that rank is nearer, in the Frobenius or the spectral norm. With |l_1| >= |l_2| >= ...

      ||Q_k - V S V^T||_F = sqrt(sum_{i>r} l_i^2),   |x^T (Q_k - V S V^T) x| <= |l_{r+1}| ||x||^2.

  The neurons are computed one after the other, so that only one n x n matrix and its eigenvectors are
  in memory at a time, beside q and the results.

  Args:
    q: [P, m], P = n(n+1)/2, as `ops.quadratic` takes it; `ops.pack` makes it from full matrices.
    rank: r, from 1 to n; n keeps all of Q.

  Returns:
    v [n, r, m] and s [r, m] for `ops.low_rank_quadratic`, in q's dtype, or float32 if q has integers.

  Raises:
    InputError: q is not [P, m], P is not the packed size of a matrix, or the rank is not in 1..n.

  >>> v, s = to_low_rank(jnp.array([[1.0], [0.0], [-3.0]]), 1)  # a_1^2 - 3 a_2^2
  >>> abs(v[:, 0, 0]).tolist(), s.tolist()
  ([0.0, 1.0], [[-3.0]])
  """
  (q,) = _arguments.promote(q)
  if q.ndim != 2:
    raise InputError(f"to_low_rank: q must be [P, m], packed, got the shape {q.shape}")
  n = _symmetric.matrix_size(q.shape[0])
  if not (_arguments.is_whole(rank) and 1 <= rank <= n):
    raise InputError(
      f"to_low_rank: rank must be a whole number from 1 to n = {n}, the inputs of q, got {rank!r}"
    )
  return _to_low_rank(q, int(rank))


@functools.partial(jax.jit, static_argnums=1)
def _to_low_rank(q, rank):
  def of_neuron(packed):
    values, vectors = jnp.linalg.eigh(_symmetric.unpack(packed[:, None])[0])
    largest = jnp.argsort(-jnp.abs(values), stable=True)[:rank]
    return vectors[:, largest], values[largest]

  v, s = jax.lax.map(of_neuron, _at_least_float32(q).T)
  return v.transpose(1, 2, 0).astype(q.dtype), s.T.astype(q.dtype)


def from_low_rank(v: jax.Array, s: jax.Array) -> jax.Array:
  """v [n, r, m], s [r, m] -> q [P, m] packed, with Q_k = sum_r s_rk v_rk v_rk^T.

  `ops.quadratic` with this q computes what `ops.low_rank_quadratic` computes with v and s, except for
  rounding. q has the common dtype of v and s. Raises InputError if the shapes do not fit.

  >>> from_low_rank(jnp.ones((2, 1, 1)), jnp.full((1, 1), -3.0)).tolist()
  [[-3.0], [-3.0], [-3.0]]
  """
  v, s = _arguments.promote(v, s)
  if v.ndim != 3 or s.shape != v.shape[1:]:
    raise InputError(
      f"from_low_rank: v must be [n, r, m] and s [r, m], got shapes {v.shape} and {s.shape}"
    )
  return _from_low_rank(v, s)


@jax.jit
def _from_low_rank(v, s):
  def of_neuron(v_and_s):
    v, s = v_and_s
    full = jnp.matmul(v * s, v.T, precision="highest")
    return _symmetric.pack(full[None])[:, 0]

  wide_v, wide_s = _at_least_float32(v), _at_least_float32(s)
  q = jax.lax.map(of_neuron, (wide_v.transpose(2, 0, 1), wide_s.T))
  return q.T.astype(v.dtype)


def _at_least_float32(a):
  """The array in float32 or wider: LAPACK computes no eigenvalues of narrower numbers."""
  return a.astype(jnp.promote_types(a.dtype, jnp.float32))
