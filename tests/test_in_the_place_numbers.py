"""The same cases for `nnx.Linear` and for every layer of ours: number formats, and their limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_the_place import (
  OWN,
  SIZES,
  doubling_dot_general,
  each_of_ours,
  every_layer,
  input_gradient,
  inputs,
  make,
  named,
  of_linear,
  random,
  run,
)

import qnn_jax


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
@pytest.mark.parametrize(
  "dtype, largest", [(jnp.float16, 6e4), (jnp.bfloat16, 1e19), (jnp.float32, 1e19)], ids=named
)
@pytest.mark.parametrize("dot_general", [jax.lax.dot_general, doubling_dot_general], ids=named)
def test_a_zero_quadratic_part_makes_no_infinity(layer, n, m, dtype, largest, dot_general):
  """Where the linear layer's outputs and input gradients are finite, they are the layer's."""
  module, linear = of_linear(layer, n, m, dtype=dtype, dot_general=dot_general)
  for size in (1.0, 300.0, largest):
    x = jnp.clip(inputs(6, n=n) * size, -largest, largest).astype(dtype)
    for get in (run, input_gradient):
      ours, theirs = (get(*nnx.split(which), x) for which in (module, linear))
      finite = jnp.isfinite(theirs)
      if layer is qnn_jax.ReducedQuadraticLinear and dot_general is doubling_dot_general:
        # The product of the two maps is JAX's there: where z is infinite, so is U's cotangent, and
        # infinity times its zero is not a number.
        finite &= jnp.isfinite(run(*nnx.split(linear), x)).all(-1, keepdims=True)
      assert finite.any()
      np.testing.assert_allclose(
        ours[finite].astype(jnp.float32), theirs[finite].astype(jnp.float32), rtol=0.02
      )


@each_of_ours  # for nnx.Linear there is nothing to learn to differ
def test_float16_squares_are_taken_in_float32(layer):
  """x = 300: x * x is 90,000, above float16's 65,504; the form that it is in need not be."""
  module = make(layer, 4, 3, dtype=jnp.float16, kernel_init=jax.nn.initializers.zeros)
  for name in OWN[layer]:
    parameter = getattr(module, name)
    parameter[...] = jnp.full(parameter.shape, 1e-3)
  x = jnp.full((2, 4), 300.0)
  expected = make(layer, 4, 3, kernel_init=jax.nn.initializers.zeros)
  nnx.update(expected, nnx.state(module))
  np.testing.assert_allclose(module(x).astype(jnp.float32), expected(x), rtol=2e-3)
  assert jnp.isfinite(input_gradient(*nnx.split(module), x)).all()


# An affine map has no such part, and the reduced layer multiplies.
@pytest.mark.parametrize("layer", [qnn_jax.QuadraticLinear, qnn_jax.HeavyLinear], ids=named)
@pytest.mark.parametrize(
  "arguments",
  [{}, {"derivative": "autodiff"}, {"dot_general": doubling_dot_general}],
  ids=["closed form", "autodiff", "dot_general"],
)
def test_a_sum_that_fits_float16_may_have_a_part_that_does_not(layer, arguments):
  """x^T Q x = 90,000, above float16's 65,504, and -60,000 from the kernel."""
  ones = jax.nn.initializers.ones
  kernel = jax.nn.initializers.constant(-200.0)
  start = {argument: ones for argument in OWN[layer].values()}
  module = make(layer, 1, 1, kernel_init=kernel, dtype=jnp.float16, **start, **arguments)
  np.testing.assert_allclose(module(jnp.array([300.0])), [30_000.0])


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32], ids=named)
@pytest.mark.parametrize("preferred", [None, jnp.float32], ids=named)
def test_strict_promotion_of_dtypes_and_ranks(layer, n, m, dtype, preferred):
  """Where JAX is told to convert nothing by itself, nnx.Linear works, and so do these."""
  use_bias = preferred is None or dtype == jnp.float32  # its own sum raises there
  module = random(layer, n, m, dtype=dtype, preferred_element_type=preferred, use_bias=use_bias)
  graphdef, params = nnx.split(module)
  x = inputs(5, n=n, dtype=dtype)
  f = lambda params, x: nnx.merge(graphdef, params)(x).sum()
  expected = jax.grad(f, (0, 1))(params, x)
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    found = jax.grad(f, (0, 1))(params, x)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@every_layer
def test_a_dot_general_with_a_dtype_of_its_own(layer):
  narrow = functools.partial(jax.lax.dot_general, preferred_element_type=jnp.bfloat16)
  module = random(layer, use_bias=False, dot_general=narrow)
  assert module(inputs(5)).dtype == jnp.bfloat16


@every_layer
def test_integers_of_a_promote_dtype(layer):
  """As quantised training has them: the sum is an integer then."""

  def promote(arrays, dtype=None):
    inputs, kernel, bias = arrays
    return inputs.astype(jnp.int8), kernel.astype(jnp.int8), bias.astype(jnp.int32)

  whole = jax.nn.initializers.constant(2.0)
  arguments = {"promote_dtype": promote, "preferred_element_type": jnp.int32}
  module = make(layer, kernel_init=whole, **arguments)
  z = module(jnp.ones((5, 4)))
  assert z.dtype == jnp.int32 and (z == 8).all()
