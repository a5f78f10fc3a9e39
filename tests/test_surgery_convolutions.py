"""replace and the look inside, on convolutions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qnn_jax
from qnn_jax import InputError, heads, inspect

NAMES = [name for name in heads.names() if heads.get(name).conv not in (None, nnx.Conv)]
every_kind = pytest.mark.parametrize("name", NAMES)
outputs = nnx.jit(lambda model, x: model(x))
normal = jax.nn.initializers.normal(0.5)

CASES = {
  "plain": {},
  "series": {"kernel_size": (3,)},
  "strides": {"strides": 2, "padding": "VALID", "kernel_dilation": 2},
  "groups": {"feature_group_count": 2, "use_bias": False},
  "mask": {"mask": jnp.tril(jnp.ones((3, 3, 4, 6)))},
  "half": {"param_dtype": jnp.float16, "dtype": jnp.float32},
}


# The arguments come from one place whatever the kind: each case with one of the kinds.
PAIRS = list(zip(list(CASES)[1:], [*NAMES, *NAMES]))


def conv(**arguments):
  size = arguments.pop("kernel_size", (3, 3))
  return nnx.Conv(4, 6, size, bias_init=normal, rngs=nnx.Rngs(0), **arguments)


def images(layer):
  return jax.random.normal(jax.random.key(1), (2, *[7] * len(layer.kernel_size), 4))


@pytest.mark.fast
def test_every_quadratic_head_has_a_convolution():
  assert NAMES == [name for name in heads.names() if name != "ann"]


@pytest.mark.parametrize("case, name", [*PAIRS, *(("plain", name) for name in NAMES)])
def test_all_that_a_call_depends_on_is_kept_to_the_last_bit(case, name):
  old = conv(**CASES[case])
  model, x = nnx.List([old]), images(old)
  before = outputs(model[0], x)
  new = qnn_jax.replace(model, {"0": name})["0"].new
  assert model[0] is new and type(new) is heads.get(name).conv
  for attribute in vars(old):
    if not attribute.startswith("_pytree__"):
      assert getattr(new, attribute) is getattr(old, attribute), attribute
  np.testing.assert_array_equal(outputs(new, x), before)
  own = {key: var for key, var in nnx.state(new).items() if key not in nnx.state(old)}
  assert own and all(var.dtype == old.kernel.dtype for var in own.values())


class CNN(nnx.Module):
  def __init__(self, rngs: nnx.Rngs):
    self.convolutions = nnx.List([nnx.Conv(n, 6, (3, 3), rngs=rngs) for n in (4, 6)])
    self.head = nnx.Linear(6, 3, rngs=rngs)

  def __call__(self, x):
    for layer in self.convolutions:
      x = nnx.relu(layer(x))
    return self.head(x.mean((1, 2)))


@pytest.mark.parametrize("name", ["qnn", "lowrank:2"])
def test_the_last_convolution_and_the_last_linear_in_one_call(name):
  model, x = CNN(nnx.Rngs(0)), images(conv())
  before = outputs(model, x)
  replaced = qnn_jax.replace(model, {"convolutions.1": name, "head": name})
  assert {path: type(new) for path, (_, new) in replaced.items()} == {
    "convolutions.1": heads.get(name).conv,
    "head": heads.get(name).layer,
  }
  # The layers' outputs are the same to the last bit; the mean behind them XLA may take in another order.
  np.testing.assert_allclose(outputs(model, x), before, rtol=1e-6, atol=1e-6)
  assert type(model.convolutions[0]) is nnx.Conv
  if name == "lowrank:2":
    assert model.convolutions[1].rank == model.head.rank == 2
    assert not (model.convolutions[1].v[..., 0, 0] == model.convolutions[1].v[..., 1, 0]).any()


@pytest.mark.parametrize(
  "kind, told",
  [
    ("flat", "^the head 'flat' has no convolution; choose another kind for nnx.Conv$"),
    (
      qnn_jax.QuadraticLinear,
      "^0: QuadraticLinear cannot be made with the arguments of nnx.Conv: ",
    ),
  ],
  ids=["flat", "linear"],
)
def test_a_kind_that_is_no_convolution(kind, told, monkeypatch):
  flat = dataclasses.replace(heads.get("heavy"), name="flat", title="Flat", conv=None)
  monkeypatch.setattr(heads, "_HEADS", heads._HEADS | {"flat": flat})
  with pytest.raises(InputError, match=told):
    qnn_jax.replace(nnx.List([conv()]), {"0": kind})


def with_random_parameters(name, **arguments):
  layer = qnn_jax.replace(nnx.List([conv(**arguments)]), {"0": name})["0"].new
  params = nnx.state(layer, nnx.Param)
  keys = iter(jax.random.split(jax.random.key(2), 9))
  nnx.update(layer, jax.tree.map(lambda leaf: normal(next(keys), leaf.shape), params))
  return layer


@pytest.mark.parametrize(
  "name, mask", [*((name, False) for name in NAMES), ("qnn", True), ("lowrank", True)]
)
def test_the_polynomial_of_a_patch_is_what_the_layer_computes_there(name, mask):
  layer = with_random_parameters(name, padding="VALID", **(CASES["mask"] if mask else {}))
  x = np.asarray(images(layer))
  q, w, b = inspect.quadric(layer)
  z = np.empty((2, 5, 5, 6))
  for i, j in np.ndindex(5, 5):
    p = x[:, i : i + 3, j : j + 3].reshape(2, -1)
    z[:, i, j] = np.einsum("bi,kij,bj->bk", p, q, p) + p @ w.T + b
  np.testing.assert_allclose(z, layer(x), rtol=1e-4, atol=1e-4)
  values, vectors = inspect.eigenpairs(layer)
  np.testing.assert_allclose(np.einsum("mk,mki,mkj->mij", values, vectors, vectors), q, atol=1e-12)
  assert inspect.kinds(layer).shape == (6,)


@pytest.mark.parametrize("name", ["qnn", "lowrank"])
def test_a_group_s_neurons_see_its_channels(name):
  layer = with_random_parameters(name, kernel_size=(3,), padding="VALID", feature_group_count=2)
  x = np.asarray(images(layer))[:, :3]
  q, w, b = inspect.quadric(layer)
  assert w.shape == (6, 6)
  for k in range(6):
    p = x[:, :, 2 * (k // 3) : 2 * (k // 3) + 2].reshape(2, -1)
    z = ((p @ q[k]) * p).sum(1) + p @ w[k] + b[k]
    np.testing.assert_allclose(z, layer(x)[:, 0, k], rtol=1e-4, atol=1e-4)


def test_an_affine_convolution_is_flat():
  layer = conv(padding="VALID")
  q, w, b = inspect.quadric(layer)
  assert not q.any()
  np.testing.assert_array_equal(w, layer.kernel[...].reshape(-1, 6).T)
  np.testing.assert_array_equal(b, layer.bias[...])
  assert set(inspect.kinds(layer)) == {"hyperplane"}
