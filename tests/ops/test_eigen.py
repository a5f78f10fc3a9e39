"""From a full Q to the nearest of low rank and back: against NumPy, and against other matrices of that rank."""

import jax.numpy as jnp
import numpy as np
import pytest
from op_cases import full_from_packed

from qnn_jax import InputError, ops

pytestmark = pytest.mark.fast

N, M = 6, 3


def packed(seed=0):
  return np.random.default_rng(seed).normal(size=(ops.packed_size(N), M))


def full_of(v, s):
  return np.einsum("irm,rm,jrm->mij", v, s, v)


@pytest.mark.parametrize("rank", [1, 3, N])
def test_the_error_is_what_eckart_and_young_say_it_is(rank, x64):
  q = packed()
  v, s = ops.to_low_rank(q, rank)
  assert v.shape == (N, rank, M) and s.shape == (rank, M)
  gap = full_from_packed(q) - full_of(v, s)
  eigenvalues = np.linalg.eigvalsh(full_from_packed(q))
  assert eigenvalues.min() < 0 < eigenvalues.max()  # the largest in magnitude are of both signs
  by_size = np.sort(abs(eigenvalues), -1)[:, ::-1]
  expected = np.sqrt((by_size[:, rank:] ** 2).sum(-1))
  np.testing.assert_allclose(np.linalg.norm(gap, axis=(1, 2)), expected, atol=1e-12)
  np.testing.assert_allclose(abs(s.T), by_size[:, :rank], rtol=1e-12)
  np.testing.assert_allclose((v**2).sum(0), 1, rtol=1e-12)
  x = np.random.default_rng(1).normal(size=(200, N))
  left_out = abs(np.einsum("bi,mij,bj->bm", x, gap, x))
  bound = np.append(by_size, np.zeros((M, 1)), 1)[:, rank] * (x**2).sum(-1)[:, None]
  assert (left_out <= bound + 1e-12).all()
  assert rank == N or (left_out > 0.5 * bound).any()  # and the bound is not idle


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_no_other_matrix_of_that_rank_is_nearer(rank, x64):
  """Neighbours of the truncation itself, and truncations of neighbours of Q."""
  rng = np.random.default_rng(2)
  q = packed()
  target = full_from_packed(q)
  distance = lambda v, s: np.linalg.norm(target - full_of(v, s), axis=(1, 2))
  v, s = (np.asarray(a) for a in ops.to_low_rank(q, rank))
  best = distance(v, s)
  for size in (1e-3, 1e-1, 1.0):
    for _ in range(5):
      near = v + size * rng.normal(size=v.shape), s + size * rng.normal(size=s.shape)
      assert (distance(*near) >= best).all()
      others = ops.to_low_rank(q + size * rng.normal(size=q.shape), rank)
      assert (distance(*others) >= best).all()


def test_there_and_back(x64):
  q = packed()
  v, s = ops.to_low_rank(q, N)
  np.testing.assert_allclose(ops.from_low_rank(v, s), q, atol=1e-12)
  v, s = ops.to_low_rank(q, 2)
  again = ops.from_low_rank(v, s)
  np.testing.assert_allclose(full_from_packed(np.asarray(again)), full_of(v, s), atol=1e-12)
  np.testing.assert_allclose(ops.from_low_rank(*ops.to_low_rank(again, 2)), again, atol=1e-12)
  x = np.random.default_rng(1).normal(size=(5, N))
  z = ops.low_rank_quadratic(x, v, s, None, None)
  np.testing.assert_allclose(ops.quadratic(x, again, None, None), z, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_dtype_stays(dtype):
  q = jnp.asarray(packed(), dtype)
  v, s = ops.to_low_rank(q, N)
  assert v.dtype == s.dtype == ops.from_low_rank(v, s).dtype == dtype
  error = float(jnp.finfo(dtype).eps)
  found = np.asarray(ops.from_low_rank(v, s), np.float64)
  np.testing.assert_allclose(found, np.asarray(q, np.float64), atol=20 * error)


def test_of_two_dtypes_the_result_has_the_wider():
  v, s = ops.to_low_rank(jnp.asarray(packed(), jnp.float32), 2)
  narrow = v.astype(jnp.bfloat16)
  found = ops.from_low_rank(narrow, s)
  assert found.dtype == ops.from_low_rank(s=s.astype(jnp.bfloat16), v=v).dtype == jnp.float32
  np.testing.assert_array_equal(found, ops.from_low_rank(narrow.astype(jnp.float32), s))


def test_whole_numbers_are_float32():
  q = np.random.default_rng(0).integers(-9, 9, (ops.packed_size(N), M))
  v, s = ops.to_low_rank(q, np.int64(2))
  assert v.dtype == s.dtype == jnp.float32
  expected = ops.to_low_rank(q.astype(np.float32), 2)
  np.testing.assert_array_equal(v, expected[0])
  np.testing.assert_array_equal(s, expected[1])
  whole = np.round(3 * np.asarray(v)).astype(int), np.round(np.asarray(s)).astype(int)
  found = ops.from_low_rank(*whole)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(full_from_packed(np.asarray(found)), full_of(*whole))


def test_ranks_and_shapes_that_do_not_fit_are_refused():
  for rank in (0, N + 1, 1.5, True, "a", None):
    told = f"^to_low_rank: rank must be a whole number from 1 to n = 6, .* got {rank!r}$"
    with pytest.raises(InputError, match=told):
      ops.to_low_rank(packed(), rank)
  for q in (packed()[0, 0], packed()[:, 0], packed()[None]):
    with pytest.raises(
      InputError, match=r"^to_low_rank: q must be \[P, m\], packed, got the shape"
    ):
      ops.to_low_rank(q, 1)
  with pytest.raises(InputError, match="^5 is not the packed size"):
    ops.to_low_rank(packed()[:5], 1)
  v, s = ops.to_low_rank(packed(), 2)
  for wrong in ((v[..., 0], s), (v, s.T)):
    with pytest.raises(
      InputError, match=r"^from_low_rank: v must be \[n, r, m\] and s \[r, m\], got"
    ):
      ops.from_low_rank(*wrong)
