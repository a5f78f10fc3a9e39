"""How an order is cut into chunks, what is kept of them, and what a trainer says of wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates
from qnn_jax.training.per_sample import Method

FLEET = Fleet((Net("ann", 3), Net("heavy", 3)), 8, 2)
LANES = [Lane(seed, learning_rate=0.3, init_scale=0.3) for seed in range(2)]


def data():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.random((40, 8)), "float32"), jnp.asarray(rng.integers(2, size=40))


@pytest.mark.parametrize("method", (Method("scan"), Method(), Method(block=7, sub_block=3)))
@pytest.mark.parametrize("size", (1, 599, 600, 1234))
def test_chunks_hold_every_sample_once_in_its_order(method, size):
  order = np.stack([np.arange(size), np.arange(size)[::-1]]) + 5
  chunks = per_sample.make_chunks(order, method)
  assert len({chunk.order.shape for chunk in chunks}) == 1  # then one compiled program serves all
  flat = np.concatenate([chunk.order.swapaxes(0, 1).reshape(2, -1) for chunk in chunks], 1)
  valid = np.concatenate([chunk.valid.reshape(-1) for chunk in chunks])
  np.testing.assert_array_equal(flat[:, valid == 1], order)
  assert set(np.unique(valid)) <= {0, 1}


@pytest.mark.parametrize("kept, prepared", ((0, 9), (1e9, 3)))
def test_what_is_kept_of_the_products_changes_nothing_but_the_work(monkeypatch, kept, prepared):
  monkeypatch.setattr(per_sample, "_KEPT_BYTES", kept)
  monkeypatch.setattr(per_sample, "_SAMPLES_A_CALL", 10)
  method, calls = Method(block=10, sub_block=5), []
  whole = per_sample.make_trainer(FLEET, method)

  def prepare(inputs, chunk):
    calls.append(chunk)
    return whole.prepare(inputs, chunk)

  x, labels = data()
  chunks = per_sample.make_chunks(np.arange(30)[None], method)
  start = init(FLEET, LANES), rates(FLEET, LANES)
  end = per_sample.train(whole._replace(prepare=prepare), *start, x, labels, chunks, 3)
  assert len(calls) == prepared
  order = np.tile(np.arange(30), 3)[None]
  once = per_sample.train(whole, *start, x, labels, per_sample.make_chunks(order, method), 1)
  jax.tree.map(np.testing.assert_array_equal, end, once)


def test_method_errors():
  with pytest.raises(InputError, match="unknown method 'blok'; choose one of block, scan"):
    Method("blok")
  for cut in ({"block": 0}, {"sub_block": 0}, {"block": -3}):
    with pytest.raises(InputError, match="block and sub_block must be at least 1, got "):
      Method(**cut)


@pytest.mark.parametrize("size", (1, 4, 7, 8, 9, 600))
@pytest.mark.parametrize("cut", ((7, 3), (60, 6), (2, 5), (1, 1)))
def test_the_block_that_is_tried_is_the_widest_that_runs(cut, size):
  method = Method("block", *cut)
  block = per_sample.make_chunks(np.arange(size)[None], method)[0].order.shape[2]
  assert block == method.samples_a_block(size) <= method.samples_a_block()
  assert size < 60 or block == method.samples_a_block() >= method.block


def test_a_platform_has_a_name_that_is_known():
  with pytest.raises(InputError, match="unknown platform 'cuda'; choose one of cpu, gpu, tpu"):
    per_sample.make_trainer(FLEET, Method(), platform="cuda")


def test_a_chunk_has_to_be_prepared():
  x, labels = data()
  block = per_sample.make_trainer(FLEET, Method())
  (chunk,) = per_sample.make_chunks(np.arange(20)[None], Method())
  state = block.start(init(FLEET, LANES), rates(FLEET, LANES))
  with pytest.raises(InputError, match="run takes a chunk that the trainer's prepare has returned"):
    block.run(state, x, labels, chunk)


@pytest.mark.parametrize("method", per_sample.METHODS)
def test_every_lane_has_a_rate(method):
  how = per_sample.make_trainer(FLEET, Method(method))
  message = r"rates must have the shape \[2\], one for each lane, got \(3,\)"
  with pytest.raises(InputError, match=message):
    how.start(init(FLEET, LANES), jnp.ones(3))
