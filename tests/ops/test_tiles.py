"""The fast forms of the ops held to their plain twins: tiles of packed Q, W and U as one product."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from op_cases import CASES, arguments

from qnn_jax import ops
from qnn_jax.ops import _mesh, _products, _quadratic, _reduced_quadratic, _tiles


def planned(**plan):
  return functools.partial(_quadratic.by_closed_form, _quadratic.Plan(**plan))


plain, cached, recomputed = planned(), planned(tiled=True), planned(tiled=True, cache=False)
joint, separate = (
  functools.partial(_reduced_quadratic._reduced_quadratic, _products.How(), joint)
  for joint in (True, False)
)
TWINS = {
  "cached": (cached, plain, "quadratic"),
  "recomputed": (recomputed, plain, "quadratic"),
  "plain, recomputed": (planned(cache=False), plain, "quadratic"),
  "one product": (joint, separate, "reduced_quadratic"),
}

every_twin = pytest.mark.parametrize("twin", TWINS)
close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)


def value_and_gradients(op):
  """(z, gradients of every argument), with a different cotangent in every entry of z."""

  @jax.jit
  def run(*args):
    z, pullback = jax.vjp(op, *args)
    return z, pullback(jnp.cos(z))

  return run


def assert_same(fast, slow, args):
  jax.tree.map(close, value_and_gradients(fast)(*args), value_and_gradients(slow)(*args))


@every_twin
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("n, m", [(1, 1), (2, 3), (3, 1), (17, 2), (64, 3), (131, 9)])
def test_fast_form_is_the_plain_form(twin, n, m, rows, x64):
  fast, slow, name = TWINS[twin]
  assert_same(fast, slow, arguments(name, (rows,), n, m))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_tiles_that_wait_for_one_another_are_the_plain_form(cache, at_once, monkeypatch, x64):
  monkeypatch.setattr(_tiles, "_AT_ONCE", 2**20 if at_once else 0)
  assert _tiles._wait(jnp.ones((10, 2)), cache) == (not at_once or not cache)
  fast, slow, _ = TWINS["cached" if cache else "recomputed"]
  assert_same(fast, slow, arguments("quadratic", (5,), 67, 3))


@pytest.mark.parametrize("rows", [127, 128])  # on either side of the repeated delta
def test_many_rows(rows, x64):
  assert_same(cached, plain, arguments("quadratic", (rows,), 67, 3))


def test_no_tiles_where_another_device_may_have_a_part(monkeypatch):
  plans = []
  monkeypatch.setattr(_quadratic, "by_closed_form", lambda plan, *args: plans.append(plan.tiled))
  args = arguments("quadratic", (5,), 64, 32)
  ops.quadratic(*args)
  monkeypatch.setattr(_mesh, "on_one_device", lambda *arrays: False)
  ops.quadratic(*args)
  assert plans == [True, False]


@every_twin
def test_under_vmap_over_seeds_and_under_scan(twin, x64):
  fast, slow, name = TWINS[twin]
  fleet = [np.stack(a) for a in zip(*(arguments(name, (1,), 37, 3, seed=s) for s in range(4)))]
  assert_same(jax.vmap(fast), jax.vmap(slow), fleet)

  def steps(op):
    def step(params, row):
      gradients = jax.grad(lambda params: jnp.sum(jnp.sin(op(row[None], *params))))(params)
      return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), None

    return jax.jit(lambda x, *params: jax.lax.scan(step, params, x)[0])

  args = [jnp.asarray(a) for a in arguments(name, (6,), 37, 3)]
  jax.tree.map(close, steps(fast)(*args), steps(slow)(*args))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,), (2, 0, 3), (128,)], ids=str)
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("n, m", [(3, 2), (67, 33)])  # on either side of the rule
def test_either_side_of_the_rule_and_any_leading_axes(n, m, cache, batch, x64):
  args = arguments("quadratic", batch, n, m)
  z, gradients = value_and_gradients(functools.partial(ops.quadratic, cache=cache))(*args)
  close(z, CASES["quadratic"].truth(*args))
  assert [g.shape for g in gradients] == [a.shape for a in args]
  plain = lambda x, q, w, b: jnp.einsum("...i,mij,...j->...m", x, ops.unpack(q), x) + x @ w + b
  _, expected = value_and_gradients(plain)(*args)
  jax.tree.map(close, gradients, expected)


@every_twin
def test_bfloat16_is_close_and_stays(twin):
  fast, _, name = TWINS[twin]
  args = [jnp.asarray(a, jnp.bfloat16) for a in arguments(name, (5,), 33, 3)]
  z, gradients = value_and_gradients(fast)(*args)
  assert {a.dtype for a in (z, *gradients)} == {jnp.dtype(jnp.bfloat16)}
  truth = CASES[name].truth(*(np.asarray(a, np.float64) for a in args))
  np.testing.assert_allclose(z.astype(jnp.float32), truth, rtol=0.05, atol=0.05 * abs(truth).max())


@pytest.mark.parametrize("m", [1, 10, 64, 5000])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 64, 100, 784, 1000])
def test_tiles_cover_every_column_once(n, m):
  edges = _tiles.tiles(n, m)
  assert [j for j0, j1 in edges for j in range(j0, j1)] == list(range(n))
  assert all(j0 < j1 for j0, j1 in edges)


def test_nan_in_one_neuron_stays_in_it():
  """What a run of packed storage brings along from the row above is not multiplied by zero."""
  x, q, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments("quadratic", (3,), 40, 2))
  z = jax.jit(cached)(x, q.at[:, 1].set(jnp.nan), kernel, bias)
  assert jnp.isfinite(z[:, 0]).all() and not jnp.isfinite(z[:, 1]).any()


@pytest.mark.parametrize("cache", [True, False])
def test_v_is_kept_or_not(cache):
  rows, n, m = 50, 64, 32
  args = [jnp.asarray(a, jnp.float32) for a in arguments("quadratic", (rows,), n, m)]
  _, pullback = jax.vjp(functools.partial(ops.quadratic, cache=cache), *args)
  kept = sum(leaf.size for leaf in jax.tree.leaves(pullback))
  inputs = sum(a.size for a in args) + 1  # one number of z, which tiles wait for
  assert (rows * n * m <= kept <= rows * n * m + inputs) if cache else kept <= inputs + rows * m


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA for CPU's buffers")
def test_memory_is_half_of_einsum_s():
  """784 -> 10 at 128 rows, value and gradient by everything: docs/performance_diary.md."""

  def temporary(op, q):
    shapes = (128, 784), q, (784, 10), (10,)
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return value_and_gradients(op).lower(*args).compile().memory_analysis().temp_size_in_bytes

  einsum = lambda x, q, w, b: jnp.einsum("bi,mij,bj->bm", x, q, x) + x @ w + b
  ours = temporary(ops.quadratic, (784 * 785 // 2, 10))
  assert 2 * ours < temporary(einsum, (10, 784, 784))
