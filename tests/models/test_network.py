"""A network as a config says it: counted, matched, described, and back from a workdir."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy import AXES, point

from qnn_jax import InputError, heads, models
from qnn_jax.models import Network
from qnn_jax.sweeps import trained
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.store import Store

SHAPES = [(8, 8, 1), (32, 32, 3), (17, 23, 4)]


def count(network, shape, classes=10):
  return models.count_parameters(lambda: models.build(network, shape, classes, rngs=nnx.Rngs(0)))


@pytest.mark.fast
def test_parameters_are_counted_as_by_hand():
  # 3 x 3 windows on 4 channels to 6, 8 x 11 places; then 30, then 10.
  net = Network("cnn", hidden=(30,), channels=(6,), head="qnn", conv_kind="heavy")
  conv, hidden = 2 * 9 * 4 * 6 + 6, 8 * 11 * 6 * 30 + 30
  assert count(net, (17, 23, 4)) == conv + hidden + 10 * (30 * 31 // 2 + 30 + 1)
  net = Network("mlp", hidden=(5,), head="lowrank:2", hidden_kind="rpqnn")
  assert count(net, (8, 8, 1), 3) == 2 * (64 * 5 + 5) + 3 * (2 * 5 + 2 + 5 + 1)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_count_is_that_of_the_arrays(kind):
  said = Network(kind, (5,), (3,), head="qnn", conv_kind="lowrank:2")
  net = nnx.jit(lambda: models.build(said, (8, 8, 1), 4, rngs=nnx.Rngs(0)))()
  arrays = jax.tree.leaves(nnx.to_pure_dict(nnx.state(net)))
  assert models.count_parameters(net) == sum(np.asarray(leaf).size for leaf in arrays)


def test_statistics_and_keys_are_no_parameters():
  norm = nnx.Sequential(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
  assert models.count_parameters(norm) == 6


def test_what_would_fill_the_memory_is_counted_without_it():
  wide = Network("mlp", head="qnn")
  pairs = math.prod((1000, 1000, 1)) + 1
  assert count(wide, (1000, 1000, 1), 1) == 1_000_000 * pairs // 2 + 1_000_001


NETWORKS = {
  "mlp": Network("mlp", hidden=(1,)),
  "deep": Network("mlp", hidden=(12, 1), hidden_kind=("ann", "lowrank:2")),
  "cnn": Network("cnn", hidden=(1,), channels=(4, 8)),
  "channels": Network("cnn", channels=(4, 1), kernel_size=2),
}
# The first targets are the least that has a width within 2 % for all of the heads.
CASES = [
  *[("mlp", shape, of) for shape, of in zip(SHAPES, (20_000, 200_000, 100_000))],
  *[("deep", shape, of) for shape, of in zip(SHAPES, (8_000, 60_000, 40_000))],
  *[("cnn", shape, of) for shape, of in zip(SHAPES, (5_000, 60_000, 50_000))],
  *[("channels", (17, 23, 4), 60_000)],
]


# Every head in two of them, two heads in all.
WITH_ALL = [("mlp", (8, 8, 1)), ("cnn", (17, 23, 4))]
HEADS = [*heads.names(), "lowrank:8"]
PAIRS = [(*c, h) for c in CASES for h in (HEADS if c[:2] in WITH_ALL else ("qnn", "heavy"))]


@pytest.mark.parametrize("name, shape, wanted, head", PAIRS, ids=str)
def test_matched_networks_have_the_wanted_number_and_no_width_is_nearer(name, shape, wanted, head):
  net = dataclasses.replace(NETWORKS[name], head=head, parameters=wanted)
  if name == "channels" and head == "qnn":  # all features are the head's inputs: too coarse
    with pytest.raises(InputError, match="^no network of the head qnn has 60000 parameters to 2 %"):
      models.matched(net, shape, 10)
    return
  found = models.matched(net, shape, 10)
  field = "channels" if name == "channels" else "hidden"
  width = getattr(found, field)[-1]
  assert found == dataclasses.replace(
    net, parameters=0, **{field: (*getattr(net, field)[:-1], width)}
  )
  off = abs(count(found, shape) - wanted)
  assert off <= 0.02 * wanted
  for other in (width - 1, width + 1):
    if other:
      beside = dataclasses.replace(found, **{field: (*getattr(net, field)[:-1], other)})
      assert abs(count(beside, shape) - wanted) >= off


def test_a_network_of_so_many_parameters_is_built_matched():
  net = Network("mlp", hidden=(1,), head="qnn", parameters=28_510)
  built = nnx.eval_shape(lambda: models.build(net, (28, 28, 1), 10, rngs=nnx.Rngs(0)))
  assert built.layers[0].out_features == 30 and models.count_parameters(built) == 28_510
  assert models.matched(net, (28, 28, 1), 10).hidden == (30,)


MISTAKES = {
  "too few": (
    Network("mlp", hidden=(1,), parameters=20),
    r"^no network of the head ann has 20 parameters to 2 %; the nearest have 85 with hidden \(1,\)$",
  ),
  "between": (
    Network("mlp", hidden=(4, 1), parameters=307),
    r"the nearest have 300 with hidden \(4, 2\) and 315 with hidden \(4, 3\)$",
  ),
  "none said": (Network("mlp", hidden=(1,)), "must have parameters above 0, got 0"),
  "no width": (
    Network("mlp", parameters=650),
    "^an mlp without hidden has no width that could be chosen for 650 parameters; give it hidden",
  ),
}


@pytest.mark.parametrize("network, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_cannot_be_matched(network, told):
  with pytest.raises(InputError, match=told):
    models.matched(network, (8, 8, 1), 10)


@pytest.mark.fast
@pytest.mark.parametrize(
  "fields, told",
  [
    ({"kind": "rnn"}, "^a network's kind is mlp or cnn, got 'rnn'$"),
    ({"hidden": (3, 0)}, r"^hidden must be at least 1 neuron in every layer, got \(3, 0\)$"),
    ({"hidden": None}, r"^hidden must be at least 1 neuron in every layer, got \(None,\)$"),
    ({"channels": "16"}, "^channels must be at least 1 neuron in every layer, got"),
    ({"parameters": -1}, "^parameters must be a whole number, or 0 for any, got -1$"),
    ({"parameters": 1e4}, "^parameters must be a whole number, or 0 for any, got 10000.0$"),
  ],
  ids=["kind", "hidden", "none", "text", "negative", "float"],
)
def test_fields_that_make_no_network(fields, told):
  with pytest.raises(InputError, match=told):
    Network(**{"kind": "mlp"} | fields)


SAID = [
  Network("mlp", (4,), head="lowrank:2", activation="sigmoid"),
  Network("cnn", (5, 4), (3, 4), "qnn", ("ann", "heavy"), ("qnn", "ann"), 2, activation="tanh"),
  Network("cnn", (), (3,), pool=3),
]


@pytest.mark.parametrize("network", SAID, ids=["mlp", "cnn", "headless"])
def test_a_description_and_parameters_give_the_module_again(tmp_path, network):
  make = nnx.jit(lambda: models.build(network, (8, 9, 2), 3, rngs=nnx.Rngs(5)))
  net, described = make(), models.described(network, (8, 9, 2), 3)
  assert json.loads(json.dumps(described)) == described
  params = nnx.to_pure_dict(nnx.state(net, nnx.Param))
  row = Row(point(), {"value": 1.0}, "ok", params, described)
  Store(tmp_path, "toy", AXES).write([row], 1.0, keep_params=True)
  again, x = trained.load_model(tmp_path, seed=0), jnp.ones((2, 8, 9, 2))
  assert type(again) is type(net)
  outputs = nnx.jit(lambda model: model(x))
  np.testing.assert_array_equal(outputs(again), outputs(net))


def test_lists_as_json_has_them_are_tuples():
  described = models.described(SAID[1], (8, 9, 2), 3)
  for name in ("image_shape", "classes", "dtype"):
    described.pop(name)
  assert Network(**described) == SAID[1] and hash(Network(**described)) == hash(SAID[1])
