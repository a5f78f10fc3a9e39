"""What an accelerator takes in the place of tiles and gathers, held on a CPU to what it stands for.

The branches for other platforms are called here by name; what is lowered for which platform, below.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from op_cases import arguments

from qnn_jax import ops
from qnn_jax.ops import _form, _mesh, _products, _symmetric

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
SIZES = [(1, 1), (2, 3), (3, 2), (17, 2), (131, 9)]


def packed(n, m, dtype):
  entries = np.random.default_rng(n).normal(size=(n * (n + 1) // 2, m))
  return jnp.asarray(entries, dtype)


def of_plan(forward, backward, plan):
  """(z, dx, dq) as a function of x, q and delta."""

  def run(x, q, delta):
    z, kept = forward(plan, x, q)
    return z, *backward(plan, x, delta, q, kept)

  return run


accelerated = functools.partial(of_plan, _form.on_accelerator, _form.on_accelerator_backward)
plain = of_plan(_form.forward, _form.backward, _form.Plan())


def form_arguments(rows, n, m, dtype=np.float64):
  x, q, _, _ = arguments("quadratic", (rows,), n, m)
  delta = np.random.default_rng(1).normal(size=(rows, m))
  return tuple(jnp.asarray(a, dtype) for a in (x, q, delta))


@pytest.mark.fast
@pytest.mark.parametrize(
  "n, m, dtype",
  [*((n, m, "float64") for n, m in SIZES), (64, 3, "float32"), (17, 2, "bfloat16")],
)
def test_rows_one_by_one_are_the_gather(n, m, dtype, x64):
  q = packed(n, m, dtype)

  @jax.jit
  def run(q):
    full = _symmetric.unpacked_by_rows(q)
    # What is below the diagonal is not read, NaN or not.
    below = jnp.tril(jnp.ones((n, n), bool), -1)
    return full, _symmetric.packed_by_rows(jnp.where(below, jnp.nan, full))

  full, back = run(q)
  np.testing.assert_array_equal(full, ops.unpack(q))
  np.testing.assert_array_equal(back, q)
  assert full.dtype == back.dtype == q.dtype


def test_rows_one_by_one_under_vmap_and_grad(x64):
  q = jnp.stack([packed(17, 2, "float64"), 1 + packed(17, 2, "float64")])

  def gradient(unpack, pack):
    loss = lambda q: jnp.sum(jnp.sin(pack(jnp.cos(unpack(q)))))
    return jax.jit(jax.vmap(jax.value_and_grad(loss)))(q)

  by_rows = gradient(_symmetric.unpacked_by_rows, _symmetric.packed_by_rows)
  jax.tree.map(close, by_rows, gradient(ops.unpack, ops.pack))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("rows, n, m", [(1, 1, 1), (5, 3, 2), (2, 17, 2), (5, 67, 3)])
def test_whole_on_an_accelerator_is_what_autodiff_makes_of_the_equation(rows, n, m, cache, x64):
  x, q, delta = form_arguments(rows, n, m)
  by_equation = lambda x, q: jnp.einsum("ri,mij,rj->rm", x, full_from_packed(q), x)
  z, pullback = jax.vjp(by_equation, x, q)
  found = jax.jit(accelerated(_form.Plan(cache=cache)))(x, q, delta)
  jax.tree.map(close, found, (z, *pullback(delta)))


def full_from_packed(q):
  """[P, m] -> [m, n, n], entry by entry, in the order of np.triu_indices."""
  n = int((2 * len(q)) ** 0.5)
  i, j = np.triu_indices(n)
  upper = jnp.zeros((q.shape[1], n, n), q.dtype).at[:, i, j].set(q.T)
  return upper.at[:, j, i].set(q.T)


@pytest.mark.parametrize("dtype, error", [("float32", 1e-5), ("bfloat16", 0.03)])
def test_whole_on_an_accelerator_in_less_precision(dtype, error):
  args = form_arguments(5, 70, 33, dtype)
  found = jax.jit(accelerated(_form.Plan(tiled=True)))(*args)
  tiles = jax.jit(of_plan(_form.forward, _form.backward, _form.Plan(tiled=True)))(*args)
  for one, other in zip(found, tiles, strict=True):
    assert one.dtype == other.dtype == dtype
    other = np.asarray(other, np.float64)
    np.testing.assert_allclose(np.asarray(one, np.float64), other, atol=error * abs(other).max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("preferred", [None, "bfloat16", "float32"])
@pytest.mark.parametrize("cache", [True, False])
def test_branches_agree_in_dtypes(dtype, preferred, cache):
  """Every branch is traced, and `platform_dependent` refuses results of other types."""
  args = [jnp.asarray(a, dtype) for a in arguments("quadratic", (2,), 64, 32)]
  op = functools.partial(ops.quadratic, cache=cache, preferred_element_type=preferred)

  def run(*args):
    z, pullback = jax.vjp(op, *args)
    return z, pullback(z)

  _, gradients = jax.eval_shape(run, *args)
  assert [g.dtype for g in gradients] == [dtype] * 4


def test_inside_shard_map(x64):
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  args = form_arguments(4, 67, 3)
  rows_split = (P("data"), P(), P("data"))

  def run(x, q, delta):
    q = _mesh.vary(q, _mesh.varying(x))
    z, dx, dq = accelerated(_form.Plan())(x, q, delta)
    full = _symmetric.unpacked_by_rows(q)
    return z, dx, jax.lax.psum(dq, "data"), jax.lax.psum(_symmetric.packed_by_rows(full), "data")

  out = (P("data"), P("data"), P(), P())
  found = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=rows_split, out_specs=out))(*args)
  jax.tree.map(close, found, (*plain(*args), args[1]))


def test_a_split_packed_axis_is_exchanged_before_the_rows():
  auto = (jax.sharding.AxisType.Auto,)
  with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((4,), ("data",), axis_types=auto)):
    jaxpr = str(jax.make_jaxpr(_symmetric.unpacked_by_rows)(packed(8, 2, "float32")))
  assert 0 < jaxpr.find("sharding_constraint") < jaxpr.find("scan")


def lowered(platforms, op, *shapes, dtype="float32"):
  args = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
  loss = lambda *args: jnp.sum(op(*args).astype("float32") ** 2)
  traced = jax.jit(jax.value_and_grad(loss, range(len(args)))).trace(*args)
  return traced.lower(lowering_platforms=platforms).as_text()


QUADRATIC = (256, 784), (784 * 785 // 2, 10), (784, 10), (10,)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_few_shapes_are_lowered_for_an_accelerator(platform, cache):
  op = functools.partial(ops.quadratic, cache=cache)
  text = lowered((platform,), op, *QUADRATIC)
  # V, a^T V, x W, dx of both parts, dQ, dW, and V once more.
  assert text.count("stablehlo.dot_general") == 7 + (not cache)
  loops = text.count("stablehlo.while")
  gathers = text.count('"stablehlo.gather"')
  steps = 2 + (not cache)  # unpack, pack, and unpack once more
  assert (loops, gathers) == ((steps, 0) if platform == "tpu" else (0, steps))


def test_tiles_are_lowered_for_a_cpu():
  text = lowered(("cpu",), ops.quadratic, *QUADRATIC)
  assert text.count("stablehlo.while") == 0
  assert text.count("stablehlo.dot_general") > 20


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["quadratic", "quadratic_full", "reduced_quadratic", "heavy"])
def test_every_op_is_lowered_for_every_platform_at_once(name, dtype):
  args = arguments(name, (8,), 64, 32)
  text = lowered(("cpu", "cuda", "tpu"), getattr(ops, name), *(a.shape for a in args), dtype=dtype)
  assert "stablehlo.dot_general" in text


def test_products_options_reach_an_accelerator():
  plan = _form.Plan(_products.How(precision="highest"))
  args = form_arguments(2, 5, 3, "float32")
  jaxpr = str(jax.make_jaxpr(accelerated(plan))(*args))
  assert jaxpr.count("Precision.HIGHEST") == 2 * jaxpr.count("dot_general") > 0  # one an operand
