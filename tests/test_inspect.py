"""A look inside every layer and the estimator, each held to what it computes."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_the_place import LAYERS, OURS, named, random
from sklearn.datasets import make_circles
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import qnn_jax
from qnn_jax import (
  HeavyConv,
  HeavyLinear,
  InputError,
  QuadraticLinear,
  ReducedQuadraticLinear,
  inspect,
  ops,
)
from qnn_jax.sklearn import QuadraticLogisticRegression

N, M = 5, 3
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=named)
POINTS = np.random.default_rng(0).normal(size=(40, N))


def evaluated(q, w, b, x):
  return np.einsum("bi,kij,bj->bk", x, q, x) + x @ w.T + b


@pytest.mark.fast
@every_layer
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_polynomial_is_what_the_layer_computes(layer, use_bias):
  module = random(layer, N, M, use_bias=use_bias)
  q, w, b = inspect.quadric(module)
  assert (q.shape, w.shape, b.shape) == ((M, N, N), (M, N), (M,))
  assert q.dtype == w.dtype == b.dtype == np.float64
  np.testing.assert_allclose(evaluated(q, w, b, POINTS), module(POINTS), rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(q, q.swapaxes(1, 2))
  np.testing.assert_array_equal(inspect.matrices(module), q)


def test_a_packed_q_is_unpacked_to_the_last_bit():
  module = random(QuadraticLinear, N, M)
  np.testing.assert_array_equal(inspect.matrices(module), ops.unpack(module.q[...]))


@pytest.mark.fast
@every_layer
def test_eigenpairs_make_the_matrix_again_and_are_in_order(layer):
  module = random(layer, N, M)
  q = inspect.matrices(module)
  values, vectors = inspect.eigenpairs(module, N)
  assert (values.shape, vectors.shape) == ((M, N), (M, N, N))
  rebuilt = np.einsum("mk,mki,mkj->mij", values, vectors, vectors)
  np.testing.assert_allclose(rebuilt, q, atol=1e-12)
  np.testing.assert_allclose(vectors @ vectors.swapaxes(1, 2), [np.eye(N)] * M, atol=1e-12)
  assert (np.diff(np.abs(values)) <= 0).all()
  assert (np.take_along_axis(vectors, np.abs(vectors).argmax(2)[..., None], 2) > 0).all()
  # The leading ones, whichever way they are found.
  for k in (1, 2):
    few = inspect.eigenpairs(module, k)
    np.testing.assert_allclose(few.values, values[:, :k], atol=1e-12)
    np.testing.assert_allclose(few.values, _leading(q, k), atol=1e-12)
    np.testing.assert_allclose(
      np.einsum("mij,mkj->mki", q, few.vectors), few.values[..., None] * few.vectors, atol=1e-12
    )


def _leading(q, k):
  values = np.linalg.eigvalsh(q)
  return np.take_along_axis(values, np.argsort(-np.abs(values), axis=1), 1)[:, :k]


@every_layer
def test_by_default_all_that_may_differ_from_zero(layer):
  module = random(layer, N, M)
  count = inspect.eigenpairs(module).values.shape[1]
  assert count == np.linalg.matrix_rank(inspect.matrices(module)).max()


def test_many_inputs_need_no_matrix(monkeypatch):
  """1,024 neurons of 1,024 inputs: Q in full would be 8 GiB, and n x n numbers a neuron take seconds."""
  monkeypatch.setattr(np.linalg, "eigh", _of_small(np.linalg.eigh))
  for layer in OURS:
    if layer is not QuadraticLinear:
      module = random(layer, 1024, 3)
      tracemalloc.start()
      values, vectors = inspect.eigenpairs(module, 1)
      assert (values.shape, vectors.shape) == ((3, 1), (3, 1, 1024))
      assert len(inspect.kinds(module)) == 3 and inspect.signatures(module).sum() == 3 * 1024
      most = tracemalloc.get_traced_memory()[1]
      tracemalloc.stop()
      assert most < 1024**2, layer  # bytes; n x n numbers are four or eight times as many


def _of_small(eigh):
  def checked(matrix):
    assert len(matrix) <= 16
    return eigh(matrix)

  return checked


@every_layer
def test_the_words_are_those_of_the_written_out_polynomial(layer):
  module = random(layer, 3, 8)
  kinds = inspect.kinds(module)
  assert kinds.shape == (8,)
  for kind, q, w, b in zip(kinds, *inspect.quadric(module)):
    assert kind == inspect.quadric_kind(q, w, b)
  for counts, q in zip(inspect.signatures(module), inspect.matrices(module)):
    values = np.linalg.eigvalsh(q)
    live = np.abs(values) > 1e-6 * np.abs(values).max()
    assert counts.tolist() == [(live & (values > 0)).sum(), (live & (values < 0)).sum(), sum(~live)]


def of_values(layer, m=1, **params):
  """A layer with these parameters."""
  params = {name: jnp.array(value, jnp.float32) for name, value in params.items()}
  module = layer(params["kernel"].shape[0], m, rngs=nnx.Rngs(0))
  for name, value in params.items():
    getattr(module, name)[...] = value
  return module


def test_known_surfaces_by_hand():
  sphere = of_values(HeavyLinear, heavy_kernel=[[1], [1], [1]], kernel=[[0], [2], [0]], bias=[-3])
  assert inspect.kinds(sphere) == ["ellipsoid"]  # around (0, -1, 0) with the radius 2
  assert inspect.signatures(sphere).tolist() == [[3, 0, 0]]
  # x1^2 + x2^2 - x3^2 of packed q, in three orders of a shift that makes a cone of it.
  q = [[1], [0], [0], [1], [0], [-1]]
  for b, kind in ((-1, "hyperboloid of one sheet"), (0, "cone"), (1, "hyperboloid of two sheets")):
    assert inspect.kinds(of_values(QuadraticLinear, q=q, kernel=[[0]] * 3, bias=[b])) == [kind]
  # (x1 + 1)(x2 - 1) is zero on two planes, (x1 + 1)^2 on one.
  planes = {"kernel": [[1], [0], [0]], "bias": [1], "c": [-1], "u": [[0], [1], [0]]}
  crossing = of_values(ReducedQuadraticLinear, **planes)
  assert inspect.kinds(crossing) == ["crossing planes"]
  double = of_values(ReducedQuadraticLinear, **planes | {"u": planes["kernel"], "c": [1]})
  assert inspect.kinds(double) == ["plane"] and inspect.signatures(double).tolist() == [[1, 0, 2]]


def test_a_layer_of_one_input():
  module = of_values(QuadraticLinear, q=[[1]], kernel=[[0]], bias=[-4])
  assert inspect.kinds(module) == ["two points"]
  values, vectors = inspect.eigenpairs(module, 1)
  assert values.tolist() == [[1]] and vectors.tolist() == [[[1]]]


def test_half_precision_is_looked_at_as_it_is():
  module = random(QuadraticLinear, N, M, param_dtype=jnp.bfloat16)
  expected = np.asarray(ops.unpack(module.q[...].astype(jnp.float32)))
  np.testing.assert_array_equal(inspect.matrices(module), expected)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_estimator_s_quadrics_are_those_it_decides_by(classes):
  X, y = make_circles(120, noise=0.1, factor=0.4, random_state=0)
  y = y if classes == 2 else np.where(X[:, 0] > 0.5, 2, y)
  model = QuadraticLogisticRegression(solver="sgd", max_iter=20, random_state=0).fit(X, y)
  rows = 1 if classes == 2 else 3
  z = evaluated(*inspect.quadric(model), X).reshape(model.decision_function(X).shape)
  np.testing.assert_allclose(z, model.decision_function(X), atol=1e-8)
  assert inspect.matrices(model).shape == (rows, 2, 2)
  assert inspect.eigenpairs(model, 1).vectors.shape == (rows, 1, 2)
  assert inspect.kinds(model)[0] == "ellipse"
  assert set(inspect.kinds(model)) <= set(inspect.CONICS)


class Rectified(QuadraticLinear):
  def __call__(self, inputs, out_sharding=None):
    return nnx.relu(super().__call__(inputs, out_sharding))


class RectifiedConv(HeavyConv):
  def __call__(self, inputs, out_sharding=None):
    return nnx.relu(super().__call__(inputs, out_sharding))


class Scaled(nnx.Linear):
  def __call__(self, inputs, out_sharding=None):
    return 2 * super().__call__(inputs, out_sharding)


class Named(QuadraticLinear):
  """A subclass that computes what its base does."""


def test_a_subclass_with_the_same_call_is_looked_into():
  start = jax.nn.initializers.normal(1.0)
  of = lambda layer: inspect.matrices(layer(N, M, q_init=start, rngs=nnx.Rngs(0)))
  np.testing.assert_array_equal(of(Named), of(QuadraticLinear))


def stacked(key):
  return QuadraticLinear(N, M, rngs=nnx.Rngs(key))


FITTED = StandardScaler().fit(POINTS)
STACK = nnx.vmap(stacked)(jax.random.split(jax.random.key(0), 2))


def test_one_layer_of_a_stack():
  assert inspect.matrices(jax.tree.map(lambda leaf: leaf[0], STACK)).shape == (M, N, N)


@pytest.mark.parametrize(
  "source, told",
  [
    (nnx.BatchNorm(3, rngs=nnx.Rngs(0)), "not BatchNorm$"),
    (
      nnx.LoRALinear(3, 2, lora_rank=1, rngs=nnx.Rngs(0)),
      "does not know what a LoRALinear computes",
    ),
    (
      Rectified(3, 2, rngs=nnx.Rngs(0)),
      "^qnn_jax.inspect does not know what a Rectified computes; pass",
    ),
    (
      RectifiedConv(3, 2, (2,), rngs=nnx.Rngs(0)),
      "^qnn_jax.inspect does not know what a RectifiedConv computes",
    ),
    (Scaled(3, 2, rngs=nnx.Rngs(0)), "^qnn_jax.inspect does not know what a Scaled computes"),
    (np.eye(3), "not ndarray$"),
    (FITTED, "^pass a layer .*, not StandardScaler$"),
    (make_pipeline(FITTED), r"of a Pipeline its last step, pipeline\[-1\]\), not Pipeline$"),
    (QuadraticLogisticRegression(), "is not fitted yet: call fit first$"),
    (STACK, r"this is a stack of layers, with a kernel of the shape \(2, 5, 3\): inspect one"),
    (random(HeavyLinear, N, M, param_dtype=jnp.complex64), "is complex"),
    (
      of_values(HeavyLinear, heavy_kernel=[[np.nan]], kernel=[[0]], bias=[0]),
      "^heavy_kernel has a NaN or an infinity",
    ),
    (nnx.eval_shape(lambda: QuadraticLinear(2, 1, rngs=nnx.Rngs(0))), "has no values: inspect"),
  ],
  ids=[
    "norm",
    "lora",
    "relu",
    "conv",
    "scaled",
    "array",
    "scaler",
    "pipeline",
    "unfitted",
    "stack",
    "complex",
    "nan",
    "abstract",
  ],
)
def test_what_cannot_be_looked_into(source, told):
  for look in (inspect.quadric, inspect.matrices, inspect.eigenpairs, inspect.kinds):
    with pytest.raises(InputError, match=told):
      look(source)


@pytest.mark.parametrize("k", [0, N + 1, 1.0, True])
def test_so_many_eigenpairs_there_are_not(k):
  with pytest.raises(InputError, match="^k must be a whole number from 1 to the 5 inputs, got"):
    inspect.eigenpairs(random(QuadraticLinear, N, M), k)


def test_it_is_not_for_traced_layers():
  with pytest.raises(InputError, match="outside jax.jit"):
    nnx.jit(lambda module: qnn_jax.inspect.matrices(module))(random(QuadraticLinear, N, M))
