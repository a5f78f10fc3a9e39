"""Flax NNX layers over `qnn_jax.ops`, each a drop-in for `nnx.Linear`.

Every layer is an `nnx.Linear`: it takes all its arguments, has its attributes, `kernel` and `bias`
among them, and adds parameters of its own. By default the quadratic part starts at zero (for the
reduced form: one factor starts at one), so that a layer begins as the `nnx.Linear` that it takes the
place of and learns its curvature. The papers' start, every parameter from U[-0.01, 0.01), is
`models.Classifier(..., param_init=...)`.

Keys: a layer takes those of its kernel and its bias from `rngs`, in this order, as `nnx.Linear` does.
Every further parameter's is folded out of the kernel's (`_further_key`), so that whatever is drawn
behind the layer starts as it would behind an `nnx.Linear`.

With `derivative="closed_form"`, the default, a layer has the papers' backward pass and no forward
mode: `jax.jvp`, `jacfwd` and `linearize` raise JAX's TypeError about custom_vjp. For those, take
`derivative="autodiff"`; the numbers are the same. Where a `dot_general` is given, JAX differentiates
its product, and the closed form covers the quadratic part.
"""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer
from qnn_jax.ops import _arguments, _products

_kernel_init = jax.nn.initializers.lecun_normal()  # nnx.Linear's own
_zeros = jax.nn.initializers.zeros
_ones = jax.nn.initializers.ones
_LINEAR_ARGUMENTS = inspect.signature(nnx.Linear.__init__).parameters

Metadata = Mapping[str, Any]
_NO_METADATA: Metadata = MappingProxyType({})


class QuadraticParam(nnx.Param):
  """A parameter that multiplies two inputs: q, heavy_kernel, u. An `nnx.Param` to every filter.

  By this type alone `training.minibatch.quadratic_labels` tells such parameters from all others.
  """


def _further_key(kernel_key: jax.Array, number: int) -> jax.Array:
  """The key of a layer's parameter `number`, from 1, beside kernel and bias; never to change."""
  return jax.random.fold_in(kernel_key, number)


class _Linear(nnx.Linear):
  """What the layers share: an `nnx.Linear` whose product is an op's."""

  def _init_linear(
    self,
    in_features: int,
    out_features: int,
    *,
    derivative: str = "closed_form",
    kernel_init: Initializer = _kernel_init,
    rngs: nnx.Rngs,
    **linear,
  ) -> jax.Array:
    """Makes the `nnx.Linear` and returns the key of its kernel."""
    name = type(self).__name__
    for argument, size in (("in_features", in_features), ("out_features", out_features)):
      if size < 1:
        raise InputError(f"{name}: {argument} must be at least 1, got {size}")
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
    """inputs [..., n] -> outputs [..., m], laid out by `out_sharding` on Explicit axes.

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
    """The affine map with the user's own product, called as `nnx.Linear` calls it."""
    preferred = self.preferred_element_type
    options = {} if preferred is None else {"preferred_element_type": preferred}
    axes = ((inputs.ndim - 1,), (0,)), ((), ())
    z = self.dot_general(
      inputs, kernel, axes, precision=self.precision, out_sharding=out_sharding, **options
    )
    return _products.plus_bias(z, bias)

  def _by_op(self, x, kernel, bias, options):
    """The whole layer by its op; kernel and bias None for the quadratic part alone."""
    raise NotImplementedError

  def _with_quadratic_part(self, affine, x, options):
    """The layer's outputs, given those of its affine map."""
    (x,) = _products.wide(x)
    options = options | {"preferred_element_type": None}
    return _products.plus_form(affine, self._by_op(x, None, None, options))


class AffineLinear(_Linear):
  """z = x @ kernel + bias: `nnx.Linear` with the backward pass of the papers, (28) and (31).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    rngs: source of the parameters' keys.
    linear: `derivative` (see the module) and every other argument of `nnx.Linear`: use_bias, dtype,
      param_dtype, precision, kernel_init, bias_init, dot_general, promote_dtype,
      preferred_element_type, kernel_metadata, bias_metadata.

  Called with x [..., n] it returns z [..., m]. Parameters: kernel [n, m], bias [m].

  Raises:
    InputError: a size below 1, an unknown derivative. TypeError: an unknown argument.
  """

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **linear):
    self._init_linear(in_features, out_features, rngs=rngs, **linear)

  def _by_op(self, x, kernel, bias, options):
    return ops.affine(x, kernel, bias, **options)

  def _with_quadratic_part(self, affine, x, options):
    return affine


class QuadraticLinear(_Linear):
  """z_k = b_k + w_k^T x + x^T Q_k x for every neuron k, Q_k symmetric: the QNN layer, (24).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    q_init: start of q [P, m], P = n(n+1)/2, the packed upper triangles; zeros by default. For
      random matrices wrap any initializer in `initializers.symmetrized`.
    q_metadata: of q, as nnx.Linear's kernel_metadata is of the kernel.
    cache: keep V, B n m numbers for a batch of B, for the backward pass; False makes it anew
      there, for more time. See `ops.quadratic`.
    rngs: source of the parameters' keys.
    linear: as in `AffineLinear`.

  Called with x [..., n] it returns z [..., m]. Parameters: q [P, m], kernel [n, m], bias [m].

  Raises:
    InputError: a size below 1, an unknown derivative. TypeError: an unknown argument.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    q_init: Initializer = _zeros,
    q_metadata: Metadata = _NO_METADATA,
    cache: bool = True,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    shape = ops.packed_size(in_features), out_features
    self.q = QuadraticParam(q_init(_further_key(key, 1), shape, self.param_dtype), **q_metadata)
    self.cache = cache

  def _by_op(self, x, kernel, bias, options):
    return ops.quadratic(x, self.q[...].astype(x.dtype), kernel, bias, cache=self.cache, **options)


class ReducedQuadraticLinear(_Linear):
  """z = (x @ kernel + bias) * (x @ u + c): the RPQNN layer, (52).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    u_init, c_init: starts of u [n, m] and c [m]; zeros and ones by default, a factor of one.
    u_metadata, c_metadata: of u and c, as nnx.Linear's kernel_metadata is of the kernel.
    rngs: source of the parameters' keys.
    linear: as in `AffineLinear`. use_bias=False leaves out the bias and keeps c.

  Called with x [..., n] it returns z [..., m]. Parameters: kernel, u [n, m] and bias, c [m]; the
  paper's W^T, U^T, b and c.

  Raises:
    InputError: a size below 1, an unknown derivative. TypeError: an unknown argument.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    u_init: Initializer = _zeros,
    u_metadata: Metadata = _NO_METADATA,
    c_init: Initializer = _ones,
    c_metadata: Metadata = _NO_METADATA,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    shape, dtype = (in_features, out_features), self.param_dtype
    self.u = QuadraticParam(u_init(_further_key(key, 1), shape, dtype), **u_metadata)
    self.c = nnx.Param(c_init(_further_key(key, 2), (out_features,), dtype), **c_metadata)

  def _by_op(self, x, kernel, bias, options):
    u, c = (param[...].astype(x.dtype) for param in (self.u, self.c))
    return ops.reduced_quadratic(x, kernel, bias, u, c, **options)

  def _with_quadratic_part(self, affine, x, options):
    # As the op does: a float16's product, and its derivative, in float32.
    x, u, c = _products.wide(x, *(param[...].astype(x.dtype) for param in (self.u, self.c)))
    options = options | {"preferred_element_type": None}
    wide_affine, second = _products.alike(affine, ops.affine(x, u, c, **options))
    return (wide_affine * second).astype(affine.dtype)


class HeavyLinear(_Linear):
  """z = (x * x) @ heavy_kernel + x @ kernel + bias, the layer of the notes Heavy Layers.

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    heavy_init: start of heavy_kernel [n, m]; zeros by default.
    heavy_kernel_metadata: of heavy_kernel, as nnx.Linear's kernel_metadata is of the kernel.
    rngs: source of the parameters' keys.
    linear: as in `AffineLinear`.

  Called with x [..., n] it returns z [..., m]. Parameters: heavy_kernel, kernel [n, m], bias [m].

  Raises:
    InputError: a size below 1, an unknown derivative. TypeError: an unknown argument.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    heavy_init: Initializer = _zeros,
    heavy_kernel_metadata: Metadata = _NO_METADATA,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    heavy = heavy_init(_further_key(key, 1), (in_features, out_features), self.param_dtype)
    self.heavy_kernel = QuadraticParam(heavy, **heavy_kernel_metadata)

  def _by_op(self, x, kernel, bias, options):
    return ops.heavy(x, self.heavy_kernel[...].astype(x.dtype), kernel, bias, **options)
