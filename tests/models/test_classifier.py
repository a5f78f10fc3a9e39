"""The classifier: every head, its start, its tail, its errors, and the algorithms' own steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transcription import HEADS, train

from qnn_jax import Classifier, InputError, heads, losses, ops
from qnn_jax.models import make_layer

UNIFORM = jax.nn.initializers.uniform(0.01)

every_head = pytest.mark.parametrize("head", HEADS)


def make(head, hidden=5, seed=0, **kwargs):
  return Classifier(6, hidden, 3, head, rngs=nnx.Rngs(seed), **kwargs)


def inputs(*batch):
  return jax.random.uniform(jax.random.key(1), (*batch, 6))


@pytest.mark.fast
@every_head
def test_it_is_a_sigmoid_layer_and_the_head(head):
  model, x = make(head, param_init=jax.nn.initializers.normal(1.0)), inputs(4)
  first, last = model.layers
  assert type(first) is heads.get("ann").layer and type(last) is heads.get(head).layer
  assert set(nnx.to_pure_dict(nnx.state(last))) == set(HEADS[head])
  z = x @ first.kernel[...] + first.bias[...]
  np.testing.assert_allclose(model(x), last(jax.nn.sigmoid(z)), rtol=1e-5)
  np.testing.assert_array_equal(model.tail(first(x)), model(x))
  for batch in ((), (2, 3), (0,)):
    assert model(inputs(*batch)).shape == (*batch, 3)


@every_head
def test_param_init_starts_every_parameter(head):
  model = make(head, 7, param_init=UNIFORM)
  leaves = jax.tree.leaves(nnx.state(model))
  assert len(leaves) == 2 + len(HEADS[head])
  if head == "lowrank":  # directions, whatever the scale
    np.testing.assert_allclose((model.layers[1].v[...] ** 2).sum(0), 1, rtol=1e-5)
    leaves = [leaf for leaf in leaves if leaf.ndim < 3]
  for leaf in leaves:
    assert 0 <= leaf.min() and leaf.max() < 0.01 and leaf.std() > 0
  if head == "qnn":
    q = ops.unpack(model.layers[1].q[...])
    assert q.shape == (3, 7, 7)
    np.testing.assert_array_equal(q, q.swapaxes(1, 2))


@every_head
def test_deeper_networks_and_other_hidden_layers(head):
  x = inputs(4)
  deep = make(head, (5, 4, 2), hidden_kind=("heavy", "ann", head))
  kinds = [type(layer) for layer in deep.layers]
  assert kinds == [heads.get(kind).layer for kind in ("heavy", "ann", head, head)]
  assert deep(x).shape == (4, 3)
  np.testing.assert_array_equal(deep.tail(deep.layers[0](x)), deep(x))
  same = make(head, (5, 4), hidden_kind=head)
  assert [type(layer) for layer in same.layers] == [heads.get(head).layer] * 3


@every_head
def test_seeds_decide_the_start(head):
  one, again, other = (jax.tree.leaves(nnx.state(make(head, seed=s))) for s in (0, 0, 1))
  assert all(jnp.array_equal(a, b) for a, b in zip(one, again, strict=True))
  assert not all(jnp.array_equal(a, b) for a, b in zip(one, other, strict=True))


@every_head
def test_jit_vmap_scan_and_grad(head):
  model, x = make(head), inputs(4)
  graphdef, params = nnx.split(model)

  def loss(params, x, y):
    return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params)(x), y)

  y = jax.nn.one_hot(jnp.arange(4) % 3, 3)
  whole = loss(params, x, y)
  rows = jax.jit(jax.vmap(loss, (None, 0, 0)))(params, x, y)
  np.testing.assert_allclose(rows, whole, rtol=1e-5)
  scanned = jax.lax.scan(lambda p, xy: (p, loss(p, *xy)), params, (x, y))[1]
  np.testing.assert_allclose(scanned, whole, rtol=1e-5)
  gradient = jax.jit(jax.grad(lambda p: loss(p, x, y).sum()))(params)
  through_nnx = nnx.jit(nnx.grad(lambda model: losses.sigmoid_cross_entropy(model(x), y).sum()))(
    model
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    gradient,
    nnx.state(through_nnx),
  )


@every_head
@pytest.mark.parametrize("hidden, kind", [(5, "ann"), ((4, 5), None)], ids=["table4", "deep"])
def test_gradient_steps_are_the_transcribed_algorithms(head, hidden, kind):
  """Algorithms 1 and 2 in NumPy, and SGD on this model's gradients, go the same way."""
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(7, 6)), np.eye(3)[rng.integers(3, size=7)]
    normal = jax.nn.initializers.normal(0.5)
    # With None the hidden layers are of the head's kind too, as the algorithms are written.
    model = make(head, hidden, hidden_kind=kind or head, param_init=normal, param_dtype=jnp.float64)
    graphdef, start = nnx.split(model)

    def step(params, i):
      def loss(params):
        return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params)(x[i]), y[i])

      return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params)), None

    x, y, steps = jnp.asarray(x), jnp.asarray(y), 30
    ours = jax.jit(lambda p: jax.lax.scan(step, p, jnp.arange(steps) % 7)[0])(start)
    theirs = train(head, nnx.to_pure_dict(start), x, y, steps, 0.1)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), theirs, nnx.to_pure_dict(start))
    assert min(jax.tree.leaves(moved)) > 1e-3
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11),
      nnx.to_pure_dict(ours),
      theirs,
    )


@pytest.mark.fast
def test_an_unknown_head_tells_which_there_are():
  with pytest.raises(
    InputError, match="^unknown head 'cnn'; choose one of ann, qnn, rpqnn, heavy, lowrank$"
  ):
    make("cnn")
  with pytest.raises(InputError, match="'cnn'"):
    make("qnn", hidden_kind="cnn")


@pytest.mark.parametrize("hidden", [0, -3, (5, 0)], ids=str)
def test_hidden_below_one_is_refused(hidden):
  with pytest.raises(InputError, match="^hidden must be at least 1 neuron in every layer, got"):
    make("qnn", hidden)


def test_other_sizes_that_make_no_network_are_refused():
  with pytest.raises(InputError, match="hidden_kind names 1 layers, .* but hidden has 2"):
    make("qnn", (5, 4), hidden_kind=("ann",))
  for sizes in ((0, 3), (6, 0)):
    with pytest.raises(InputError, match=f"must be at least 1, got {sizes[0]} and {sizes[1]}"):
      Classifier(sizes[0], 5, sizes[1], "qnn", rngs=nnx.Rngs(0))


def test_sizes_may_be_numpy_integers():
  assert make("qnn", np.int64(5))(inputs(2)).shape == (2, 3)


def test_make_layer_passes_its_arguments_on():
  ones = jax.nn.initializers.ones
  layer = make_layer("qnn", 3, 2, rngs=nnx.Rngs(0), param_init=UNIFORM, bias_init=ones)
  assert (layer.bias[...] == 1).all() and layer.kernel[...].max() < 0.01
