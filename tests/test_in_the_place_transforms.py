"""The same cases for `nnx.Linear` and for every layer of ours: JAX's and NNX's transforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_the_place import SIZES, close, each_of_ours, every_layer, inputs, make, random


@pytest.mark.usefixtures("as_users_compile")
@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_jit_vmap_scan_and_remat(layer, n, m):
  graphdef, params = nnx.split(random(layer, n, m))
  x = inputs(5, n=n)
  apply = lambda params, x: nnx.merge(graphdef, params)(x)
  near = functools.partial(close, rtol=1e-4, atol=1e-4)
  z = apply(params, x)
  near(jax.jit(apply)(params, x), z)
  near(jax.vmap(apply, (None, 0))(params, x), z)
  near(jax.lax.scan(lambda p, row: (p, apply(p, row)), params, x)[1], z)
  loss = lambda apply: jax.jit(jax.grad(lambda p, x: jnp.sin(apply(p, x)).sum(), (0, 1)))
  expected = loss(apply)(params, x)
  jax.tree.map(near, loss(jax.checkpoint(apply))(params, x), expected)
  saving = jax.checkpoint(apply, policy=jax.checkpoint_policies.dots_saveable)
  jax.tree.map(near, loss(saving)(params, x), expected)
  through_scan = lambda p, x: jax.lax.scan(lambda p, row: (p, apply(p, row)), p, x)[1]
  jax.tree.map(near, loss(through_scan)(params, x), expected)


@every_layer
def test_a_fleet_of_models_by_nnx_vmap(layer):
  @nnx.split_rngs(splits=3)
  @nnx.vmap
  def make_fleet(rngs):
    return layer(4, 3, rngs=rngs)

  fleet, x = make_fleet(nnx.Rngs(0)), inputs(5)
  z = nnx.vmap(lambda module, x: module(x), in_axes=(0, None))(fleet, x)
  assert z.shape == (3, 5, 3) and not jnp.allclose(z[0], z[1])
  graphdef, states = nnx.split(fleet)
  one = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[1], states))
  close(one(x), z[1])


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_second_derivatives(layer, n, m):
  """Forward over reverse, reverse over reverse and hessian, held to autodiff's."""
  graphdef, params = nnx.split(random(layer, n, m))
  derivatives = {} if layer is nnx.Linear else {"derivative": "autodiff"}
  plain = nnx.graphdef(random(layer, n, m, **derivatives))
  x, direction = inputs(n=n), inputs(n=n, seed=2)

  def second(graphdef):
    f = lambda params, x: jnp.sin(nnx.merge(graphdef, params)(x) / 10).sum()
    slope = lambda x: jax.grad(f, (0, 1))(params, x)
    forward = jax.jvp(slope, (x,), (direction,))[1]
    along = lambda x: jax.tree.reduce(jnp.add, jax.tree.map(lambda g: (g**2).sum(), slope(x)))
    return forward, jax.grad(along)(x), jax.hessian(f, 1)(params, x)

  found, expected = jax.jit(second, static_argnums=0)(graphdef), second(plain)
  near = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
  jax.tree.map(near, found, expected)


@each_of_ours  # nnx.Linear has JAX's derivative alone
@pytest.mark.parametrize("n, m", SIZES)
def test_both_derivatives_are_the_same_numbers(layer, n, m):
  x = inputs(2, 3, n=n)
  found = []
  for derivative in ("closed_form", "autodiff"):
    graphdef, params = nnx.split(random(layer, n, m, derivative=derivative))
    f = lambda params, x, graphdef=graphdef: nnx.merge(graphdef, params)(x)
    z, pullback = jax.jit(functools.partial(jax.vjp, f))(params, x)
    found.append((z, pullback(jnp.cos(z))))
  jax.tree.map(functools.partial(close, rtol=1e-3, atol=1e-3), *found)


@every_layer
def test_forward_mode(layer):
  """By autodiff; the closed form has JAX's own word for it, and nnx.Linear has no other mode."""
  derivatives = {} if layer is nnx.Linear else {"derivative": "autodiff"}
  module, x, direction = random(layer, **derivatives), inputs(5), inputs(5, seed=2)
  z, tangent = jax.jvp(module, (x,), (direction,))
  step = 1e-2
  difference = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
  close(tangent, difference, rtol=1e-2, atol=1e-3)
  close(jax.linearize(module, x)[1](direction), tangent)
  close(jnp.einsum("bkcn,cn->bk", jax.jacfwd(module)(x), direction), tangent, rtol=1e-4, atol=1e-4)
  if layer is not nnx.Linear:
    with pytest.raises(TypeError, match="forward-mode .* custom_vjp"):
      jax.jvp(random(layer), (x,), (direction,))


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_export_with_any_batch_size_and_for_every_platform(layer, n, m):
  graphdef, params = nnx.split(random(layer, n, m))
  leaves, tree = jax.tree.flatten(params)
  apply = lambda x, *leaves: nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))(x)
  (batch,) = jax.export.symbolic_shape("b")
  shapes = [jax.ShapeDtypeStruct((batch, n), jnp.float32)]
  shapes += [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
  exported = jax.export.export(jax.jit(apply), platforms=["cpu", "cuda", "tpu"])(*shapes)
  gradient = exported.vjp()
  assert exported.platforms == gradient.platforms == ("cpu", "cuda", "tpu")
  for rows in (1, 5, 130):
    x = inputs(rows, n=n)
    z, pullback = jax.vjp(apply, x, *leaves)
    near = functools.partial(close, rtol=1e-4, atol=1e-3)
    near(exported.call(x, *leaves), z)
    jax.tree.map(near, tuple(gradient.call(x, *leaves, z)), pullback(z))


@every_layer
def test_debug_nans_finds_none_in_a_step(layer):
  for n, m in SIZES:
    graphdef, params = nnx.split(make(layer, n, m))
    f = lambda params, x, graphdef=graphdef: (nnx.merge(graphdef, params)(x) ** 2).sum()
    with jax.debug_nans(True), jax.debug_infs(True):
      gradient = jax.grad(f, (0, 1))(params, inputs(5, n=n))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
