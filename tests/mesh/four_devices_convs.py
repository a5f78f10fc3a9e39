"""Convolutions on four virtual devices: nnx.Conv and each of ours, every kind of mesh.

Run by test_on_four_devices.py. What is split gives the numbers of what is whole, to rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from meshes import AUTO, EXPLICIT, close

import qnn_jax

LAYERS = (
  nnx.Conv,
  qnn_jax.QuadraticConv,
  qnn_jax.ReducedQuadraticConv,
  qnn_jax.HeavyConv,
  qnn_jax.LowRankQuadraticConv,
)
every_conv = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
BATCH = P("d")
every_mesh = pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])


def images(batch=8):
  return np.random.default_rng(0).normal(size=(batch, 6, 5, 4)).astype(np.float32)


def drawn(layer, **arguments):
  """No parameter at its start, where a quadratic part would be zero."""
  with jax.default_device(jax.devices()[0]):
    module = layer(4, 8, (3, 2), rngs=nnx.Rngs(0), **arguments)
    graphdef, state = nnx.split(module)
    rng = np.random.default_rng(1)
    draw = lambda leaf: 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
    return graphdef, jax.tree.map(draw, state)


def value_and_gradients(graphdef, **call):
  def run(params, x):
    z, pullback = jax.vjp(lambda params, x: nnx.merge(graphdef, params)(x, **call), params, x)
    return z, pullback(jnp.cos(z))

  return run


@functools.cache
def expected_of(layer):
  graphdef, params = drawn(layer)
  with jax.default_device(jax.devices()[0]):
    return jax.jit(value_and_gradients(graphdef))(params, images())


def placed(mesh, params, x, spec=BATCH):
  put = lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec))
  return jax.tree.map(lambda leaf: put(leaf, P()), params), put(x, spec)


@every_conv
@every_mesh
@pytest.mark.parametrize("derivative", ["closed_form", "autodiff"])
def test_the_batch_split(layer, mesh, derivative):
  arguments = {} if layer is nnx.Conv else {"derivative": derivative}
  graphdef, params = drawn(layer, **arguments)
  there = placed(mesh, params, images())
  z, gradients = jax.jit(value_and_gradients(graphdef))(*there)
  jax.tree.map(close, (z, gradients), expected_of(layer))
  if mesh is EXPLICIT:
    assert z.sharding.spec == P("d", None, None, None)
    for found, given in zip(jax.tree.leaves(gradients), jax.tree.leaves(there), strict=True):
      assert found.sharding.is_equivalent_to(given.sharding, given.ndim)


@every_conv
@every_mesh
def test_a_place_for_the_outputs_and_a_mesh_in_context(layer, mesh):
  graphdef, params = drawn(layer)
  for spec in (P("d", None, None, None), P(None, None, None, "d")):
    with jax.set_mesh(mesh):
      # On Auto axes nnx.Conv takes no place.
      call = {"out_sharding": spec} if mesh is EXPLICIT else {}
      there = placed(mesh, params, images(), P())
      z = jax.jit(lambda params, x, call=call: nnx.merge(graphdef, params)(x, **call))(*there)
    close(z, expected_of(layer)[0])
    if mesh is EXPLICIT:
      assert z.sharding.is_equivalent_to(NamedSharding(mesh, spec), z.ndim)


@every_conv
@pytest.mark.parametrize("image", ["image split", "channels split"])
def test_on_auto_axes_anything_may_be_split(layer, image):
  graphdef, params = drawn(layer)
  spec = P(None, None, None, "d") if image == "channels split" else P(None, "d")
  x = np.concatenate([images(), images()[:, :2]], 1)  # eight rows, for four devices
  with jax.default_device(jax.devices()[0]):
    expected = jax.jit(value_and_gradients(graphdef))(params, x)
  jax.tree.map(
    close, jax.jit(value_and_gradients(graphdef))(*placed(AUTO, params, x, spec)), expected
  )


@every_conv
@every_mesh
def test_in_shard_map(layer, mesh):
  """With check_vma: JAX sums the derivative of what all devices share."""
  graphdef, params = drawn(layer)
  there = placed(mesh, params, images())
  inside = jax.shard_map(
    value_and_gradients(graphdef),
    mesh=mesh,
    in_specs=(P(), P("d")),
    out_specs=(P("d"), (P(), P("d"))),
    check_vma=True,
  )
  jax.tree.map(close, jax.jit(inside)(*there), expected_of(layer))


@every_conv
def test_steps_of_images_in_shard_map(layer):
  """Every device goes through its own images, one at a time."""
  graphdef, params = drawn(layer)
  x = np.random.default_rng(0).normal(size=(8, 34, 34, 4)).astype(np.float32)
  whole = jax.jit(value_and_gradients(graphdef))
  with jax.default_device(jax.devices()[0]):
    expected = whole(params, x)
  inside = jax.shard_map(
    value_and_gradients(graphdef),
    mesh=AUTO,
    in_specs=(P(), P("d")),
    out_specs=(P("d"), (P(), P("d"))),
  )
  found = jax.jit(inside)(*placed(AUTO, params, x))
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * abs(b).max())


@every_conv
def test_made_on_a_mesh_by_its_metadata(layer):
  with jax.set_mesh(AUTO):
    module = layer(
      4, 8, (3, 2), rngs=nnx.Rngs(0), kernel_metadata={"out_sharding": (None, None, None, "d")}
    )
    x = jax.device_put(images(), NamedSharding(AUTO, P("d")))
    found = nnx.jit(lambda module, x: module(x))(module, x)
  close(found, layer(4, 8, (3, 2), rngs=nnx.Rngs(0))(images()))
