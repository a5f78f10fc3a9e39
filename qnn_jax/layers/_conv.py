"""The base class of the convolutions: an `nnx.Conv` that computes its outputs with an op."""

import inspect
import types
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer
from qnn_jax.layers._linear import KERNEL_INIT
from qnn_jax.ops import _arguments, _products

_CONV_ARGUMENTS = inspect.signature(nnx.Conv.__init__).parameters


class Conv(nnx.Conv):
  """The base class of the convolutions: an `nnx.Conv` that computes its outputs with an op."""

  def _init_conv(
    self,
    in_features: int,
    out_features: int,
    kernel_size,
    strides,
    *,
    derivative: str = "closed_form",
    feature_group_count: int = 1,
    kernel_init: Initializer = KERNEL_INIT,
    rngs: nnx.Rngs,
    **conv,
  ) -> jax.Array:
    """Makes the `nnx.Conv` and returns the key of its kernel."""
    name = type(self).__name__
    size = tuple(kernel_size) if isinstance(kernel_size, Iterable) else (kernel_size,)
    if not size:
      raise InputError(f"{name}: kernel_size must have at least one axis, got {kernel_size!r}")
    groups = feature_group_count
    numbers = {
      "in_features": in_features,
      "out_features": out_features,
      "feature_group_count": groups,
    }
    for argument, found in (*numbers.items(), *(("kernel_size", length) for length in size)):
      _arguments.check_size(name, argument, found)
    if in_features % groups or out_features % groups:
      raise InputError(
        f"{name}: feature_group_count must divide in_features and out_features, {in_features} and "
        f"{out_features}, got {groups}"
      )
    _arguments.check_derivative(name, derivative)
    for argument in conv:
      if argument not in _CONV_ARGUMENTS:
        raise TypeError(
          f"{name} has no argument '{argument}'; it takes those of nnx.Conv and its own, help({name})"
        )
    keys = []  # nnx.Conv itself must draw them, in its order.

    def noting_its_key(key, shape, dtype):
      keys.append(key)
      return kernel_init(key, shape, dtype)

    super().__init__(
      in_features,
      out_features,
      size,
      strides,
      feature_group_count=groups,
      kernel_init=noting_its_key,
      rngs=rngs,
      **conv,
    )
    self.derivative = derivative
    return keys[0]

  def __call__(self, inputs: jax.Array, out_sharding=None) -> jax.Array:
    """inputs [..., *image, c] -> outputs [..., *places, m], with `out_sharding` on Explicit axes.

    `nnx.Conv`'s own call handles the batch axes, padding, mask and dtypes. It computes its convolution
    with the op. Raises InputError if the inputs do not have c channels.
    """
    biases = []

    def promote_dtype(arrays, dtype=None):
      x, kernel, bias = self.promote_dtype(arrays, dtype=dtype)
      biases.append(
        bias
      )  # nnx.Conv would add it at the end; in a reduced neuron a factor contains it
      return x, kernel, bias

    def convolution(x, kernel, strides, padding, **options):
      return self._convolution(x, kernel, biases[0], strides, padding, options)

    changed = {
      "promote_dtype": promote_dtype,
      "conv_general_dilated": convolution,
      "use_bias": False,
    }
    call: Any = types.SimpleNamespace(**vars(self) | changed)
    return nnx.Conv.__call__(call, inputs, out_sharding)

  def _convolution(self, x, kernel, bias, strides, padding, options):
    """Replaces `jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)` + bias."""
    ours = {
      "strides": strides,
      "padding": padding,
      "input_dilation": options["lhs_dilation"],
      "kernel_dilation": options["rhs_dilation"],
      "feature_group_count": options["feature_group_count"],
      "precision": options["precision"],
      "preferred_element_type": options.get("preferred_element_type"),
      "out_sharding": options.get("out_sharding"),
      "derivative": self.derivative,
    }
    own = self.conv_general_dilated is jax.lax.conv_general_dilated
    if own and jnp.issubdtype(x.dtype, jnp.inexact):
      return self._by_op(x, kernel, bias, ours)
    z = self.conv_general_dilated(x, kernel, strides, padding, **options)
    return self._with_quadratic_part(_products.plus_bias(z, bias), x, ours)

  def _masked(self, param, mask=None):
    """A quadratic parameter with the mask applied, as `nnx.Conv` applies it to its kernel."""
    return param[...] if self.mask is None else param[...] * (self.mask if mask is None else mask)

  def _by_op(self, x, kernel, bias, options):
    """The layer's outputs, computed by its op. With kernel and bias None: the quadratic part alone."""
    raise NotImplementedError

  def _with_quadratic_part(self, affine, x, options):
    """The layer's outputs, given the outputs of its affine map."""
    (x,) = _products.wide(x)
    options = options | {"preferred_element_type": None}
    return _products.plus_form(affine, self._by_op(x, None, None, options))
