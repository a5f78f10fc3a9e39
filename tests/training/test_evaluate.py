"""Accuracy and finiteness of a fleet's nets, lane by lane."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Lane, Net, init

FLEET = Fleet(
  (Net("ann", 3), Net("qnn", 4), Net("rpqnn", (3, 2))), 6, 4, input_shift=0.25
)  # fmt: skip
SEEDS = range(3)
LANES = [Lane(seed, init="positive", init_scale=2.0) for seed in SEEDS]


@pytest.fixture(scope="module")
def data():
  rng = np.random.default_rng(1)
  return rng.integers(0, 256, (40, 6)).astype("uint8"), jnp.asarray(rng.integers(4, size=40))


@pytest.fixture(scope="module")
def score():
  return jax.jit(lambda params, x, labels: evaluate(FLEET, params, x, labels))


def seen(pixels):
  """As the nets see them."""
  return pixels / np.float32(255) - np.float32(0.25)


def centred(params):
  # Weights of both signs, so that the nets have different answers for different inputs.
  return jax.tree.map(lambda leaf: 5 * (leaf - 1), params)


def test_it_counts_the_largest_outputs(data, score):
  pixels, labels = data
  params = centred(init(FLEET, LANES))
  result = score(params, jnp.asarray(pixels), labels)
  assert result.accuracy.shape == result.finite.shape == (3, 3)
  assert result.finite.all()
  varied = 0
  for i, net in enumerate(FLEET.nets):
    for j in SEEDS:
      own = jax.tree.map(lambda leaf, j=j: leaf[j], params[i])
      logits = nnx.merge(FLEET.graphdef(net), own)(seen(pixels))
      varied += len(set(np.asarray(logits.argmax(-1)).tolist())) > 1
      right = sum(
        int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)
      )
      assert float(result.accuracy[i, j]) == pytest.approx(100 * right / 40)
  assert varied >= 3  # of nine nets have more than one answer


@pytest.mark.parametrize("bad", (None, 17, 42))  # an image, the last too, that is not finite
def test_parts_of_the_samples_are_the_whole(data, monkeypatch, bad):
  rng = np.random.default_rng(2)
  inputs, labels = rng.random((43, 6), np.float32), rng.integers(4, size=43)
  if bad is not None:
    inputs[bad] = np.nan
  params = centred(init(FLEET, LANES))
  whole = evaluate(FLEET, params, inputs, labels)
  assert whole.finite.all() == (bad is None)
  assert len(set(np.asarray(whole.accuracy).ravel())) > 3
  monkeypatch.setattr("qnn_jax.training.evaluate._SAMPLES_AT_ONCE", 10)  # 5 parts of 9, 2 too many
  parts = evaluate(FLEET, params, inputs, labels)
  jax.tree.map(np.testing.assert_array_equal, parts, whole)


def test_labels_that_are_its_answers_are_all_right(data, score):
  pixels, _ = data
  params = centred(init(FLEET, LANES[:1]))
  own = jax.tree.map(lambda leaf: leaf[0], params[1])
  answers = nnx.merge(FLEET.graphdef(FLEET.nets[1]), own)(seen(pixels)).argmax(-1)
  assert score(params, seen(pixels), answers).accuracy[1, 0] == 100


@pytest.mark.parametrize("number", (np.inf, np.nan))
def test_a_parameter_that_is_not_finite_marks_its_run_alone(data, score, number):
  pixels, labels = data
  params = centred(init(FLEET, LANES))
  healthy = score(params, jnp.asarray(pixels), labels)
  params[1]["layers"][1]["q"] = params[1]["layers"][1]["q"].at[2, 0, 0].set(number)
  result = score(params, jnp.asarray(pixels), labels)
  expected = np.ones((3, 3), bool)
  expected[1, 2] = False
  np.testing.assert_array_equal(result.finite, expected)
  np.testing.assert_array_equal(result.accuracy[expected], healthy.accuracy[expected])
  assert np.isfinite(result.accuracy).all()  # a record holds a number, whatever it is worth


def test_an_infinite_weight_behind_a_sigmoid_counts_though_the_logits_are_finite(data, score):
  pixels, labels = data
  params = centred(init(FLEET, LANES))
  # The sigmoid of an infinite sum is 1 or 0, so the logits show nothing of it.
  bias = params[0]["layers"][0]["bias"]
  params[0]["layers"][0]["bias"] = bias.at[0, 1].set(jnp.inf)
  own = jax.tree.map(lambda leaf: leaf[0], params[0])
  logits = nnx.merge(FLEET.graphdef(FLEET.nets[0]), own)(seen(pixels))
  assert np.isfinite(logits).all()
  assert not score(params, jnp.asarray(pixels), labels).finite[0, 0]


def test_logits_that_overflow_are_not_finite_though_the_parameters_are(data, score):
  pixels, labels = data
  params = centred(init(FLEET, LANES))
  params[0]["layers"][1]["kernel"] = jnp.full_like(params[0]["layers"][1]["kernel"], 3e38)
  params[0]["layers"][0]["bias"] += 100  # every hidden output is 1, and three times 3e38 too large
  result = score(params, jnp.asarray(pixels), labels)
  assert not result.finite[0].any() and result.finite[1:].all()
