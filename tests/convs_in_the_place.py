"""What the tests of the convolutions share: the layers, how they are made, and what they are held to.

They start with their quadratic part at zero, so that `nnx.Conv` itself is the truth, to the last bit
where the program is one jit.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import qnn_jax

OURS = (
  qnn_jax.QuadraticConv,
  qnn_jax.ReducedQuadraticConv,
  qnn_jax.HeavyConv,
  qnn_jax.LowRankQuadraticConv,
)
LAYERS = (nnx.Conv, *OURS)


def _own(layer):
  """The layer's own parameters, with the arguments that start them."""
  arguments = inspect.signature(vars(layer)["__init__"]).parameters
  found = [name.removesuffix("_init") for name in arguments if name.endswith("_init")]
  return {{"heavy": "heavy_kernel"}.get(name, name): f"{name}_init" for name in found}


OWN = {layer: _own(layer) for layer in OURS} | {nnx.Conv: {}}
named = lambda value: getattr(value, "__name__", str(value))
every_conv = pytest.mark.parametrize("layer", LAYERS, ids=named)
each_of_ours = pytest.mark.parametrize("layer", OURS, ids=named)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def make(layer, size=(3, 2), seed=0, c=4, m=6, **arguments):
  return layer(c, m, size, rngs=nnx.Rngs(seed), **arguments)


def random(layer, size=(3, 2), seed=0, c=4, m=6, **arguments):
  """Every parameter drawn, so that nothing is hidden behind a zero."""
  normal = jax.nn.initializers.normal(0.3)
  starts = dict.fromkeys(["kernel_init", "bias_init", *OWN[layer].values()], normal)
  return make(layer, size, seed, c, m, **starts | arguments)


def images(*batch, image=(5, 4), c=4, dtype=jnp.float32, seed=1):
  return jax.random.normal(jax.random.key(seed), (*batch, *image, c), dtype)


def of_conv(layer, size=(3, 2), **arguments):
  """The layer with the parameters of an `nnx.Conv`, and that `nnx.Conv`."""
  normal = jax.nn.initializers.normal(1.0)
  conv = make(nnx.Conv, size, seed=7, bias_init=normal, **arguments)
  module = make(layer, size, **arguments)
  nnx.update(module, nnx.state(conv))
  return module, conv
