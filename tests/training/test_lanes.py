"""A lane is a run: its rate, start and seed are values, and its neighbours do not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import losses
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order
from qnn_jax.training.per_sample import Method

HEADS = ("ann", "qnn", "rpqnn", "heavy")
SIZE, AVAILABLE, EPOCHS = 45, 60, 3
# Neither sub_block nor block divides the size.
METHODS = {
  "scan": Method("scan"),
  "modules": Method("block", block=20, sub_block=6, tails="modules"),
  "kernel": Method("block", block=20, sub_block=6, tails="kernel"),
  "fused": Method("block", block=20, sub_block=6),
}
# The second differs from the first in its rate, the third in everything.
LANES = (
  Lane(3, 0.4, "symmetric", 0.3),
  Lane(3, 0.1, "symmetric", 0.3),
  Lane(5, 0.2, "normal", 0.2),
)
OTHERS = tuple(Lane(9 - i, 0.3 / (i + 1), "positive", 0.1 * (i + 1)) for i in range(len(LANES)))
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}

every_method = pytest.mark.parametrize("method", METHODS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


@functools.cache
def fleet_of(dtype):
  return Fleet(tuple(Net(head, 6) for head in HEADS), in_features=30, classes=4, dtype=dtype)


@functools.cache
def trainer(method, dtype):
  return per_sample.make_trainer(fleet_of(dtype), METHODS[method])


def data(dtype):
  rng = np.random.default_rng(0)
  return rng.random((AVAILABLE, 30)).astype(dtype) - 0.5, rng.integers(4, size=AVAILABLE)


def trained(method, dtype, lanes):
  fleet, (x, labels) = fleet_of(dtype), data(dtype)
  order = sample_order([lane.seed for lane in lanes], SIZE, AVAILABLE, shared=False)
  chunks = per_sample.make_chunks(order, METHODS[method])
  x, labels = jnp.asarray(x), jnp.asarray(labels)
  start = init(fleet, lanes), rates(fleet, lanes)
  end = per_sample.train(trainer(method, dtype), *start, x, labels, chunks, EPOCHS)
  jax.tree.map(np.asarray, start)  # the trainer must have left it whole
  return jax.tree.map(np.asarray, end)


@functools.cache
def plain(dtype, lane):
  """The lane's nets by themselves, one sample a step, the rate a literal constant."""
  fleet, (x, labels) = fleet_of(dtype), data(dtype)
  (order,) = np.asarray(sample_order([lane.seed], SIZE, AVAILABLE, shared=False))
  targets = np.eye(4, dtype=dtype)[labels]
  samples = (
    jnp.asarray(np.tile(x[order], (EPOCHS, 1))),
    jnp.asarray(np.tile(targets[order], (EPOCHS, 1))),
  )
  ends = []
  for net, start in zip(fleet.nets, init(fleet, [lane])):
    graphdef = fleet.graphdef(net)

    def step(params, sample, graphdef=graphdef):
      loss = lambda p: losses.sigmoid_cross_entropy(nnx.merge(graphdef, p)(sample[0]), sample[1])
      grads = jax.grad(loss)(params)
      return jax.tree.map(lambda p, grad: p - lane.learning_rate * grad, params, grads), None

    first = jax.tree.map(lambda leaf: leaf[0], start)
    ends.append(
      jax.tree.map(np.asarray, jax.jit(functools.partial(jax.lax.scan, step))(first, samples)[0])
    )
  return ends


def of_lane(params, i):
  return jax.tree.map(lambda leaf: leaf[i], params)


def close(ours, theirs, atol):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), ours, theirs)


@every_dtype
@every_method
def test_every_lane_ends_where_the_plain_scan_of_its_rate_does(method, dtype):
  with jax.enable_x64(dtype == "float64"):
    end = trained(method, dtype, LANES)
    for i, lane in enumerate(LANES):
      close(of_lane(end, i), plain(dtype, lane), TOLERANCE[dtype])
    # Rates of a factor four lead elsewhere from one start, by far more than the tolerance.
    apart = jax.tree.map(lambda leaf: np.abs(leaf[0] - leaf[1]).max(), end)
    assert min(jax.tree.leaves(apart)) > 1e-2


@every_method
def test_a_lane_alone_is_the_lane_in_company(method):
  together = trained(method, "float32", LANES)
  for i in (1, 2):
    alone = trained(method, "float32", LANES[i : i + 1])
    close(of_lane(together, slice(i, i + 1)), alone, 1e-5)


@every_dtype
@every_method
def test_one_program_for_any_values(method, dtype):
  with jax.enable_x64(dtype == "float64"):
    how = per_sample.make_trainer(fleet_of(dtype), METHODS[method])
    fleet, (x, labels) = fleet_of(dtype), data(dtype)
    x, labels = jnp.asarray(x), jnp.asarray(labels)
    for lanes in (LANES, LANES[::-1], OTHERS):
      order = sample_order([lane.seed for lane in lanes], SIZE, AVAILABLE, shared=False)
      chunks = per_sample.make_chunks(order, METHODS[method])
      per_sample.train(how, init(fleet, lanes), rates(fleet, lanes), x, labels, chunks, 1)
    assert how.start._cache_size() == how.run._cache_size() == how.finish._cache_size() == 1
    if method != "scan":
      assert how.prepare._cache_size() == 1


@every_method
def test_a_rate_of_zero_moves_nothing(method):
  lanes = (Lane(3, 0.0, "symmetric", 0.3), *LANES[1:])
  end = trained(method, "float32", lanes)
  close(
    of_lane(end, 0), of_lane(jax.tree.map(np.asarray, init(fleet_of("float32"), lanes)), 0), 1e-7
  )
