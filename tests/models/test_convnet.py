"""The CNN and the MLP on images, against the same networks written out in plain Flax."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import InputError, heads, losses, models

SHAPE = (9, 13, 2)
outputs = nnx.jit(lambda model, x: model(x))


def images(shape=SHAPE, batch=(3,), dtype=jnp.float32):
  return jax.random.normal(jax.random.key(1), (*batch, *shape), dtype)


class Plain(nnx.Module):
  """Two convolutions and two linear layers of Flax alone, sizes by hand for images 9 x 13 x 2."""

  def __init__(self, activation, rngs):
    self.activation = activation
    self.first = nnx.Conv(2, 4, (3, 3), rngs=rngs)
    self.second = nnx.Conv(4, 6, (3, 3), rngs=rngs)
    self.hidden = nnx.Linear(2 * 3 * 6, 7, rngs=rngs)  # 9 x 13 -> 4 x 6 -> 2 x 3
    self.out = nnx.Linear(7, 5, rngs=rngs)

  def __call__(self, x):
    for layer in (self.first, self.second):
      x = self.activation(layer(x))
      # Max pooling by hand: the last odd row or column is dropped.
      h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
      x = x[:, :h, :w].reshape(len(x), h // 2, 2, w // 2, 2, -1).max((2, 4))
    return self.out(self.activation(self.hidden(x.reshape(len(x), -1))))


def convnet(**others):
  return models.ConvNet(SHAPE, (4, 6), 7, 5, "ann", rngs=nnx.Rngs(0), **others)


@pytest.mark.parametrize(
  "name, function", [("relu", nnx.relu), ("tanh", jnp.tanh)], ids=["relu", "tanh"]
)
def test_with_plain_layers_it_is_the_plain_network(name, function):
  ours, plain = convnet(activation=name), Plain(function, nnx.Rngs(0))
  # The keys are drawn in the same order, so that they start alike.
  ours_of = [*ours.convolutions, *ours.classifier.layers]
  for one, other in zip(ours_of, (plain.first, plain.second, plain.hidden, plain.out), strict=True):
    np.testing.assert_array_equal(one.kernel[...], other.kernel[...])
  np.testing.assert_allclose(outputs(ours, images()), outputs(plain, images()), atol=1e-6)


KINDS = [name.replace("lowrank", "lowrank:2") for name in heads.names()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_every_kind_stands_at_every_place_and_starts_as_the_plain_network(network, kind):
  def build(kind, **options):
    said = models.Network(
      network, (6,), (3, 4), head=kind, hidden_kind=kind, conv_kind=kind, activation="tanh"
    )
    return models.build(said, SHAPE, 5, rngs=nnx.Rngs(0), **options)

  half = lambda: build(kind, dtype=jnp.bfloat16)

  @jax.jit  # one program: what starts alike is drawn once
  def run(x):
    return build(kind)(x), build("ann")(x), half()(x)

  x, y = images(), jnp.arange(3)
  z, plain, of_half = run(x)
  assert z.shape == (3, 5) and z.dtype == jnp.float32 and of_half.dtype == jnp.bfloat16
  np.testing.assert_allclose(z, plain, atol=1e-5)
  np.testing.assert_allclose(of_half.astype(jnp.float32), z, atol=0.1)

  def step(model):
    return nnx.value_and_grad(lambda m: losses.get("softmax")(m(x), y).mean())(model)

  model = nnx.eval_shape(half)
  loss, grads = nnx.eval_shape(step, model)
  assert loss.dtype == jnp.float32
  for grad, param in zip(jax.tree.leaves(grads), jax.tree.leaves(nnx.state(model)), strict=True):
    assert (grad.dtype, grad.shape) == (jnp.float32, param.shape)
  classes = {type(m) for _, m in nnx.iter_modules(model) if isinstance(m, nnx.Linear | nnx.Conv)}
  head = heads.get(kind)
  assert classes == ({head.layer} if network == "mlp" else {head.layer, head.conv})


def test_half_precision_gives_the_gradient_to_its_own_rounding():
  """A quadratic layer of every kind, none of them at its start, where its gradient may be zero."""
  kinds = {"conv_kind": ("qnn", "lowrank:2"), "hidden_kind": ("rpqnn", "heavy")}
  said = models.Network("cnn", (6, 6), (3, 4), "qnn", **kinds, activation="tanh")
  x, y = images(), jnp.arange(3)

  def gradient(params, dtype):
    make = lambda: models.build(said, SHAPE, 5, dtype=dtype, rngs=nnx.Rngs(0))
    model = nnx.merge(nnx.graphdef(nnx.eval_shape(make)), params)
    return nnx.grad(lambda m: losses.get("softmax")(m(x), y).mean())(model)

  params = nnx.state(nnx.eval_shape(lambda: models.build(said, SHAPE, 5, rngs=nnx.Rngs(0))))
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(0, 0.1, leaf.shape), leaf.dtype), params
  )
  exact, half = (jax.jit(gradient, static_argnums=1)(params, d) for d in (None, jnp.bfloat16))
  for one, other in zip(jax.tree.leaves(exact), jax.tree.leaves(half), strict=True):
    assert other.dtype == jnp.float32 and jnp.abs(one).max() > 1e-5
    assert jnp.linalg.norm(one - other) < 0.1 * jnp.linalg.norm(one)


def test_a_kind_for_each_layer():
  kinds = {"conv_kind": ("ann", "qnn"), "hidden_kind": ("heavy", "lowrank:3")}
  make = lambda: models.ConvNet(SHAPE, (3, 4), (6, 7), 5, "rpqnn", **kinds, rngs=nnx.Rngs(0))
  net = nnx.eval_shape(make)
  named = lambda modules: [type(module).__name__ for module in modules]
  assert named(net.convolutions) == ["Conv", "QuadraticConv"]
  layers = net.classifier.layers
  assert named(layers) == ["HeavyLinear", "LowRankQuadraticLinear", "ReducedQuadraticLinear"]
  assert layers[1].rank == 3


def test_a_registered_head_stands_everywhere(monkeypatch):
  monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))
  heavy = heads.get("heavy")
  heads.register(dataclasses.replace(heavy, name="mine", title="Mine"))
  heads.register(dataclasses.replace(heavy, name="flat", title="Flat", conv=None))
  said = models.Network("cnn", (4,), (3,), head="mine", hidden_kind="mine", conv_kind="mine")
  net = nnx.eval_shape(lambda: models.build(said, SHAPE, 5, rngs=nnx.Rngs(0)))
  assert type(net.convolutions[0]) is heavy.conv and type(net.classifier.layers[1]) is heavy.layer
  said = dataclasses.replace(said, conv_kind="flat")
  told = "^the head 'flat' has no convolution; choose one of ann, qnn, .*, mine$"
  with pytest.raises(InputError, match=told):
    models.build(said, SHAPE, 5, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("shape", [(8, 8, 1), (17, 23, 4), (2, 2, 3)], ids=str)
@pytest.mark.parametrize("kernel_size, pool", [(3, 2), (2, 1), (5, 2)], ids=str)
def test_sizes_come_from_the_image(shape, kernel_size, pool):
  sizes = {"kernel_size": kernel_size, "pool": pool}
  net = nnx.eval_shape(lambda: models.ConvNet(shape, 3, (), 4, "ann", **sizes, rngs=nnx.Rngs(0)))
  (only,) = net.classifier.layers
  assert only.in_features == (shape[0] // pool) * (shape[1] // pool) * 3
  for batch in ((), (2,), (2, 3), (0,)):
    x = jax.ShapeDtypeStruct((*batch, *shape), jnp.float32)
    assert nnx.eval_shape(lambda net, x: net(x), net, x).shape == (*batch, 4)


def test_an_mlp_is_the_classifier_of_the_flattened_image():
  @jax.jit
  def run(x):
    mlp = models.Mlp((3, 4, 2), (4, 3), 5, "qnn", rngs=nnx.Rngs(0))
    classifier = models.Classifier(24, (4, 3), 5, "qnn", rngs=nnx.Rngs(0))
    alone = models.build(models.Network("mlp", head="heavy"), (3, 4, 2), 5, rngs=nnx.Rngs(0))
    rows = x.reshape(3, -1)
    return mlp(x), classifier(rows), alone(x), alone.layers[0](rows)

  mlp, classifier, alone, layer = run(images((3, 4, 2)))
  np.testing.assert_array_equal(mlp, classifier)
  np.testing.assert_array_equal(alone, layer)


@pytest.mark.fast
@pytest.mark.parametrize("name", models.ACTIVATIONS)
def test_activations_are_elementwise_functions_of_jax(name):
  net = models.Classifier(3, 4, 2, "ann", activation=name, rngs=nnx.Rngs(0))
  first, last = net.layers
  z = first(jnp.linspace(-2, 2, 6).reshape(2, 3))
  each = jnp.stack([getattr(jax.nn, name)(one) for one in z.ravel()]).reshape(z.shape)
  np.testing.assert_allclose(net.tail(z), last(each), rtol=1e-5, atol=1e-6)


MISTAKES = {
  "pooled away": (
    {"channels": (1, 1, 1, 1)},
    "^4 convolutions with pool 2 leave nothing of an image 9 x 13: use images of at least 16 x 16, ",
  ),
  "no channels": ({"channels": ()}, "^channels must have a number for each convolution, .* got ()"),
  "channels": ({"channels": (3, 0)}, r"^channels must be at least 1 neuron .*, got \(3, 0\)$"),
  "kinds": (
    {"conv_kind": ("ann",)},
    r"^conv_kind names 1 layers, .*, but channels has 2: \(3, 4\)",
  ),
  "head": ({"head": "cnn"}, "^unknown head 'cnn'; choose one of ann, qnn"),
  "conv": ({"conv_kind": "qn"}, "^unknown head 'qn'; choose one of ann, qnn"),
  "kernel": ({"kernel_size": 0}, "^kernel_size must be a whole number of at least 1, got 0$"),
  "pool": ({"pool": 1.5}, "^pool must be a whole number of at least 1, got 1.5$"),
  "near": ({"activation": "rel"}, "^unknown activation 'rel'; did you mean relu or "),
  "far": ({"activation": 7}, "^unknown activation 7; choose one of celu, .*, tanh$"),
  "shape": (
    {"image_shape": (8, 8)},
    r"^image_shape must be height, width and channels, .* \(8, 8\)$",
  ),
  "classes": ({"classes": 0}, "^in_features and classes must be at least 1, got 24 and 0$"),
}


@pytest.mark.fast
@pytest.mark.parametrize("change, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_in_one_sentence(change, told):
  arguments = {
    "image_shape": SHAPE, "channels": (3, 4), "hidden": (), "classes": 5, "head": "ann",
  }  # fmt: skip
  with pytest.raises(InputError, match=told):
    models.ConvNet(**arguments | change, rngs=nnx.Rngs(0))


@pytest.mark.fast
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_images_of_another_shape_are_refused(kind):
  net = models.build(models.Network(kind, (), (3,)), SHAPE, 5, rngs=nnx.Rngs(0))
  for shape in ((13, 9, 2), (9, 13), (234,)):
    with pytest.raises(InputError, match=r"takes images \[..., 9, 13, 2\], got the shape"):
      net(jnp.zeros((1, *shape)))


def test_it_splits_and_maps_as_any_module():
  """Seeds by vmap, as the trainer has them."""
  said = models.Network("cnn", (4,), (3,), head="qnn", conv_kind="lowrank:2")
  make = lambda key: nnx.split(models.build(said, SHAPE, 5, rngs=nnx.Rngs(key)))
  keys, x = jax.random.split(jax.random.key(0), 2), images()
  graph = nnx.graphdef(nnx.eval_shape(lambda: models.build(said, SHAPE, 5, rngs=nnx.Rngs(0))))
  z = jax.jit(jax.vmap(lambda key: nnx.merge(graph, make(key)[1])(x)))(keys)
  for key, of_seed in zip(keys, z, strict=True):
    np.testing.assert_allclose(of_seed, nnx.merge(*make(key))(x), atol=1e-5)
