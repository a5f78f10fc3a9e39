"""replace on four devices: new parameters lie where the kernel does, split as it is."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import qnn_jax
from qnn_jax import heads

KINDS = [jax.make_mesh((2, 2), ("i", "o"), axis_types=(kind,) * 2) for kind in AxisType][:2]
N, M = 8, 6
# name -> the own parameters of the layer and how they are split for a kernel split by (i, o).
SPLIT = {
  "ann": {},
  "qnn": {"q": (None, "o")},
  "rpqnn": {"u": ("i", "o"), "c": ("o",)},
  "heavy": {"heavy_kernel": ("i", "o")},
  "lowrank": {"v": ("i", None, "o"), "s": (None, "o")},
}
every_mesh = pytest.mark.parametrize("mesh", KINDS, ids=["auto", "explicit"])
every_head = pytest.mark.parametrize("name", heads.names())


def make():
  metadata = {
    "kernel_metadata": {"out_sharding": ("i", "o")},
    "bias_metadata": {"out_sharding": ("o",)},
  }
  return nnx.Sequential(nnx.Linear(N, M, rngs=nnx.Rngs(0), **metadata))


def test_meshes():
  assert [mesh.axis_types[0] for mesh in KINDS] == [AxisType.Auto, AxisType.Explicit]
  assert set(SPLIT) == set(heads.names())


@every_mesh
@every_head
def test_new_parameters_are_split_as_the_kernel_is(mesh, name):
  with jax.set_mesh(mesh):
    model = make()
  bias = model.layers[0].bias[...]
  new = qnn_jax.replace(model, {"*": name})["layers.0"].new
  assert new.bias[...] is bias
  for own, spec in SPLIT[name].items():
    variable = getattr(new, own)
    assert variable[...].sharding == NamedSharding(mesh, P(*spec))
    assert variable.get_metadata()["out_sharding"] == spec


@every_mesh
@pytest.mark.parametrize("rank", [N, N // 2])
def test_s_has_no_inputs_whatever_its_rank(mesh, rank):
  with jax.set_mesh(mesh):
    model = make()
  new = qnn_jax.replace(model, {"*": f"lowrank:{rank}"})["layers.0"].new
  for own, spec in SPLIT["lowrank"].items():
    variable = getattr(new, own)
    assert variable[...].sharding.is_equivalent_to(NamedSharding(mesh, P(*spec)), len(spec))
    assert variable.get_metadata()["out_sharding"] == spec


def test_s_of_a_convolution_has_no_window():
  mesh = KINDS[0]
  model = nnx.Sequential(nnx.Conv(3, M, (4,), rngs=nnx.Rngs(0)))
  kernel = model.layers[0].kernel
  split = NamedSharding(mesh, P("i", None, "o"))
  kernel.set_value(jax.device_put(kernel[...], split))
  new = qnn_jax.replace(model, {"*": "lowrank:4"})["layers.0"].new
  assert new.s[...].sharding.is_equivalent_to(NamedSharding(mesh, P(None, "o")), 2)
  v = NamedSharding(mesh, P("i", None, None, "o"))
  assert new.v[...].sharding.is_equivalent_to(v, 4)


@every_mesh
@every_head
def test_the_same_without_notes_of_layouts(mesh, name):
  model = nnx.Sequential(nnx.Linear(N, M, rngs=nnx.Rngs(0)))
  layer = model.layers[0]
  layer.kernel.set_value(jax.device_put(layer.kernel[...], NamedSharding(mesh, P(None, "o"))))
  layer.bias.set_value(jax.device_put(layer.bias[...], NamedSharding(mesh, P("o"))))
  new = qnn_jax.replace(model, {"*": name})["layers.0"].new
  for own, spec in SPLIT[name].items():
    place = NamedSharding(mesh, P(*(axis if axis == "o" else None for axis in spec)))
    assert getattr(new, own)[...].sharding.is_equivalent_to(place, len(spec))
    assert "out_sharding" not in getattr(new, own).get_metadata()


@every_head
def test_a_layer_on_another_device(name):
  model = nnx.Sequential(nnx.Linear(N, M, rngs=nnx.Rngs(0)))
  device = jax.devices()[2]
  nnx.update(model, jax.device_put(nnx.state(model), device))
  qnn_jax.replace(model, {"*": name})
  assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(nnx.state(model)))
  assert model(jax.device_put(jnp.ones((5, N)), device)).devices() == {device}


def test_inside_a_jit_on_explicit_axes():
  mesh = KINDS[1]
  with jax.set_mesh(mesh):
    model = make()

    @nnx.jit
    def operate(model):
      qnn_jax.replace(model, {"*": "lowrank"})

    operate(model)
  for own, spec in SPLIT["lowrank"].items():
    assert getattr(model.layers[0], own)[...].sharding == NamedSharding(mesh, P(*spec))


@every_mesh
def test_an_abstract_model(mesh):
  with jax.set_mesh(mesh):
    model = nnx.eval_shape(make)
    qnn_jax.replace(model, {"*": "lowrank"})
  for own, spec in SPLIT["lowrank"].items():
    assert getattr(model.layers[0], own).get_raw_value().sharding.spec == P(*spec)


@every_mesh
def test_a_stack_is_split_as_its_kernel(mesh):
  keys = jax.random.split(jax.random.key(0), 4)
  model = nnx.vmap(lambda key: nnx.Sequential(nnx.Linear(N, M, rngs=nnx.Rngs(key))))(keys)
  layer = model.layers[0]
  layer.kernel.set_value(jax.device_put(layer.kernel[...], NamedSharding(mesh, P("i", None, "o"))))
  new = qnn_jax.replace(model, {"*": "rpqnn"})["layers.0"].new
  assert new.u[...].sharding.spec == P("i", None, "o")
  assert new.c[...].sharding.spec == P("i", "o")


@every_mesh
def test_a_convolution_is_split_by_neurons(mesh):
  layer = nnx.Conv(4, 6, (3, 3), rngs=nnx.Rngs(0))
  place = NamedSharding(mesh, P(None, None, None, "o"))
  layer.kernel.set_value(jax.device_put(layer.kernel[...], place))
  for name, own, spec in (("qnn", "q", (None, "o")), ("lowrank", "v", (*[None] * 4, "o"))):
    new = qnn_jax.replace(nnx.List([layer]), {"0": name})["0"].new
    assert getattr(new, own)[...].sharding == NamedSharding(mesh, P(*spec))
