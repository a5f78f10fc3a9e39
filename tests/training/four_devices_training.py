"""Lanes and nets on four virtual devices: as on one, to rounding, and without a word between devices.

Run by test_devices.py.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import qnn_jax
from qnn_jax import losses
from qnn_jax.errors import InputError
from qnn_jax.training import _compile, devices, fleet, minibatch, per_sample, sharded
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order
from qnn_jax.training.per_sample import Method

assert jax.local_device_count() == 4

SIZE, AVAILABLE, EPOCHS = 45, 60, 2
METHODS = {
  "scan": Method("scan"),
  "block": Method("block", block=20, sub_block=6),
  "kernel": Method("block", block=20, sub_block=6, tails="kernel"),
}
FLEET = Fleet(tuple(Net(head, 5) for head in ("ann", "qnn", "rpqnn")), in_features=30, classes=4)
TABLE4 = tuple(Net(head, h) for h in (10, 15, 20, 25, 30) for head in ("ann", "qnn", "rpqnn"))
COLLECTIVE = re.compile(
  r"all-gather|all-reduce|all-to-all|collective-permute|collective-broadcast|reduce-scatter"
)


def data():
  rng = np.random.default_rng(0)
  x = rng.random((AVAILABLE, 30)).astype(np.float32) - 0.5
  return jnp.asarray(x), jnp.asarray(rng.integers(4, size=AVAILABLE))


def lanes_of(count):
  return [Lane(i, 0.4 / (1 + i), init_scale=0.3) for i in range(count)]


def make(method):
  return lambda fleet: per_sample.make_trainer(fleet, METHODS[method])


@functools.cache
def trainer(method, net_parts):
  """None: on one device."""
  if net_parts is None:
    return make(method)(FLEET)
  return sharded.make_trainer(make(method), FLEET, sharded.parts_of(FLEET.nets, net_parts))


def chunks_of(method, lanes, shared=False):
  order = sample_order([lane.seed for lane in lanes], SIZE, AVAILABLE, shared=shared)
  return per_sample.make_chunks(order[:1] if shared else order, METHODS[method])


@functools.cache
def trained(method, net_parts, count=5, shared=False):
  lanes, how = lanes_of(count), trainer(method, net_parts)
  x, y = map(how.place, data())
  start = init(FLEET, lanes), rates(FLEET, lanes)
  chunks = chunks_of(method, lanes, shared)
  return jax.tree.map(np.asarray, per_sample.train(how, *start, x, y, chunks, EPOCHS))


def close(ours, theirs):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), ours, theirs)


@pytest.mark.parametrize("count", (1, 5))
def test_any_number_of_lanes_on_four_devices(count):
  expected = jax.tree.map(lambda leaf: leaf[:count], trained("block", None))
  close(trained("block", 1, count), expected)


def test_the_plain_scan_on_four_devices():
  close(trained("scan", 1), trained("block", None))


def test_the_kernel_on_four_devices():
  close(trained("kernel", 1), trained("block", None))


@pytest.mark.parametrize("platform", ("cuda", "rocm", "tpu"))
def test_the_kernel_split_over_four_accelerators_is_lowered(platform):
  backend = "tpu" if platform == "tpu" else "gpu"
  make_there = lambda fleet: per_sample.make_trainer(fleet, METHODS["block"], platform=backend)
  part = sharded._over_devices(make_there(FLEET), tuple(jax.local_devices()))
  lanes, (x, y) = lanes_of(5), map(part.place, data())
  chunk = part.prepare(x, chunks_of("block", lanes)[0])
  state = part.start(init(FLEET, lanes), rates(FLEET, lanes))
  traced = jax.jit(part.run.__wrapped__).trace(state, x, y, chunk)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert text.count("tpu_custom_call" if platform == "tpu" else "xla.gpu.triton") == 3
  assert not COLLECTIVE.search(text.replace("_", "-"))


def test_nets_in_parts():
  """One net a part: on two devices, and on one each."""
  close(trained("block", 3), trained("block", None))


def test_an_order_that_all_lanes_share():
  shared = trained("block", 1, shared=True)
  close(shared, trained("block", None, shared=True))
  apart = np.abs(shared[0]["layers"][0]["bias"] - trained("block", None)[0]["layers"][0]["bias"])
  assert apart[0].max() < 1e-5 < 1e-3 < apart[1:].max(1).min()  # the order is seed 0's


@pytest.mark.parametrize("net_parts", (1, 2, 3, 4))
def test_parts_have_equally_many_nets_and_all_devices(net_parts):
  parts = sharded.parts_of(TABLE4, net_parts)
  assert sorted(i for part in parts for i in part.nets) == list(range(len(TABLE4)))
  assert [device for part in parts for device in part.devices] == jax.local_devices()
  counts = [len(part.nets) for part in parts]
  assert len(parts) == net_parts and max(counts) - min(counts) <= 1
  a_net = [sum(TABLE4[i].hidden for i in part.nets) / len(part.nets) for part in parts]
  assert max(a_net) - min(a_net) <= 5


def test_fewer_nets_than_parts():
  parts = sharded.parts_of(FLEET.nets, 4)
  assert [len(part.nets) for part in parts] == [1, 1, 1]
  assert sum(len(part.devices) for part in parts) == 4


def test_on_a_cpu_the_lanes_are_split_and_the_nets_are_not():
  assert len(sharded.parts_of(FLEET.nets)) == 1


@pytest.mark.parametrize("net_parts", (0, 5))
def test_more_parts_than_devices(net_parts):
  with pytest.raises(InputError, match=f"net_parts must be 1 to 4, .* got {net_parts}$"):
    sharded.parts_of(FLEET.nets, net_parts)


def test_a_rate_too_few():
  start = trainer("block", 1).start
  with pytest.raises(InputError, match=r"the shape \[5\], one for each lane, got \(4,\)"):
    start(init(FLEET, lanes_of(5)), rates(FLEET, lanes_of(4)))


def test_the_program_holds_no_collective_and_gives_up_its_state():
  part = sharded._over_devices(make("block")(FLEET), tuple(jax.local_devices()))
  lanes, (x, y) = lanes_of(5), map(part.place, data())
  chunk = part.prepare(x, chunks_of("block", lanes)[0])
  state = part.start(init(FLEET, lanes), rates(FLEET, lanes))
  run = _compile._allow_one_kernel(part.run.__wrapped__)
  options = _compile._accepted("cpu", None)
  compiled = jax.jit(run, compiler_options=options, donate_argnums=0).lower(state, x, y, chunk)
  program = compiled.compile()
  text = program.as_text()
  assert "num_partitions=4" in text and not COLLECTIVE.search(text)
  calls = [line for line in text.splitlines() if " call(" in line]
  tags = [f'{name}="{value}"' for name, value in _compile._ONE_KERNEL.items()]
  # Every tail is one kernel, as on one device.
  assert sum(all(tag in line for tag in tags) for line in calls) == len(FLEET.nets)
  after = program(state, x, y, chunk)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
  assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(after)} == {4}


def test_evaluation(net_parts=3):
  x, y = data()
  parts = sharded.parts_of(FLEET.nets, net_parts)
  how, lanes = sharded.make_evaluate(FLEET, parts), lanes_of(6)
  params = init(FLEET, lanes)
  params[1]["layers"][0]["kernel"] = params[1]["layers"][0]["kernel"].at[2].set(jnp.nan)
  place = trainer("block", net_parts).place
  found, expected = how(params, place(x), place(y)), evaluate(FLEET, params, x, y)
  np.testing.assert_array_equal(found.finite, expected.finite)
  np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=1e-4)
  assert not np.asarray(found.finite)[1, 2] and np.asarray(found.finite).sum() == 3 * 6 - 1


def test_the_runs_of_any_program():
  """A minibatch training under vmap, seven lanes: as on one device, and without a collective."""
  make_model = lambda rngs: qnn_jax.QuadraticLinear(3, 2, rngs=rngs)
  x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
  train = minibatch.make_train(
    make_model, losses.half_squared_error, optax.sgd(0.1), epochs=3, batch_size=5
  )
  every = jax.vmap(train, (0, None, None))
  keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0), 7)))
  whole = lambda data, x, y: every(jax.random.wrap_key_data(data), x, y)
  expected = jax.jit(whole)(keys, x, x[:, :2])
  program = jax.jit(devices.over_runs(whole, (0, None, None)))
  args = devices.put(keys, 0), *devices.put((x, x[:, :2]), None)
  assert args[0].shape[0] == devices.width(7) == 8
  found = jax.tree.map(lambda leaf: np.asarray(leaf)[:7], program(*args))
  close(nnx.to_pure_dict(found.params), nnx.to_pure_dict(expected.params))
  np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
  assert not COLLECTIVE.search(program.lower(*args).compile().as_text())


def test_draws_beside_an_accelerator_lie_on_the_cpu_and_are_taken_from_there(monkeypatch):
  """The first device stands for the CPU, and the second for the accelerator beside it."""
  (cpu, beside), lanes = jax.local_devices()[:2], lanes_of(3)
  where = lambda tree: set().union(*(leaf.devices() for leaf in jax.tree.leaves(tree)))
  draw = _compile.jit(fleet._init.__wrapped__, level=0, on_cpu=True, static_argnums=(0, 1))
  expected = init(FLEET, lanes)
  with jax.default_device(beside):
    with monkeypatch.context() as patched:
      patched.setattr(jax, "default_backend", lambda: "gpu")
      patched.setattr(fleet, "_init", draw)  # anew: it asks once where it is
      params = init(FLEET, lanes)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert where(params) == {cpu}
    state = make("block")(FLEET).start(params, rates(FLEET, lanes))
    found = evaluate(FLEET, params, *data())
    assert where(state) == where(found) == {beside}
    assert np.isfinite(jax.tree.leaves(state)[0]).all() and np.asarray(found.finite).all()


def test_axes_that_are_not_the_first():
  x = np.arange(2 * 6 * 3.0).reshape(2, 6, 3)
  split = devices.put(x, 1)
  assert split.shape == (2, 8, 3)
  program = jax.jit(devices.over_runs(lambda x: (x.swapaxes(0, 1), x.sum(0)), (1,), (0, 0)))
  whole, total = program(split)
  np.testing.assert_array_equal(np.asarray(whole)[:6], x.swapaxes(0, 1))
  np.testing.assert_array_equal(np.asarray(total)[:6], x.sum(0))
  np.testing.assert_array_equal(np.asarray(whole)[6:], x.swapaxes(0, 1)[[5, 5]])
