"""The same cases for `nnx.Conv` and for every convolution of ours: transforms, number formats, networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from convs_in_the_place import (
  OWN,
  close,
  each_of_ours,
  every_conv,
  images,
  make,
  named,
  of_conv,
  random,
)
from flax import nnx
from in_the_place import input_gradient, run

import qnn_jax

near = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)


def applied(module):
  graphdef, params = nnx.split(module)
  return (lambda params, x: nnx.merge(graphdef, params)(x)), params


@every_conv
def test_jit_vmap_scan_and_remat(layer):
  apply, params = applied(random(layer))
  x = images(3)
  z = apply(params, x)
  near(jax.jit(apply)(params, x), z)
  near(jax.vmap(apply, (None, 0))(params, x), z)
  loss = lambda apply: jax.jit(jax.grad(lambda p, x: jnp.sin(apply(p, x)).sum(), (0, 1)))
  expected = loss(apply)(params, x)
  jax.tree.map(near, loss(jax.checkpoint(apply))(params, x), expected)
  through_scan = lambda p, x: jax.lax.scan(lambda p, row: (p, apply(p, row)), p, x)[1]
  jax.tree.map(near, loss(through_scan)(params, x), expected)
  by_nnx = nnx.jit(nnx.grad(lambda module, x: jnp.sin(module(x)).sum()))(random(layer), x)
  jax.tree.map(near, nnx.state(by_nnx), expected[0])


@every_conv
def test_a_scan_over_layers_and_shapes_without_numbers(layer):
  @nnx.split_rngs(splits=3)
  @nnx.vmap
  def make_layers(rngs):
    return layer(4, 4, (3, 2), rngs=rngs)

  layers, x = make_layers(nnx.Rngs(0)), images(2)
  deep = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
  graphdef, states = nnx.split(layers)
  by_hand = x
  for i in range(3):
    by_hand = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=i: leaf[i], states))(by_hand)
  close(deep(x, layers), by_hand, rtol=1e-4, atol=1e-4)
  abstract = nnx.eval_shape(lambda: layer(4, 4, (3, 2), rngs=nnx.Rngs(0)))
  assert abstract.kernel.shape == (3, 2, 4, 4)
  assert jax.eval_shape(lambda x: layer(4, 6, 3, rngs=nnx.Rngs(0))(x), x[0, 0]).shape == (4, 6)


@every_conv
def test_second_derivatives(layer):
  """Forward over reverse, and reverse over reverse, held to autodiff's."""
  derivatives = {} if layer is nnx.Conv else {"derivative": "autodiff"}
  x, direction = images(image=(3, 2)), images(image=(3, 2), seed=2)

  def second(apply, params):
    f = lambda params, x: jnp.sin(apply(params, x) / 10).sum()
    slope = lambda x: jax.grad(f, (0, 1))(params, x)
    forward = jax.jvp(slope, (x,), (direction,))[1]
    along = lambda x: jax.tree.reduce(jnp.add, jax.tree.map(lambda g: (g**2).sum(), slope(x)))
    return forward, jax.grad(along)(x)

  found, expected = (
    jax.jit(second, static_argnums=0)(*applied(random(layer, **more))) for more in ({}, derivatives)
  )
  jax.tree.map(near, found, expected)


@each_of_ours  # nnx.Conv has JAX's derivative alone
@pytest.mark.parametrize("groups", [1, 2])
def test_both_derivatives_are_the_same_numbers(layer, groups):
  x = images(2)
  found = []
  for derivative in ("closed_form", "autodiff"):
    module = random(layer, derivative=derivative, feature_group_count=groups, strides=2)
    apply, params = applied(module)
    z, pullback = jax.jit(functools.partial(jax.vjp, apply))(params, x)
    found.append((z, pullback(jnp.cos(z))))
  jax.tree.map(near, *found)


@every_conv
def test_forward_mode(layer):
  """By autodiff; the closed form has JAX's own word for it, and nnx.Conv has no other mode."""
  derivatives = {} if layer is nnx.Conv else {"derivative": "autodiff"}
  module, x, direction = random(layer, **derivatives), images(2), images(2, seed=2)
  tangent = jax.jvp(jax.jit(module), (x,), (direction,))[1]
  step = 1e-2
  difference = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
  close(tangent, difference, rtol=2e-2, atol=2e-2)
  if layer is not nnx.Conv:
    with pytest.raises(TypeError, match="forward-mode .* custom_vjp"):
      jax.jvp(random(layer), (x,), (direction,))


@every_conv
def test_export_with_any_batch_size_and_for_every_platform(layer):
  graphdef, params = nnx.split(random(layer))
  leaves, tree = jax.tree.flatten(params)
  apply = lambda x, *leaves: nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))(x)
  (batch,) = jax.export.symbolic_shape("b")
  shapes = [jax.ShapeDtypeStruct((batch, 5, 4, 4), jnp.float32)]
  shapes += [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
  exported = jax.export.export(jax.jit(apply), platforms=["cpu", "cuda", "tpu"])(*shapes)
  gradient = exported.vjp()
  for rows in (1, 60):  # the second in steps, where the batch is known
    x = images(rows)
    z, pullback = jax.vjp(apply, x, *leaves)
    near(exported.call(x, *leaves), z)
    jax.tree.map(near, tuple(gradient.call(x, *leaves, z)), pullback(z))


@every_conv
def test_debug_nans_finds_none_in_a_step(layer):
  apply, params = applied(make(layer))
  f = lambda params, x: (apply(params, x) ** 2).sum()
  with jax.debug_nans(True), jax.debug_infs(True):
    gradient = jax.grad(f, (0, 1))(params, images(2))
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


# Number formats.


@every_conv
@pytest.mark.parametrize(
  "dtype, largest", [(jnp.float16, 6e4), (jnp.bfloat16, 1e18), (jnp.float32, 1e18)], ids=named
)
def test_a_zero_quadratic_part_makes_no_infinity(layer, dtype, largest):
  """Where nnx.Conv's outputs and input gradients are finite, they are the layer's."""
  module, conv = of_conv(layer, dtype=dtype)
  for size in (1.0, 300.0, largest):
    x = jnp.clip(images(2) * size, -largest, largest).astype(dtype)
    for get in (run, input_gradient):
      ours, theirs = (get(*nnx.split(which), x) for which in (module, conv))
      finite = jnp.isfinite(theirs)
      assert finite.any()
      found, expected = (a[finite].astype(jnp.float32) for a in (ours, theirs))
      np.testing.assert_allclose(found, expected, rtol=0.03, atol=0.01 * float(abs(expected).max()))


@each_of_ours  # for nnx.Conv there is nothing to learn to differ
def test_float16_squares_are_taken_in_float32(layer):
  """x = 300: x * x is 90,000, above float16's 65,504; the form that it is in need not be."""
  module = make(layer, dtype=jnp.float16, kernel_init=jax.nn.initializers.zeros)
  for name in OWN[layer]:
    parameter = getattr(module, name)
    parameter[...] = jnp.full(parameter.shape, 1e-3 if layer is not qnn_jax.QuadraticConv else 1e-4)
  expected = make(layer, kernel_init=jax.nn.initializers.zeros)
  nnx.update(expected, nnx.state(module))
  x = jnp.full((2, 5, 4, 4), 300.0)
  np.testing.assert_allclose(module(x).astype(jnp.float32), expected(x), rtol=2e-3)
  assert jnp.isfinite(input_gradient(*nnx.split(module), x)).all()


@every_conv
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32], ids=named)
def test_strict_promotion_of_dtypes_and_ranks(layer, dtype):
  """Where JAX is told to convert nothing by itself, nnx.Conv works, and so do these."""
  apply, params = applied(random(layer, dtype=dtype))
  x = images(2, dtype=dtype)
  f = lambda params, x: apply(params, x).sum()
  expected = jax.grad(f, (0, 1))(params, x)
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    found = jax.grad(f, (0, 1))(params, x)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


# Networks.


@every_conv
def test_a_checkpoint_brings_back_every_parameter(layer, tmp_path):
  module, x = random(layer), images(2)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "state", nnx.to_pure_dict(nnx.state(module)))
  other = make(layer, seed=9)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    restored = checkpointer.restore(tmp_path / "state", nnx.to_pure_dict(nnx.state(other)))
  state = nnx.state(other)
  nnx.replace_by_pure_dict(state, restored)
  nnx.update(other, state)
  np.testing.assert_array_equal(other(x), module(x))


class Net(nnx.Module):
  """Two convolutions of the class `layer`, with normalisation and dropout."""

  def __init__(self, layer, rngs):
    self.first = layer(1, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.second = layer(4, 6, (3, 3), 2, padding="VALID", rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.last = nnx.Linear(6, 3, rngs=rngs)

  def __call__(self, x):
    x = nnx.relu(self.norm(self.first(x)))
    return self.last(self.dropout(nnx.relu(self.second(x)).mean((1, 2))))


@each_of_ours  # an nnx.Conv in its own place is the network that it is compared with
def test_layers_exchanged_in_a_network_change_nothing_else(layer):
  x = jax.random.normal(jax.random.key(1), (5, 8, 8, 1))
  ours, theirs = (Net(which, nnx.Rngs(3)) for which in (layer, nnx.Conv))
  flat = lambda module: dict(nnx.to_flat_state(nnx.state(module, nnx.Param)))
  found, expected = flat(ours), flat(theirs)
  for path, variable in expected.items():
    np.testing.assert_array_equal(found[path][...], variable[...])
  assert {path[-1] for path in found.keys() - expected.keys()} == set(OWN[layer])
  outputs = [nnx.jit(lambda module, x: module(x))(module, x) for module in (ours, theirs)]
  np.testing.assert_array_equal(*outputs)
  loss = lambda module, x: (module(x) ** 2).sum()
  gradients = [flat(nnx.jit(nnx.grad(loss))(module, x)) for module in (ours, theirs)]
  for path, variable in gradients[1].items():
    close(gradients[0][path][...], variable[...], rtol=1e-4, atol=1e-4)
