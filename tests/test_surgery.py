"""replace: which layers are chosen, wherever they stand, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qnn_jax
from qnn_jax import AffineLinear, Classifier, HeavyLinear, InputError, QuadraticLinear, heads

SIZE = 4
KINDS = {name: heads.get(name).layer for name in heads.names()}


class Block(nnx.Module):
  """Layers in everything that may hold them."""

  def __init__(self, rngs: nnx.Rngs):
    linear = lambda: nnx.Linear(SIZE, SIZE, rngs=rngs)
    self.attribute = linear()
    self.listed = nnx.List([linear(), self.attribute])
    self.named = nnx.Dict({"a": linear()})
    self.plain = nnx.data([linear(), {"b": linear()}])
    self.sequence = nnx.Sequential(linear(), nnx.relu, linear())
    self.adapted = nnx.LoRA(SIZE, 2, SIZE, base_module=linear(), rngs=rngs)
    self.special = nnx.LoRALinear(SIZE, SIZE, lora_rank=2, rngs=rngs)
    self.fixed = nnx.data((linear(),))

  def __call__(self, x):
    layers = (self.attribute, *self.listed, self.named["a"], self.plain[0], self.plain[1]["b"])
    for layer in (*layers, self.sequence, self.adapted, self.special, *self.fixed):
      x = layer(x)
    return x


class Model(nnx.Module):
  def __init__(self, rngs: nnx.Rngs):
    self.encoder = Block(rngs)
    self.decoder = self.encoder  # shared as a whole
    self.classifier = Classifier(SIZE, (3, 3), 2, "ann", rngs=rngs)

  def __call__(self, x):
    return self.classifier(self.decoder(self.encoder(x)))


X = jax.random.normal(jax.random.key(1), (5, SIZE))
outputs = nnx.jit(lambda model, x: model(x))
EVERYWHERE = [
  "attribute", "listed.0", "listed.1", "named.a", "plain.0", "plain.1.b", "sequence.layers.0",
  "sequence.layers.2", "adapted.base_module",
]  # fmt: skip
ALL = [f"{place}.{path}" for place in ("encoder", "decoder") for path in EVERYWHERE]
ALL += [f"classifier.layers.{i}" for i in range(3)]


def found_at(model, path):
  for name in path.split("."):
    model = (
      getattr(model, name) if not name.isdigit() and hasattr(model, name) else model[_key(name)]
    )
  return model


def _key(name):
  return int(name) if name.isdigit() else name


def test_everything_in_one_call_at_every_place():
  model = Model(nnx.Rngs(0))
  before = outputs(model, X)
  with pytest.raises(InputError, match="fixed.0 is an entry of a tuple"):
    qnn_jax.replace(model, {"*": "qnn"})
  model.encoder.fixed = nnx.List(model.encoder.fixed)
  replaced = qnn_jax.replace(model, {"*": "qnn"})
  fixed = ["encoder.fixed.0", "decoder.fixed.0"]
  assert sorted(replaced) == sorted([*ALL, *fixed])
  for path, (old, new) in replaced.items():
    assert found_at(model, path) is new and type(new) is QuadraticLinear
    assert type(old) in (nnx.Linear, AffineLinear)
    assert new.kernel is old.kernel and new.bias is old.bias
    assert (new.in_features, new.out_features) == (old.in_features, old.out_features)
  np.testing.assert_array_equal(outputs(model, X), before)
  assert type(model.encoder.special) is nnx.LoRALinear


def test_a_shared_layer_stays_shared():
  model = Model(nnx.Rngs(0))
  replaced = qnn_jax.replace(model, {"encoder.attribute": "heavy"})
  assert set(replaced) == {
    f"{place}.{path}" for place in ("encoder", "decoder") for path in ("attribute", "listed.1")
  }
  assert len({id(new) for _, new in replaced.values()}) == 1
  assert model.encoder.attribute is model.encoder.listed[1] is model.decoder.attribute
  # And by the other of its places.
  model = Model(nnx.Rngs(0))
  assert set(qnn_jax.replace(model, {"decoder.listed.1": "heavy"})) == set(replaced)


def test_weights_that_two_layers_share_stay_shared():
  model = nnx.List([nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Linear(2, 2, rngs=nnx.Rngs(1))])
  model[1].kernel = model[0].kernel
  qnn_jax.replace(model, {"1": "qnn"})
  assert model[1].kernel is model[0].kernel


@pytest.mark.fast
@pytest.mark.parametrize(
  "where, paths",
  [
    ("classifier.layers.2", ["classifier.layers.2"]),
    ("classifier.layers.*", [f"classifier.layers.{i}" for i in range(3)]),
    ("class*.layers.[12]", ["classifier.layers.1", "classifier.layers.2"]),
    (("classifier", "layers", 2), ["classifier.layers.2"]),
    (("encoder", "plain", 1, "b"), ["decoder.plain.1.b", "encoder.plain.1.b"]),
    (lambda path, layer: layer.out_features == 2, ["classifier.layers.2"]),
    (lambda path, layer: path.endswith("named.a"), ["decoder.named.a", "encoder.named.a"]),
  ],
  ids=["path", "star", "set", "tuple", "shared", "layer", "function"],
)
def test_ways_to_choose(where, paths):
  assert sorted(qnn_jax.replace(Model(nnx.Rngs(0)), {where: "heavy"})) == paths


@pytest.mark.fast
@pytest.mark.parametrize("name", KINDS)
def test_every_head_is_a_kind_and_starts_with_the_same_outputs(name):
  model = nnx.Sequential(nnx.Linear(SIZE, 3, rngs=nnx.Rngs(0)), nnx.tanh)
  model.layers[0].bias[...] = jnp.arange(3.0)
  before = outputs(model, X)
  (new,) = (new for _, new in qnn_jax.replace(model, {"layers.0": name}).values())
  assert type(new) is KINDS[name]
  np.testing.assert_array_equal(outputs(model, X), before)
  as_made = KINDS[name](SIZE, 3, rngs=nnx.Rngs(0))
  assert nnx.graphdef(new) == nnx.graphdef(as_made)
  learns = nnx.grad(lambda model: jnp.sin(model(X)).sum())(model)["layers"][0]
  own = set(nnx.state(new)) - {"kernel", "bias"}
  assert own == set(nnx.state(as_made)) - {"kernel", "bias"}
  assert not own or any((learns[key][...] != 0).any() for key in own)


def test_several_kinds_and_their_arguments():
  model = Model(nnx.Rngs(0))
  plainly = functools.partial(QuadraticLinear, cache=False, derivative="autodiff")
  drawn = functools.partial(HeavyLinear, heavy_init=jax.nn.initializers.ones)
  makes = lambda *sizes, **arguments: qnn_jax.ReducedQuadraticLinear(*sizes, **arguments)
  kinds = {"*.layers.0": plainly, "*.layers.1": drawn, "encoder.named.a": makes, "*plain*": "ann"}
  qnn_jax.replace(model, kinds)
  first, second, _ = model.classifier.layers
  assert type(first) is QuadraticLinear and (first.cache, first.derivative) == (False, "autodiff")
  assert (second.heavy_kernel[...] == 1).all()
  assert type(model.encoder.named["a"]) is qnn_jax.ReducedQuadraticLinear
  assert type(model.encoder.plain[0]) is type(model.encoder.plain[1]["b"]) is AffineLinear


def linear():
  return nnx.Linear(3, 3, rngs=nnx.Rngs(0))


LORA = nnx.LoRALinear(3, 3, lora_rank=2, rngs=nnx.Rngs(0))


NEVER = lambda path, layer: False
BAD = {
  "no such path": ({"nowhere": "qnn"}, "chooses no layer by 'nowhere'; .* are: a, b, c.0, c.1$"),
  "no such key": ({("c", 2): "qnn"}, r"chooses no layer by \('c', 2\)"),
  "no such layer": ({NEVER: "qnn"}, "chooses no layer by <lambda>;"),
  "a subclass": ({"lora": "qnn"}, "'lora' is of the class LoRALinear; only nnx.Linear, AffineLin"),
  "no layer": ({"c": "qnn"}, "'c' is of the class List; only"),
  "no such head": ({"a": "cnn"}, "unknown head 'cnn'; choose one of ann, qnn"),
  "no kind": ({"a": 3}, "^a: a value of kinds must be a head's name, a layer's class or a func"),
  "a kind for others": (
    {"a": nnx.Conv},
    "^a: Conv cannot be made with the arguments of nnx.Linear",
  ),
  "unknown": ({"a": functools.partial(HeavyLinear, no=1)}, "cannot be made .* argument 'no'"),
  "no linear": ({"a": lambda n, m, **_: nnx.relu}, "^a is an nnx.Linear, and <lambda> makes none"),
  "no key": ({3: "qnn"}, "^a key of kinds must be a dotted path, a tuple or a function .* 3$"),
  "two kinds": (
    {"c.*": "qnn", "c.1": "heavy"},
    r"^c.1 is to become 'qnn' by 'c.\*' and 'heavy' by 'c.1': only one entry",
  ),
  "a tuple": (
    {"t.*": "qnn"},
    "^t.0 is an entry of a tuple, which cannot be changed: use an nnx.List",
  ),
  "no bias": (
    {"a": functools.partial(HeavyLinear, use_bias=False)},
    r"^a has a bias of the shape \(3,\), and the new HeavyLinear has None: a kind must keep",
  ),
  "another size": (
    {"a": lambda n, m, **arguments: HeavyLinear(n, m + 1, **arguments)},
    r"^a has a kernel of the shape \(3, 3\), and the new HeavyLinear has \(3, 4\): a kind must keep",
  ),
  "an instance": (
    {"a": LORA},
    "^a: a value of kinds is a layer object; give the class LoRALinear instead, or",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_entry_changes_nothing(name):
  kinds, told = BAD[name]
  model = nnx.Dict(a=linear(), b=linear(), c=nnx.List([linear(), linear()]), lora=LORA)
  if name == "a tuple":
    model.t = nnx.data((linear(),))
  before = nnx.graphdef(model)
  with pytest.raises(InputError, match=told):
    qnn_jax.replace(model, {"b": "qnn"} | kinds)
  assert nnx.graphdef(model) == before


@pytest.mark.parametrize("kinds", [{}, ["a"], None], ids=str)
def test_kinds_must_say_something(kinds):
  with pytest.raises(InputError, match=r"^kinds must say .* as {'head': 'qnn'}, got "):
    qnn_jax.replace(nnx.Dict(a=linear()), kinds)


def test_a_bias_that_was_taken_away_stays_away():
  """By hand, use_bias still True: nnx.Linear itself then fails an assertion in its call."""
  model = nnx.Sequential(linear(), nnx.tanh)
  model.layers[0].bias = None
  new = qnn_jax.replace(model, {"*": "heavy"})["layers.0"].new
  assert new.bias is None
  np.testing.assert_allclose(new(jnp.ones(3)), new.kernel[...].sum(0), rtol=1e-6)


def test_rngs_must_be_rngs():
  with pytest.raises(
    InputError, match=r"^rngs must be an nnx.Rngs, for example nnx.Rngs\(0\), got 0$"
  ):
    qnn_jax.replace(nnx.List([linear()]), {"*": "lowrank"}, rngs=0)


def test_attention_is_told_why_not():
  model = nnx.MultiHeadAttention(2, 4, rngs=nnx.Rngs(0))
  with pytest.raises(
    InputError, match="are: none; an nnx.LinearGeneral, as attention has them, is"
  ):
    qnn_jax.replace(model, {"*": "qnn"})


def test_partials_that_say_the_same_agree():
  plainly = lambda cache: functools.partial(QuadraticLinear, cache=cache)
  model = nnx.List([linear()])
  with pytest.raises(InputError, match="only one entry of kinds may choose it"):
    qnn_jax.replace(model, {"0": plainly(False), "*": plainly(True)})
  assert list(qnn_jax.replace(model, {"0": plainly(False), "*": plainly(False)})) == ["0"]


def test_two_entries_may_agree():
  model = nnx.List([linear(), linear()])
  assert len(qnn_jax.replace(model, {"0": "qnn", "*": "qnn"})) == 2


@pytest.mark.parametrize(
  "model, told",
  [
    (linear(), "the model is the Linear itself, which cannot be exchanged in place: pass a module"),
    (nnx.state(linear()), "replace needs an nnx.Module, got State$"),
    (nnx.Dict(norm=nnx.BatchNorm(3, rngs=nnx.Rngs(0))), "those that can be exchanged are: none$"),
  ],
  ids=["root", "state", "nothing"],
)
def test_models_that_cannot_be_operated_on(model, told):
  with pytest.raises(InputError, match=told):
    qnn_jax.replace(model, {"*": "qnn"})


def test_a_model_that_knows_its_parent():
  model = nnx.Dict(child=nnx.Dict(layer=linear()))
  model.child.parent = model
  assert list(qnn_jax.replace(model, {"*layer": "qnn"})) == ["child.layer"]
  assert type(model.child.layer) is QuadraticLinear
