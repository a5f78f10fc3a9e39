"""The layers: their parameters, their starts, and every transform around them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import (
  AffineLinear,
  HeavyLinear,
  InputError,
  LowRankQuadraticLinear,
  QuadraticLinear,
  ReducedQuadraticLinear,
  ops,
)

# Each layer with its op, and the op's parameters in their order with their shapes for n=4, m=3.
LAYERS = {
  AffineLinear: (ops.affine, {"kernel": (4, 3), "bias": (3,)}),
  QuadraticLinear: (ops.quadratic, {"q": (10, 3), "kernel": (4, 3), "bias": (3,)}),
  ReducedQuadraticLinear: (
    ops.reduced_quadratic,
    {"kernel": (4, 3), "bias": (3,), "u": (4, 3), "c": (3,)},
  ),
  HeavyLinear: (ops.heavy, {"heavy_kernel": (4, 3), "kernel": (4, 3), "bias": (3,)}),
  LowRankQuadraticLinear: (
    ops.low_rank_quadratic,
    {"v": (4, 4, 3), "s": (4, 3), "kernel": (4, 3), "bias": (3,)},
  ),
}
INITS = {
  AffineLinear: ("kernel_init", "bias_init"),
  QuadraticLinear: ("q_init", "kernel_init", "bias_init"),
  ReducedQuadraticLinear: ("kernel_init", "bias_init", "u_init", "c_init"),
  HeavyLinear: ("heavy_init", "kernel_init", "bias_init"),
  LowRankQuadraticLinear: ("v_init", "s_init", "kernel_init", "bias_init"),
}

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def random(layer, seed=0, **kwargs):
  """4 inputs, 3 neurons, every parameter random, so that none is hidden by a zero."""
  normal = jax.nn.initializers.normal(1.0)
  kwargs = dict.fromkeys(INITS[layer], normal) | kwargs
  return layer(4, 3, rngs=nnx.Rngs(seed), **kwargs)


def inputs(*batch):
  return jax.random.normal(jax.random.key(1), (*batch, 4))


@pytest.mark.fast
@every_layer
def test_parameters_have_the_names_and_shapes_of_the_contract(layer):
  state = nnx.state(layer(4, 3, rngs=nnx.Rngs(0)), nnx.Param)
  assert {k: v.shape for k, v in nnx.to_pure_dict(state).items()} == LAYERS[layer][1]
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))


@pytest.mark.fast
@every_layer
@pytest.mark.parametrize("batch", [(), (2, 3), (0,)], ids=str)
def test_layer_is_its_op(layer, batch):
  module, x = random(layer), inputs(*batch)
  op, names = LAYERS[layer]
  z = module(x)
  assert z.shape == (*batch, 3)
  np.testing.assert_array_equal(z, op(x, *(getattr(module, name)[...] for name in names)))


@pytest.mark.fast
@every_layer
def test_default_start_is_the_linear_layer_it_takes_the_place_of(layer):
  x = inputs(5)
  linear = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
  module = layer(4, 3, rngs=nnx.Rngs(0))
  np.testing.assert_array_equal(module.kernel[...], linear.kernel[...])
  close(module(x), linear(x))


@every_layer
def test_curvature_is_learned_from_the_default_start(layer):
  """A start at zero must not be a start that stays there.

  The first step of the layer of low rank moves s alone, the second v too.
  """
  module = layer(4, 3, rngs=nnx.Rngs(0))
  gradient = nnx.grad(lambda m, x: m(x).sum())
  first = gradient(module, inputs(5))
  nnx.update(module, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(module), first))
  gradients = gradient(module, inputs(5))
  assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradients))


@every_layer
def test_split_jit_vmap_scan_and_grad(layer):
  module, x = random(layer), inputs(5)
  z = module(x)
  graphdef, params = nnx.split(module)

  def apply(params, x):
    return nnx.merge(graphdef, params)(x)

  close(jax.jit(apply)(params, x), z)
  close(jax.vmap(apply, (None, 0))(params, x), z)
  close(jax.lax.scan(lambda params, row: (params, apply(params, row)), params, x)[1], z)
  close(nnx.jit(lambda module, x: module(x))(module, x), z)

  gradient = jax.grad(lambda params, x: jnp.sum(apply(params, x) ** 2))
  through_nnx = nnx.grad(lambda module, x: jnp.sum(module(x) ** 2))(module, x)
  jax.tree.map(close, gradient(params, x), nnx.state(through_nnx))
  by_row = jax.vmap(gradient, (None, 0))(params, x)
  jax.tree.map(lambda g, rows: close(g, rows.sum(0), rtol=1e-4), gradient(params, x), by_row)


@every_layer
def test_a_fleet_made_by_vmap_is_each_seed_made_alone(layer):
  x = inputs(5)
  graphdef, _ = nnx.split(random(layer))

  @jax.vmap
  def make(key):
    return nnx.state(random(layer, seed=key))

  fleet = make(jax.vmap(jax.random.key)(jnp.arange(3)))
  z = jax.vmap(lambda params: nnx.merge(graphdef, params)(x))(fleet)
  for seed in range(3):
    close(z[seed], random(layer, seed=seed)(x))


@every_layer
def test_dtype_is_of_the_computation_and_param_dtype_of_the_parameters(layer):
  x = inputs(5)
  assert random(layer, dtype=jnp.bfloat16)(x).dtype == jnp.bfloat16
  module = random(layer, param_dtype=jnp.bfloat16)
  assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(nnx.state(module)))
  assert module(x).dtype == jnp.float32 and module(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
  assert random(layer)(jnp.ones((2, 4), jnp.uint8)).dtype == jnp.float32


@every_layer
def test_sizes_and_shapes_that_do_not_fit_are_refused(layer):
  wrong = {(0, 3): "in_features", (4, -1): "out_features", (2.5, 3): "in_features"}
  for sizes, named in wrong.items():
    told = f"^{layer.__name__}: {named} must be a whole number of at least 1, got"
    with pytest.raises(InputError, match=told):
      layer(*sizes, rngs=nnx.Rngs(0))
  with pytest.raises(InputError, match=r"is needed for x of shape \(2, 5\)"):
    random(layer)(jnp.ones((2, 5)))


def test_cache_is_the_op_s():
  """V kept or made anew: one function, one gradient; the keyword reaches the op."""
  x = jax.random.normal(jax.random.key(1), (5, 64))
  found = {}
  for cache in (True, False):
    normal = jax.nn.initializers.normal(0.1)
    module = QuadraticLinear(64, 32, q_init=normal, cache=cache, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(module)
    apply = lambda params, x, graphdef=graphdef: nnx.merge(graphdef, params)(x)
    z, pullback = jax.jit(functools.partial(jax.vjp, apply))(params, x)
    found[cache] = z, jax.jit(pullback)(z), sum(leaf.size for leaf in jax.tree.leaves(pullback))
  jax.tree.map(close, found[True][:2], found[False][:2])
  assert found[True][2] - found[False][2] == 5 * 64 * 32


@every_layer
def test_keys_are_nnx_linears_and_further_ones_are_folded_out_of_the_kernels(layer):
  """What is drawn behind a layer is what would be drawn behind an nnx.Linear."""
  rngs, linear_rngs = nnx.Rngs(3), nnx.Rngs(3)
  normal = jax.nn.initializers.normal(1.0)
  keys = []

  def noting(key, shape, dtype):
    keys.append(jax.random.key_data(key))
    return normal(key, shape, dtype)

  module = layer(4, 3, rngs=rngs, **dict.fromkeys(INITS[layer], noting))
  linear = nnx.Linear(4, 3, rngs=linear_rngs, kernel_init=normal, bias_init=normal)
  kernel, bias = module.kernel, module.bias
  np.testing.assert_array_equal(kernel[...], linear.kernel[...])
  np.testing.assert_array_equal(bias[...], linear.bias[...])
  np.testing.assert_array_equal(
    jax.random.key_data(rngs.params()), jax.random.key_data(linear_rngs.params())
  )
  kernel_key = nnx.Rngs(3).params()
  folded = [jax.random.key_data(jax.random.fold_in(kernel_key, i)) for i in (1, 2)]
  for found, expected in zip(keys[2:], folded):
    np.testing.assert_array_equal(found, expected)
