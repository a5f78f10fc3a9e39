"""The trainers against Algorithms 1 and 2 transcribed, and what no way of computing may change."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcription import HEADS, train

from qnn_jax.errors import InputError
from qnn_jax.training import per_sample
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order
from qnn_jax.training.per_sample import Method

SIZE, EPOCHS = 50, 4  # 200 steps
# Neither sub_block nor block divides the size, and block is no multiple of sub_block.
METHODS = {
  "scan": Method("scan"),
  "modules": Method("block", block=20, sub_block=6, tails="modules"),
  "fused": Method("block", block=20, sub_block=6),
  "kernel": Method("block", block=20, sub_block=6, tails="kernel"),
}
FLEET = Fleet(
  nets=tuple(Net(head, 7) for head in HEADS),
  in_features=40,
  classes=5,
  dtype="float64",
)
LANE = Lane(0, learning_rate=0.3, init_scale=0.3)
SEEDS = (0, 1, 2)

every_method = pytest.mark.parametrize("method", METHODS)
own_or_shared = pytest.mark.parametrize("shared", (False, True), ids=("own", "shared"))


@pytest.fixture(autouse=True)
def x64():
  with jax.enable_x64(True):
    yield


@functools.cache
def trainer(fleet, method):
  # One for all tests: what they cost is compiling.
  return per_sample.make_trainer(fleet, method)


@functools.cache
def data(dtype="float64", samples=90, fleet=FLEET):
  """Pixels like MNIST's, most of them dark, the first five always; labels that they tell."""
  rng = np.random.default_rng(0)
  labels = rng.integers(fleet.classes, size=samples)
  bright = rng.random((fleet.classes, fleet.in_features)) < 0.3
  noise = rng.random((samples, fleet.in_features)) < 0.8
  pixels = np.where(bright[labels] & noise, rng.integers(1, 256, size=noise.shape), 0)
  pixels[:, :5] = 0
  x = pixels.astype("uint8") if dtype == "uint8" else pixels / 255
  return jnp.asarray(x), jnp.asarray(labels)


def lanes_of(seeds, lane=LANE):
  return [dataclasses.replace(lane, seed=seed) for seed in seeds]


def run(method, seeds=SEEDS, shared=False, fleet=FLEET, lane=LANE, params=None, inputs=None):
  """(start, end, order [S, N]), the nets' parameters as NumPy arrays."""
  x, labels = data(fleet=fleet)
  order = np.asarray(sample_order(seeds, SIZE, len(x), shared=shared))
  chunks = per_sample.make_chunks(order[:1] if shared else order, METHODS[method])
  lanes = lanes_of(seeds, lane)
  start = init(fleet, lanes) if params is None else params
  inputs = x if inputs is None else inputs
  how = trainer(fleet, METHODS[method])
  end = per_sample.train(how, start, rates(fleet, lanes), inputs, labels, chunks, EPOCHS)
  # The start comes last: the trainer must have left it whole.
  return jax.tree.map(np.asarray, start), jax.tree.map(np.asarray, end), order


def of_seed(params, i):
  return jax.tree.map(lambda leaf: leaf[i], params)


def assert_close(ours, theirs, atol):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), ours, theirs)


def assert_transcribed(start, end, order, seeds, fleet=FLEET, lane=LANE):
  """`end` is where the transcribed algorithm of every net and seed ends; and it is elsewhere."""
  x, labels = data(fleet=fleet)
  targets = np.eye(fleet.classes)[labels]
  for net, first, last in zip(fleet.nets, start, end, strict=True):
    for i in seeds:
      truth = train(
        net.head, of_seed(first, i), x[order[i]], targets[order[i]],
        EPOCHS * order.shape[1], lane.learning_rate,
      )  # fmt: skip
      assert_close(of_seed(last, i), truth, 1e-10)
      moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), of_seed(first, i), truth)
      assert min(jax.tree.leaves(moved)) > 0.02


@pytest.mark.fast
@own_or_shared
@every_method
def test_200_steps_are_those_of_the_transcribed_algorithms(method, shared):
  start, end, order = run(method, shared=shared)
  assert_transcribed(start, end, order, range(len(SEEDS)))


@pytest.mark.parametrize(("seeds", "head"), ((16, "rpqnn"), (17, "qnn")))
def test_a_register_of_seeds_and_one_more(seeds, head):
  fleet = dataclasses.replace(FLEET, nets=(Net(head, 7),))
  start, end, order = run("fused", range(seeds), fleet=fleet)
  assert_transcribed(start, end, order, {0, 15, seeds - 1}, fleet)


@pytest.mark.parametrize("method", ("modules", "fused"))
def test_a_seed_alone_is_the_seed_in_company(method):
  _, together, _ = run(method)
  _, alone, _ = run(method, seeds=SEEDS[1:2])
  assert_close(of_seed(together, slice(1, 2)), alone, 1e-10)


def test_other_networks_behind_an_affine_first_layer():
  """Two hidden layers, the second of the head's kind or not: the block form's module tail."""
  fleet = dataclasses.replace(
    FLEET,
    nets=(
      Net("qnn", (4, 3)),
      Net("qnn", (4, 3), ("ann", "qnn")),
      Net("rpqnn", (4, 3), ("ann", "rpqnn")),
    ),
  )
  lane = Lane(0, learning_rate=0.5, init_scale=1.0)
  start, end, order = run("fused", fleet=fleet, lane=lane)
  assert_transcribed(start, end, order, range(len(SEEDS)), fleet, lane)


def test_a_quadratic_first_layer_is_for_the_scan_alone():
  fleet = dataclasses.replace(FLEET, nets=(Net("qnn", 3, "qnn"),), in_features=8)
  start, end, order = run("scan", fleet=fleet, lane=dataclasses.replace(LANE, init_scale=0.1))
  assert_transcribed(start, end, order, range(len(SEEDS)), fleet)
  message = "method 'block' needs an affine first layer, 'ann', got 'qnn'; use method 'scan'"
  for net in (Net("qnn", 3, "qnn"), Net("ann", (3, 2), ("qnn", "ann"))):
    with pytest.raises(InputError, match=message):
      per_sample.make_trainer(dataclasses.replace(fleet, nets=(Net("ann", 3), net)), Method())


@own_or_shared
@every_method
def test_a_net_that_is_not_finite_touches_no_other(method, shared):
  start, healthy, _ = run(method, shared=shared)
  start = jax.tree.map(jnp.array, start)
  first = start[1]["layers"][0]  # of the second net; its second seed gets
  first["kernel"] = first["kernel"].at[1, 20, 3].set(jnp.inf)
  _, end, _ = run(method, shared=shared, params=start)
  for j, (net_end, net_healthy) in enumerate(zip(end, healthy, strict=True)):
    for i in range(len(SEEDS)):
      if (j, i) != (1, 1):
        assert_close(of_seed(net_end, i), of_seed(net_healthy, i), 0)
  assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_seed(end[1], 1)))


def pixels_with_constants(fleet=FLEET):
  """(pixels, x as the net sees them with the fleet's shift): five dark columns, three at 200 and 17."""
  pixels = np.array(data("uint8", fleet=fleet)[0])
  pixels[:, [9, 20]], pixels[:, 30] = 200, 17
  return jnp.asarray(pixels), pixels / 255 - fleet.input_shift


@pytest.mark.parametrize(
  "method, shared, shift",
  (
    *((method, False, 0.5) for method in METHODS),
    ("fused", True, 0.5),
    ("fused", False, 0.0),
    ("fused", False, -1.25),
  ),
)
def test_inputs_that_are_constant_stay_out_of_the_products_exactly(method, shared, shift):
  fleet = dataclasses.replace(FLEET, input_shift=shift)
  pixels, x = pixels_with_constants(fleet)
  constants = constant_inputs(fleet, pixels)
  np.testing.assert_array_equal(constants.varies, [len(np.unique(p)) > 1 for p in pixels.T])
  assert 8 <= (~constants.varies).sum() < 20
  np.testing.assert_array_equal(constants.values, x[0, ~constants.varies])
  end = run_pixels(method, shared, fleet, pixels[:, constants.varies], constants)
  start = jax.tree.map(np.asarray, init(fleet, lanes_of(SEEDS)))
  _, labels = data()
  order = np.asarray(sample_order(SEEDS, SIZE, len(x), shared=shared))
  for net, first, last in zip(fleet.nets, start, end, strict=True):
    for i in range(len(SEEDS)):
      truth = train(
        net.head, of_seed(first, i), x[order[i]], np.eye(fleet.classes)[labels[order[i]]],
        EPOCHS * SIZE, LANE.learning_rate,
      )  # fmt: skip
      assert_close(of_seed(last, i), truth, 1e-10)


def run_pixels(method, shared, fleet, inputs, constants):
  """The nets' parameters at the end, a stop in the middle as a checkpoint makes it."""
  whole = per_sample.make_trainer(fleet, METHODS[method], constants)
  order = np.asarray(sample_order(SEEDS, SIZE, len(inputs), shared=shared))
  chunks = per_sample.make_chunks(order[:1] if shared else order, METHODS[method])
  lanes, (_, labels) = lanes_of(SEEDS), data()
  params, etas = init(fleet, lanes), rates(fleet, lanes)
  for epochs in (1, EPOCHS - 1):
    params = per_sample.train(whole, params, etas, inputs, labels, chunks, epochs)
  return jax.tree.map(np.asarray, params)


def test_a_single_sample_leaves_nothing_that_varies():
  """One training sample: every input is constant, and the first layer is its bias alone."""
  fleet = dataclasses.replace(FLEET, nets=(Net("qnn", 3), Net("ann", 2)))
  pixels, x = pixels_with_constants(fleet)
  constants = constant_inputs(fleet, pixels[:1])
  assert not constants.varies.any()
  start = init(fleet, [LANE])
  chunks = per_sample.make_chunks(np.zeros((1, 1), int), METHODS["fused"])
  whole = per_sample.make_trainer(fleet, METHODS["fused"], constants)
  _, labels = data()
  etas = rates(fleet, [LANE])
  end = per_sample.train(whole, start, etas, pixels[:1, :0], labels[:1], chunks, 7)
  targets = np.eye(fleet.classes)[labels[:1]]
  for net, first, last in zip(fleet.nets, start, end, strict=True):
    truth = train(net.head, of_seed(first, 0), x[:1], targets, 7, LANE.learning_rate)
    assert_close(of_seed(last, 0), truth, 1e-10)


TINY = Fleet((Net("ann", 2), Net("heavy", 2)), 8, 2, "float64")
TINY_LANE = Lane(0, learning_rate=0.5, init_scale=1.0)


@pytest.mark.parametrize("method", ("scan", "fused"))
def test_8_bit_pixels_are_divided_by_255_and_shifted(method):
  pixels, _ = data("uint8", fleet=TINY)
  assert pixels.dtype == jnp.uint8 and pixels.max() > 200
  _, shifted, _ = run(method, fleet=TINY, lane=TINY_LANE, inputs=pixels)
  floats = np.asarray(pixels) / 255 - 0.5
  _, floats, _ = run(method, fleet=TINY, lane=TINY_LANE, inputs=floats)
  assert_close(shifted, floats, 1e-10)
  unshifted = dataclasses.replace(TINY, input_shift=0.0)
  start, end, order = run(method, fleet=unshifted, lane=TINY_LANE, inputs=pixels)
  assert_transcribed(start, end, order, [0], unshifted, TINY_LANE)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
  size=st.integers(1, 30),
  block=st.integers(1, 40),
  sub_block=st.integers(1, 12),
  epochs=st.integers(1, 2),
  shared=st.booleans(),
  tails=st.sampled_from(("fused", "modules", "kernel")),
)
def test_no_cut_changes_the_trajectory(size, block, sub_block, epochs, shared, tails):
  fleet, seeds = dataclasses.replace(TINY, nets=(Net("heavy", 2),)), range(2)
  method = Method("block", block, sub_block, tails)
  x, labels = data(fleet=fleet)
  orders = np.stack(
    [np.random.default_rng(0 if shared else seed).permutation(size) for seed in seeds]
  )
  chunks = per_sample.make_chunks(orders[:1] if shared else orders, method)
  lanes = lanes_of(seeds, TINY_LANE)
  start, etas = init(fleet, lanes), rates(fleet, lanes)
  end = per_sample.train(trainer(fleet, method), start, etas, x, labels, chunks, epochs)
  for i, order in enumerate(orders):
    targets = np.eye(2)[labels[order]]
    truth = train("heavy", of_seed(start[0], i), x[order], targets, epochs * size, 0.5)
    assert_close(of_seed(end[0], i), truth, 1e-10)
