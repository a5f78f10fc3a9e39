"""The kernels at odd sizes, in interpret mode and float64, against the plain scan: padding, small blocks, a rate of 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from qnn_jax.training import _kernel, per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates
from qnn_jax.training.per_sample import Method

SAMPLES = 14
LANES = [Lane(0, 0.4, init_scale=0.3), Lane(1, 0.0, init_scale=0.3), Lane(2, 0.1, init_scale=0.3)]
# Neurons, classes, block: on a power of two, an eight or a block's end, and one beside it.
SIZES = ((1, 2, 1), (9, 1, 4), (17, 17, 5))


@functools.cache
def ends(hidden, classes, method, platform):
  fleet = Fleet(
    tuple(Net(head, hidden) for head in ("ann", "qnn", "rpqnn", "heavy")), 6, classes, "float64"
  )
  rng = np.random.default_rng(0)
  data = jnp.asarray(rng.random((20, 6))), jnp.asarray(rng.integers(classes, size=20))
  order = np.stack([rng.permutation(20)[:SAMPLES] for _ in LANES])
  trainer = per_sample.make_trainer(fleet, method, platform=platform)
  start, chunks = init(fleet, LANES), per_sample.make_chunks(order, method)
  end = per_sample.train(trainer, start, rates(fleet, LANES), *data, chunks, 1)
  return jax.tree.map(np.asarray, (start, end))


@pytest.mark.parametrize("platform", ("cpu", "tpu"))
@pytest.mark.parametrize(("hidden", "classes", "block"), SIZES)
def test_any_size_is_the_plain_scans(hidden, classes, block, platform, monkeypatch):
  compiled = pl.pallas_call
  as_read = lambda *args, **kwargs: compiled(*args, **(kwargs | {"interpret": True}))
  monkeypatch.setattr(pl, "pallas_call", as_read)
  monkeypatch.setattr(_kernel, "fits", lambda *net: True)  # a TPU's have no float64
  with jax.enable_x64(True):
    method = Method(block=block, sub_block=1, tails="kernel")
    start, end = ends(hidden, classes, method, platform)
    _, truth = ends(hidden, classes, Method("scan"), "cpu")
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), end, truth)
  assert np.max(jax.tree.leaves(apart)) <= 1e-10
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[1]), start, end)  # its rate is 0
  moved = jax.tree.map(lambda a, b: np.abs(a[0] - b[0]).max(), start, end)
  assert np.min(jax.tree.leaves(moved)) > 1e-4
