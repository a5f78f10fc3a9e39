"""Value and gradient on four virtual devices: every op, every kind of mesh, every way to split.

Run by test_on_four_devices.py. What is split gives the numbers of what is whole, to rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from meshes import (
  AUTO,
  EXPLICIT,
  LAYERS,
  OPS,
  WAYS,
  arguments,
  close,
  every_op,
  every_size,
  expected_of,
  placed,
  split_neurons,
  value_and_gradients,
  ways,
)


@every_size
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_value_and_gradient_on_a_mesh(name, n, m, way, mesh):
  op = OPS[name][0]
  batch, x_spec, specs, out = ways(name)[way]
  args = arguments(name, n, m, batch)
  expected = expected_of(name, n, m, batch)
  if mesh is EXPLICIT and out is not None:
    op = functools.partial(op, out_sharding=NamedSharding(mesh, out))
  there = placed(mesh, args, [x_spec, *specs])
  z, gradients = jax.jit(value_and_gradients(op))(*there)
  jax.tree.map(close, (z, gradients), expected)
  if mesh is EXPLICIT:  # every derivative lies where its argument does
    for gradient, argument in zip(gradients, there):
      assert gradient.sharding.is_equivalent_to(argument.sharding, argument.ndim)
    if out is not None:
      assert z.sharding.is_equivalent_to(NamedSharding(mesh, out), z.ndim)


@every_op
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_without_jit_and_in_the_context_of_a_mesh(name, mesh):
  op = OPS[name][0]
  args = arguments(name, 8, 4, (8,))
  expected = expected_of(name, 8, 4, (8,))
  there = placed(mesh, args, [P("d"), *[P()] * (len(args) - 1)])
  jax.tree.map(close, value_and_gradients(op)(*there), expected)
  with jax.set_mesh(mesh):
    jax.tree.map(close, jax.jit(value_and_gradients(op))(*there), expected)


@every_size
@pytest.mark.parametrize(
  "way, mesh",
  [("batch", AUTO), ("batch", EXPLICIT), ("neurons", EXPLICIT), ("rank 4, axis 2", EXPLICIT)],
  ids=["batch-auto", "batch-explicit", "neurons-explicit", "rank 4-explicit"],
)
def test_value_and_gradient_in_shard_map(name, n, m, way, mesh):
  """With check_vma: JAX proves which results are equal on all devices, and sums the others."""
  op = OPS[name][0]
  batch, x_spec, specs, _ = ways(name)[way]
  args = arguments(name, n, m, batch)
  z_spec = P(None, "d") if way == "neurons" else x_spec
  there = placed(mesh, args, [x_spec, *specs])
  expected = expected_of(name, n, m, batch)
  inside = jax.shard_map(
    value_and_gradients(op),
    mesh=mesh,
    in_specs=(x_spec, *specs),
    out_specs=(z_spec, (x_spec, *specs)),
    check_vma=True,
  )
  jax.tree.map(close, jax.jit(inside)(*there), expected)

  def loss(*args):
    return jax.lax.psum(jnp.sin(op(*args)).sum(), "d")

  through = jax.shard_map(loss, mesh=mesh, in_specs=(x_spec, *specs), out_specs=P())
  # The cotangent of sin is the cosine that `expected` is of.
  everything = tuple(range(len(args)))
  jax.tree.map(close, jax.jit(jax.grad(through, everything))(*there), expected[1])


@every_op
def test_a_mesh_that_is_manual_in_part(name):
  """Two axes, one manual with the batch, the other Auto or Explicit with the neurons."""
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  expected = expected_of(name, 8, 4, (8,))
  for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2, 2), ("b", "m"), axis_types=(kind, kind))
    specs = [P("b"), *[P()] * (len(args) - 1)]
    there = placed(mesh, args, [P("b"), *split_neurons(name, "m")])
    inside = jax.shard_map(
      value_and_gradients(op),
      mesh=mesh,
      in_specs=tuple(specs),
      out_specs=(P("b"), tuple(specs)),
      axis_names={"b"},
    )
    jax.tree.map(close, jax.jit(inside)(*there), expected)


@every_op
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_autodiff_second_derivatives_and_vmap_on_a_mesh(name, mesh):
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  forms = {"closed form": op}
  if name != "quadratic_full":
    forms["autodiff"] = functools.partial(op, derivative="autodiff")
  for specs in ([P("d"), *[P()] * (len(args) - 1)], [P(), *split_neurons(name)]):
    there = placed(mesh, args, specs)
    for form in forms.values():
      slope = jax.grad(lambda *args, form=form: jnp.sin(form(*args)).sum(), 1)
      square = jax.jit(jax.value_and_grad(lambda *args, slope=slope: (slope(*args) ** 2).sum()))
      jax.tree.map(close, square(*there), square(*args))
  fleet = [np.stack([a, a / 2, a / 3, -a]) for a in args]
  expected = jax.jit(jax.vmap(value_and_gradients(op)))(*fleet)
  there = placed(mesh, fleet, [P("d")] * len(fleet))
  jax.tree.map(close, jax.jit(jax.vmap(value_and_gradients(op)))(*there), expected)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_a_layer_made_and_called_on_a_mesh(layer, mesh):
  """Parameters by their metadata, data-parallel training steps, out_sharding in the call."""
  x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
  loss = lambda module, x: (jnp.sin(module(x)) ** 2).mean()
  alone = layer(8, 4, rngs=nnx.Rngs(0))
  expected = nnx.state(nnx.grad(loss)(alone, x))
  for kernel, rows in (((None, None), P("d")), ((None, "d"), P())):
    with jax.set_mesh(mesh):
      module = layer(8, 4, rngs=nnx.Rngs(0), kernel_metadata={"out_sharding": kernel})
      there = jax.device_put(x, NamedSharding(mesh, rows))
      found = nnx.state(nnx.jit(nnx.grad(loss))(module, there))
      jax.tree.map(close, *(nnx.to_pure_dict(state) for state in (found, expected)))
  if mesh is EXPLICIT:
    with jax.set_mesh(mesh):
      z = nnx.jit(lambda module, x: module(x, out_sharding=P("d")))(alone_on(mesh, alone), x)
    assert z.sharding.spec == P("d", None)
    close(z, alone(x))


def alone_on(mesh, module):
  graphdef, state = nnx.split(module)
  return nnx.merge(graphdef, jax.device_put(state, NamedSharding(mesh, P())))


@every_op
def test_an_axis_that_is_not_there_is_jax_s_own_sentence(name):
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  there = placed(EXPLICIT, args, [P()] * len(args))
  with pytest.raises(ValueError, match="(?i)axis.*nowhere|nowhere.*axis"):
    jax.jit(functools.partial(op, out_sharding=NamedSharding(EXPLICIT, P("nowhere"))))(*there)
