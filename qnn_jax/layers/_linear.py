"""The base class of the linear layers: an `nnx.Linear` that computes its outputs with an op."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer
from qnn_jax.ops import _arguments, _products

KERNEL_INIT = jax.nn.initializers.lecun_normal()  # nnx.Linear's own
ZEROS = jax.nn.initializers.zeros
ONES = jax.nn.initializers.ones
_LINEAR_ARGUMENTS = inspect.signature(nnx.Linear.__init__).parameters
# The attributes, beside the parameters, that a layer's outputs depend on.
_OF_THE_CALL = (
  "use_bias",
  "dtype",
  "param_dtype",
  "precision",
  "dot_general",
  "promote_dtype",
  "preferred_element_type",
  "derivative",
)

Metadata = Mapping[str, Any]
NO_METADATA: Metadata = MappingProxyType({})


class QuadraticParam(nnx.Param):
  """A parameter that multiplies two inputs: q, heavy_kernel, u, v or s.

  It is an `nnx.Param` for every filter. `training.minibatch.quadratic_labels` recognises the quadratic
  parameters by this type.
  """


def further_key(kernel_key: jax.Array, number: int) -> jax.Array:
  """The key of a layer's further parameter `number`, counted from 1. Changing it changes all results."""
  return jax.random.fold_in(kernel_key, number)


class Linear(nnx.Linear):
  """The base class of the linear layers: an `nnx.Linear` that computes its outputs with an op."""

  def _init_linear(
    self,
    in_features: int,
    out_features: int,
    *,
    derivative: str = "closed_form",
    kernel_init: Initializer = KERNEL_INIT,
    rngs: nnx.Rngs,
    **linear,
  ) -> jax.Array:
    """Makes the `nnx.Linear` and returns the key of its kernel."""
    name = type(self).__name__
    for argument, size in (("in_features", in_features), ("out_features", out_features)):
      _arguments.check_size(name, argument, size)
    _arguments.check_derivative(name, derivative)
    for argument in linear:
      if argument not in _LINEAR_ARGUMENTS:
        raise TypeError(
          f"{name} has no argument '{argument}'; it takes those of nnx.Linear and its own, help({name})"
        )
    keys = []  # nnx.Linear itself must draw them, in its order.

    def noting_its_key(key, shape, dtype):
      keys.append(key)
      return kernel_init(key, shape, dtype)

    super().__init__(in_features, out_features, kernel_init=noting_its_key, rngs=rngs, **linear)
    self.derivative = derivative
    return keys[0]

  def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
    """inputs [..., n] -> outputs [..., m], with the sharding `out_sharding` on Explicit axes.

    Raises InputError if the inputs do not have n features.
    """
    bias = None if self.bias is None else self.bias[...]
    inputs, kernel, bias = self.promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
    options = {
      "derivative": self.derivative,
      "precision": self.precision,
      "preferred_element_type": self.preferred_element_type,
      "out_sharding": out_sharding,
    }
    if self.dot_general is jax.lax.dot_general and jnp.issubdtype(inputs.dtype, jnp.inexact):
      return self._by_op(inputs, kernel, bias, options)
    affine = self._by_dot_general(inputs, kernel, bias, out_sharding)
    return self._with_quadratic_part(affine, inputs, options)

  def _by_dot_general(self, inputs, kernel, bias, out_sharding):
    """The affine map with the user's own `dot_general`, called as `nnx.Linear` calls it."""
    preferred = self.preferred_element_type
    options = {} if preferred is None else {"preferred_element_type": preferred}
    axes = ((inputs.ndim - 1,), (0,)), ((), ())
    z = self.dot_general(
      inputs, kernel, axes, precision=self.precision, out_sharding=out_sharding, **options
    )
    return _products.plus_bias(z, bias)

  def _by_op(self, x, kernel, bias, options):
    """The layer's outputs, computed by its op. With kernel and bias None: the quadratic part alone."""
    raise NotImplementedError

  def _with_quadratic_part(self, affine, x, options):
    """The layer's outputs, given the outputs of its affine map."""
    (x,) = _products.wide(x)
    options = options | {"preferred_element_type": None}
    return _products.plus_form(affine, self._by_op(x, None, None, options))


def check_one_layer(layer: Linear) -> None:
  """InputError if this is a stack of layers, as nnx.vmap makes it."""
  if layer.kernel.ndim != 2:
    raise InputError(
      f"this is a stack of layers, with a kernel of the shape {layer.kernel.shape}: convert one of them, "
      "jax.tree.map(lambda leaf: leaf[0], layer)"
    )


def with_affine_of(layer: Linear, make: Callable[..., Linear]) -> Any:
  """A layer `make(in_features, out_features, ...)` with the same affine map and the same attributes.

  Its kernel and bias are copies of the layer's, with their types and metadata.
  """
  arguments = {name: getattr(layer, name) for name in _OF_THE_CALL}
  arguments["use_bias"] = layer.bias is not None
  starts = {"kernel_init": ZEROS, "rngs": nnx.Rngs(0)}  # nothing is drawn
  other: Any = make(layer.in_features, layer.out_features, **arguments, **starts)
  other.kernel = layer.kernel.copy()
  if layer.bias is not None:
    other.bias = layer.bias.copy()
  return other
