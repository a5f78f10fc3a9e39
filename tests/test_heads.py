"""The registry of heads: one entry is all that a new layer needs, and half an entry is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from experiments.table4 import plot
from experiments.table4.paper import Cell, models_of
from qnn_jax import Classifier, InputError, heads, layers

pytestmark = pytest.mark.fast

NORMAL = jax.nn.initializers.normal(1.0)


@pytest.fixture
def registry(monkeypatch):
  """Whatever a test registers is forgotten behind it."""
  monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))


class Shifted(layers.HeavyLinear):
  """A user's own layer, with a parameter more."""

  def __init__(self, n, m, *, shift_init=jax.nn.initializers.zeros, rngs, **heavy):
    super().__init__(n, m, rngs=rngs, **heavy)
    self.shift = nnx.Param(shift_init(rngs.params(), (n,), self.param_dtype))

  def __call__(self, inputs, out_sharding=None):
    return super().__call__(inputs - self.shift, out_sharding)


HEAVY = heads.get("heavy")
STARTS = HEAVY.starts | {"shift_init": heads.as_drawn}
SHIFTED = heads.Head("shifted", Shifted, STARTS, "Shifted", "#E69F00", "v")


every_head = pytest.mark.parametrize("name", heads.names())


def test_the_order_is_that_of_tables():
  names, titles = (
    ("ann", "qnn", "rpqnn", "heavy", "lowrank"),
    ("ANN", "QNN", "RPQNN", "HEAVY", "LOWRANK"),
  )
  assert heads.names() == names and tuple(map(heads.title, names)) == titles
  assert heads.title("none such") == "NONE SUCH"


@every_head
def test_every_head_ends_a_network_and_hides_in_one(name):
  model = Classifier(4, (5, 3), 2, name, hidden_kind=name, param_init=NORMAL, rngs=nnx.Rngs(0))
  graph, params = nnx.split(model)
  assert all((leaf != 0).all() for leaf in jax.tree.leaves(params))
  outputs = lambda params, x: nnx.merge(graph, params)(x)
  for batch in ((), (2, 3), (0,)):
    assert jax.eval_shape(outputs, params, jnp.ones((*batch, 4))).shape == (*batch, 2)
  x = jax.random.normal(jax.random.key(0), (6, 4))
  gradients = jax.jit(jax.grad(lambda params: outputs(params, x).sum()))(params)
  assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradients))


def test_colours_and_markers_tell_the_heads_apart():
  looks = [(heads.get(name).colour, heads.get(name).marker) for name in heads.names()]
  assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == len(looks)


def test_one_entry_makes_a_layer_known_everywhere(registry):
  heads.register(SHIFTED)
  model = Classifier(4, 3, 2, "shifted", param_init=NORMAL, rngs=nnx.Rngs(0))
  assert type(model.layers[1]) is Shifted and model(jnp.ones((5, 4))).shape == (5, 2)
  assert all((leaf != 0).all() for leaf in jax.tree.leaves(nnx.state(model)))
  cells = [Cell(600, 5, 10, model) for model in ("zeta", "shifted", "qnn")]
  assert sorted(("lowrank:16", "lowrank:2", "qnn"), key=heads.order)[1] == "lowrank:2"
  assert models_of(cells) == ("qnn", "shifted", "zeta")
  assert plot._styles(models_of(cells))["shifted"] == ("#E69F00", "v")


def test_a_size_behind_the_name_is_the_layer_s(registry):
  model = Classifier(4, (5, 3), 2, "lowrank:2", hidden_kind="lowrank:7", rngs=nnx.Rngs(0))
  assert [layer.v.shape for layer in model.layers] == [(4, 7, 5), (5, 7, 3), (3, 2, 2)]
  assert heads.get("lowrank:2").title == heads.title("lowrank:2") == "LOWRANK 2"
  assert heads.known("lowrank:2") and not heads.known("lowrank:0")
  # Beside the default and each other, in one table.
  cells = [
    Cell(600, 5, 10, model) for model in ("lowrank:16", "zeta", "lowrank:2", "lowrank", "qnn")
  ]
  assert sorted(("lowrank:16", "lowrank:2", "qnn"), key=heads.order)[1] == "lowrank:2"
  assert models_of(cells) == ("qnn", "lowrank", "lowrank:2", "lowrank:16", "zeta")
  styles = plot._styles(models_of(cells))
  assert len(set(styles.values())) == len(styles) and styles["lowrank"] == ("#56B4E9", "P")


def test_a_name_registered_again_replaces_the_head(registry):
  heads.register(SHIFTED)
  heads.register(dataclasses.replace(SHIFTED, colour="#123456"))
  assert heads.get("shifted").colour == "#123456" and heads.names().count("shifted") == 1
  with pytest.raises(
    InputError, match="^a head 'shifted' with the title '.*' is registered already"
  ):
    heads.register(dataclasses.replace(SHIFTED, name="another"))


@pytest.mark.parametrize("size", ["", "0", "-1", "08", "2.5", "many", "4:4", " 4", "+4", "\u0664"])
def test_a_size_that_is_none_is_refused(size):
  name = f"lowrank:{size}"
  with pytest.raises(InputError) as error:
    Classifier(4, 3, 2, name, rngs=nnx.Rngs(0))
  told = "the rank of 'lowrank' must be a whole number of at least 1, as in 'lowrank:8', got "
  assert str(error.value) == f"{told}'{name}'"


def test_a_size_of_a_head_without_one_is_refused():
  with pytest.raises(InputError, match="^the head 'qnn' has no size: write 'qnn', not 'qnn:8'$"):
    heads.get("qnn:8")
  with pytest.raises(InputError, match="^unknown head 'cnn:8'; choose one of ann"):
    heads.get("cnn:8")


def test_what_is_not_there_is_told_with_what_is():
  with pytest.raises(InputError, match="^unknown head 'cnn'; choose one of ann, qnn, rpqnn, heavy"):
    heads.get("cnn")
  with pytest.raises(InputError, match="unknown head"):
    heads.get(["ann"])


@pytest.mark.parametrize(
  "change, told",
  [
    ({"name": "qnn"}, "^a head 'qnn' with the title 'QNN' is registered already"),
    ({"title": "ANN"}, "^a head 'ann' with the title 'ANN' is registered already"),
    ({"name": "z:8"}, "^the head 'z:8' must have a name without a colon"),
    ({"name": ["z"]}, "registered without a name$"),
    ({"colour": "red"}, "without a colour: write '#rrggbb', not 'red'$"),
    ({"layer": None}, "by its layer's class, an nnx.Module, not None$"),
    ({"starts": STARTS | {"shift_init": None}}, "must start shift_init by a function"),
    ({"conv": "conv"}, "by its convolution's class, an nnx.Module, or None, not 'conv'$"),
    ({"title": ""}, "^the head 'shifted' is registered without a title$"),
    ({"colour": None}, "^the head 'shifted' is registered without a colour: write"),
    ({"starts": HEAVY.starts}, "^the head 'shifted' must say how Shifted starts.*shift_init, and"),
    ({"starts": STARTS | {"q_init": heads.as_drawn}}, "starts names .*q_init"),
  ],
)
def test_half_an_entry_is_refused(change, told, registry):
  with pytest.raises(InputError, match=told):
    heads.register(dataclasses.replace(SHIFTED, **change))
  assert "shifted" not in heads.names()
