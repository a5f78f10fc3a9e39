"""What the files test_in_the_place_*.py share: the layers, how they are made, and what is compared.

The layers start with their quadratic part at zero, so that `nnx.Linear` itself is the truth that each
is held to, to the last bit where the program is one jit. Cases with a mesh of several devices:
tests/mesh.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import heads


def own_parameters(head):
  """The parameters of a head's layer beside kernel and bias, with the arguments that start them."""
  own = {}
  for argument in head.starts:
    if argument not in ("kernel_init", "bias_init"):
      layer = head.layer(2, 1, rngs=nnx.Rngs(0), **{argument: jax.nn.initializers.constant(7)})
      found = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
      (name,) = (name for name, value in found.items() if (value == 7).all())
      own[name] = argument
  return own


# Whatever is registered is held to all of these cases.
OWN = {head.layer: own_parameters(head) for head in map(heads.get, heads.names())}
OURS = tuple(OWN)
OWN[nnx.Linear] = {}
LAYERS = (nnx.Linear, *OURS)
SIZES = [(4, 3), (70, 33)]  # the second in tiles

named = lambda value: getattr(value, "__name__", str(value))
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=named)
each_of_ours = pytest.mark.parametrize("layer", OURS, ids=named)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def make(layer, n=4, m=3, seed=0, **arguments):
  return layer(n, m, rngs=nnx.Rngs(seed), **arguments)


def random(layer, n=4, m=3, seed=0, **arguments):
  """Every parameter drawn, so that nothing is hidden behind a zero."""
  normal = jax.nn.initializers.normal(0.3)
  starts = dict.fromkeys(["kernel_init", "bias_init", *OWN[layer].values()], normal)
  return make(layer, n, m, seed, **starts | arguments)


def inputs(*batch, n=4, dtype=jnp.float32, seed=1):
  return jax.random.normal(jax.random.key(seed), (*batch, n), dtype)


@functools.partial(jax.jit, static_argnums=0)
def run(graphdef, params, x):
  return nnx.merge(graphdef, params)(x)


@functools.partial(jax.jit, static_argnums=0)
def input_gradient(graphdef, params, x):
  return jax.grad(lambda x: nnx.merge(graphdef, params)(x).astype(jnp.float32).sum())(x)


def of_linear(layer, n, m, **arguments):
  """The layer with the parameters of an `nnx.Linear`, and that `nnx.Linear`."""
  normal = jax.nn.initializers.normal(1.0)
  linear = make(nnx.Linear, n, m, seed=7, bias_init=normal, **arguments)
  module = make(layer, n, m, **arguments)
  nnx.update(module, nnx.state(linear))
  return module, linear


def doubling_dot_general(x, kernel, dimensions, **options):
  """The product, with a gradient that is not the product's: twice as long on its kernel."""

  @jax.custom_vjp
  def twice(kernel):
    return kernel

  twice.defvjp(lambda kernel: (kernel, None), lambda _, delta: (2 * delta,))
  return jax.lax.dot_general(x, twice(kernel), dimensions, **options)
