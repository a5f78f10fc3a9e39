"""x^T Q x for a batch with packed Q, a tile of columns at a time: (24), (37) and (47).

Let S be Q's upper triangle with half its diagonal, so that Q = S + S^T and a^T Q a = 2 a^T S a.
Columns J = [j0, j1) of S are a block [j1, |J|, m]. Each row of the block is contiguous in packed
storage, so that extracting it is a copy. Nothing below the diagonal is stored or multiplied. With
E = 2 delta a^T as [B, |J|, m] the tiles take three matrix products, each half as large as for a full Q:

  forward     V_J = A S_J,  z += 2 V_J a_J
  backward    dS_J = A^T E,  da += E S_J^T,  da_J += 2 delta V_J

Only CPUs use tiles, because a tile fits into their caches. `_form.py` has the plain form of the same
equations for everything else. The tests compare the two.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.ops import _mesh, _symmetric

_MOST = 7


def tiles(n: int, m: int) -> list[tuple[int, int]]:
  """The tiles [j0, j1) of n columns.

  Rows of about a thousand numbers, |J| m, make the matrix products efficient (measured). Wider tiles
  multiply more zeros at the diagonal. Each tile is compiled separately, so there are at most `_MOST`. At
  512 -> 64 these are as fast as 32 tiles, and compile in an eighth of the time.
  """
  width = max(16, min(128, -(-1024 // m), -(-n // 4)), -(-n // _MOST))
  count = max(1, -(-n // width))
  edges = [n * t // count for t in range(count + 1)]
  return list(itertools.pairwise(edges))


def forward(x, q, cache, how):
  """x [B, n], q [P, m] -> (sum_ij q_ij a_i a_j [B, m], the residuals for `backward`)."""
  n, m = x.shape[-1], q.shape[-1]
  element = how.preferred_element_type
  z = _mesh.vary(jnp.zeros((x.shape[0], m), element), _mesh.varying(x))
  cached, before, wait = [], z, _wait(q, cache)
  for j0, j1 in tiles(n, m):
    v = _v(x, _columns(q, n, j0, j1, after=before if wait else None), j1, how)
    before, z = z, z + (v * (2 * x[:, j0:j1, None]).astype(element)).sum(1)
    cached.append(v)
  return z, (z[:1, :1], cached if cache else None)


def backward(x, delta, q, residuals, how):
  """delta [B, m] -> (dx [B, n] of the quadratic part alone, dq [P, m])."""
  z, cached = residuals
  n, m = x.shape[-1], q.shape[-1]
  einsum = functools.partial(jnp.einsum, precision=how.precision)
  dx = _mesh.vary(jnp.zeros(x.shape, jnp.result_type(x, delta)), _mesh.varying(x))
  twice = 2 * delta
  outer = _outer_with(twice, max(j1 - j0 for j0, j1 in tiles(n, m)))
  products, before, last = [], z, z
  wait = _wait(q, cached is not None)
  for t, (j0, j1) in enumerate(tiles(n, m)):
    s = _columns(q, n, j0, j1, after=before if wait else None)
    v = cached[t] if cached is not None else _v(x, s, j1, how)
    e = outer(x[:, j0:j1])
    products.append(einsum("Bi,Bjm->ijm", x[:, :j1], e))  # (37), the upper halves
    # As matrices: for a sum over two axes XLA for CPU would copy S transposed.
    second = einsum("Bk,ik->Bi", e.reshape(e.shape[0], -1), s.reshape(j1, -1))
    dx = dx.at[:, :j1].add(second)  # (47): a's second place in a^T S a
    dx = dx.at[:, j0:j1].add(einsum("Bm,Bjm->Bj", twice, v))  # and its first
    before, last = last, dx
  return dx, _packed(products, n, m)


def _outer_with(delta, widest):
  """x [B, k] -> E [B, k, m], x's outer product with delta [B, m], for k up to `widest`.

  XLA for CPU vectorises only products of equal shapes. From 128 rows on it repeats delta, which makes
  the whole backward pass a tenth faster and takes `widest` m B numbers more of memory.
  """
  rows, m = delta.shape
  if not isinstance(rows, int) or rows < 128:
    return lambda x: x[:, :, None] * delta[:, None]
  repeated = jnp.concatenate([delta] * widest, 1)

  def outer(x):
    flat = jnp.repeat(x, m, 1) * repeated[:, : x.shape[1] * m]
    return flat.reshape(rows, x.shape[1], m)

  return outer


def _v(x, s, j1, how):
  return jnp.einsum(
    "Bi,ijm->Bjm",
    x[:, :j1],
    s,
    precision=how.precision,
    preferred_element_type=how.preferred_element_type,
  )


def _columns(q, n, j0, j1, after):
  """The block S_J [j1, |J|, m]."""
  starts = np.array([_symmetric.row_start(n, i) + j0 - i for i in range(j1)], np.int32)
  starts = starts + _zero(after)
  window = lambda start: jax.lax.dynamic_slice_in_dim(q, start, j1 - j0)
  runs = jax.vmap(window)(starts)
  # At the diagonal the copied stretch begins in the row above.
  i = jax.lax.broadcasted_iota(jnp.int32, runs.shape, 0)
  j = jax.lax.broadcasted_iota(jnp.int32, runs.shape, 1) + j0
  return jnp.where(i < j, runs, jnp.where(i == j, runs / 2, 0))


def _packed(products, n, m):
  """The tiles dS_J [j1, |J|, m] as packed dq [P, m]: a row of tiles is contiguous in it."""
  dq = jnp.zeros((_symmetric.packed_size(n), m), products[0].dtype)
  dq = _mesh.vary(dq, _mesh.varying(products[0]))
  rows, columns = np.triu_indices(n)
  for t, (i0, i1) in enumerate(tiles(n, m)):
    below = jnp.concatenate([product[i0:i1] for product in products[t:]], 1)
    run = slice(_symmetric.row_start(n, i0), _symmetric.row_start(n, i1))
    i, j = rows[run], columns[run]
    where = ((i - i0) * (n - i0) + j - i0).astype(np.int32)
    entries = below.reshape(-1, m).at[where].get(mode="promise_in_bounds")
    # M(a) of (35): 2 a_i a_j off the diagonal, a_i^2 on it.
    entries = jnp.where((i == j)[:, None], entries / 2, entries)
    dq = jax.lax.dynamic_update_slice_in_dim(dq, entries, run.start, 0)
  return dq


# A Q of at most so many packed numbers may have all its tiles in memory at once: 4 MB in float32.
_AT_ONCE = 2**20


def _wait(q, cache):
  """Whether tiles wait for one another; waiting costs a twentieth of the time at 256 -> 10."""
  return q.size >= _AT_ONCE or not cache


def _zero(after):
  """The integer 0, computed from `after`, so that a tile waits for the tile before the previous one.

  XLA for CPU computes everything as early as it can, and shares what forward and backward pass have
  in common. That would keep every tile of Q in memory at once, and would keep V instead of recomputing
  it. An optimization_barrier does not help: XLA drops it earlier. Two tiles at a time are as fast as all.
  """
  if after is None:
    return np.int32(0)
  value = after[:1, :1].sum()
  return (jnp.isnan(value) & (value == 0)).astype(jnp.int32)
