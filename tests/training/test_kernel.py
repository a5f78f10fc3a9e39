"""The kernels of _kernel.py over a longer way, and when a trainer takes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transcription import HEADS, train

from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates
from qnn_jax.training.per_sample import Method

SAMPLES = 600  # ten blocks
# Table 4's widest nets, its rate and its start; and one beside its like that must be padded.
NETS = (*(Net(head, 30) for head in HEADS), Net("qnn", 10))
RATE, SCALE, LANES = 0.01, 0.01, 2
METHODS = {"kernel": Method(tails="kernel"), "scan": Method("scan")}


def fleet_of(dtype):
  return Fleet(NETS, in_features=60, classes=10, dtype=dtype, input_shift=0.5)


@functools.cache
def data():
  """Pixels like MNIST's, most of them dark; labels that they tell; an order [S, N]."""
  rng = np.random.default_rng(0)
  labels = rng.integers(10, size=700)
  bright = rng.random((10, 60)) < 0.3
  noise = rng.random((700, 60)) < 0.8
  pixels = np.where(bright[labels] & noise, rng.integers(1, 256, size=noise.shape), 0)
  orders = np.stack([rng.permutation(700)[:SAMPLES] for _ in range(LANES)])
  return pixels.astype("uint8"), labels, orders


@functools.cache
def trained(method, dtype):
  """(start, end), leaves [S, ...] of NumPy."""
  with jax.enable_x64(dtype == "float64"):
    fleet, how = fleet_of(dtype), METHODS[method]
    lanes = [Lane(seed, RATE, init_scale=SCALE) for seed in range(LANES)]
    pixels, labels, orders = data()
    start, chunks = init(fleet, lanes), per_sample.make_chunks(orders, how)
    trainer = per_sample.make_trainer(fleet, how)
    inputs = jnp.asarray(pixels), jnp.asarray(labels)
    end = per_sample.train(trainer, start, rates(fleet, lanes), *inputs, chunks, epochs=1)
    return jax.tree.map(np.asarray, (start, end))


def farthest(ours, theirs):
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours, theirs)
  return np.max(jax.tree.leaves(apart))  # Python's max may drop a NaN


every_net = pytest.mark.parametrize(
  "i", range(len(NETS)), ids=[f"{n.head}-{n.hidden}" for n in NETS]
)


@every_net
def test_600_samples_are_the_plain_scans_in_float32(i):
  start, end = trained("kernel", "float32")
  assert farthest(end[i], trained("scan", "float32")[1][i]) <= 1e-6
  assert farthest(end[i], start[i]) > 0.02


@every_net
def test_600_samples_are_those_of_the_transcribed_algorithms_in_float64(i):
  pixels, labels, orders = data()
  start, end = trained("kernel", "float64")
  for lane, order in enumerate(orders):
    of_lane = lambda params, lane=lane: jax.tree.map(lambda leaf: leaf[lane], params)
    x, y = pixels[order] / 255 - 0.5, np.eye(10)[labels[order]]
    truth = train(NETS[i].head, of_lane(start[i]), x, y, SAMPLES, RATE)
    assert farthest(of_lane(end[i]), truth) <= 1e-10


FLEET = Fleet((*(Net(head, 4) for head in HEADS), Net("qnn", (3, 2))), in_features=6, classes=3)


def takers(fleet, method, platform, tried=False):
  """Of each net: 'kernel', or the function that made its tail."""
  tails = per_sample.make_tails(fleet, method, platform, tried=tried)
  return ["kernel" if tail is None else tail.run.__qualname__.partition(".")[0] for tail in tails]


@pytest.mark.parametrize(
  ("tails", "platform", "expected"),
  (
    ("auto", "cpu", "fused_tail"),
    ("auto", "gpu", "kernel"),
    ("auto", "tpu", "kernel"),
    ("kernel", "cpu", "kernel"),
    ("fused", "gpu", "fused_tail"),
    ("modules", "tpu", "module_tail"),
  ),
)
def test_who_takes_what_is_behind_the_first_layer(tails, platform, expected):
  found = takers(FLEET, Method(tails=tails), platform)
  of_heads = ["module_tail" if head == "lowrank" else expected for head in HEADS]
  assert found == [*of_heads, "module_tail"]
