"""Flax NNX layers over `qnn_jax.ops`, each a drop-in for `nnx.Linear`.

By default the quadratic part starts at zero (for the reduced form: one factor starts at one), so
that a layer begins as the `nnx.Linear` that it takes the place of and learns its curvature. The
papers' start, every parameter from U[-0.01, 0.01), is `models.Classifier(..., param_init=...)`.

Keys: a layer takes those of its kernel and its bias from `rngs`, in this order, as `nnx.Linear` does.
Every further parameter's is folded out of the kernel's (`_further_key`), so that whatever is drawn
behind the layer starts as it would behind an `nnx.Linear`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer

_kernel_init = jax.nn.initializers.lecun_normal()  # nnx.Linear's own
_zeros = jax.nn.initializers.zeros
_ones = jax.nn.initializers.ones


def _further_key(kernel_key: jax.Array, number: int) -> jax.Array:
  """The key of a layer's parameter `number`, from 1, beside kernel and bias; never to change."""
  return jax.random.fold_in(kernel_key, number)


def _check_sizes(layer: str, in_features: int, out_features: int):
  for name, size in (("in_features", in_features), ("out_features", out_features)):
    if size < 1:
      raise InputError(f"{layer}: {name} must be at least 1, got {size}")


class AffineLinear(nnx.Module):
  """z = x @ kernel + bias: `nnx.Linear` with the backward pass of the papers, (28) and (31).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    kernel_init, bias_init: starts of kernel [n, m] and bias [m].
    dtype: of the computation; None takes it from inputs and parameters.
    param_dtype: of the parameters.
    rngs: source of the parameters' keys.

  Called with x [..., n] it returns z [..., m].
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    kernel_init: Initializer = _kernel_init,
    bias_init: Initializer = _zeros,
    dtype=None,
    param_dtype=jnp.float32,
    rngs: nnx.Rngs,
  ):
    _check_sizes("AffineLinear", in_features, out_features)
    self.kernel = nnx.Param(kernel_init(rngs.params(), (in_features, out_features), param_dtype))
    self.bias = nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
    self.dtype = dtype

  def __call__(self, x: jax.Array) -> jax.Array:
    return ops.affine(*_cast(self.dtype, x, self.kernel, self.bias))


class QuadraticLinear(nnx.Module):
  """z_k = b_k + w_k^T x + x^T Q_k x for every neuron k, Q_k symmetric: the QNN layer, (24).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    q_init: start of q [P, m], P = n(n+1)/2, the packed upper triangles; zeros by default. For
      random matrices wrap any initializer in `initializers.symmetrized`.
    kernel_init, bias_init: starts of kernel [n, m] and bias [m].
    cache: keep V, B n m numbers for a batch of B, for the backward pass; False makes it anew
      there, for more time. See `ops.quadratic`.
    dtype: of the computation; None takes it from inputs and parameters.
    param_dtype: of the parameters.
    rngs: source of the parameters' keys.

  Called with x [..., n] it returns z [..., m].
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    q_init: Initializer = _zeros,
    kernel_init: Initializer = _kernel_init,
    bias_init: Initializer = _zeros,
    cache: bool = True,
    dtype=None,
    param_dtype=jnp.float32,
    rngs: nnx.Rngs,
  ):
    _check_sizes("QuadraticLinear", in_features, out_features)
    packed = ops.packed_size(in_features)
    key = rngs.params()
    self.kernel = nnx.Param(kernel_init(key, (in_features, out_features), param_dtype))
    self.bias = nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
    self.q = nnx.Param(q_init(_further_key(key, 1), (packed, out_features), param_dtype))
    self.cache = cache
    self.dtype = dtype

  def __call__(self, x: jax.Array) -> jax.Array:
    args = _cast(self.dtype, x, self.q, self.kernel, self.bias)
    return ops.quadratic(*args, cache=self.cache)


class ReducedQuadraticLinear(nnx.Module):
  """z = (x @ w + b) * (x @ u + c): the RPQNN layer, (52).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    w_init, b_init: starts of w [n, m] and b [m].
    u_init, c_init: starts of u [n, m] and c [m]; zeros and ones by default, a factor of one.
    dtype: of the computation; None takes it from inputs and parameters.
    param_dtype: of the parameters.
    rngs: source of the parameters' keys.

  Called with x [..., n] it returns z [..., m].
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    w_init: Initializer = _kernel_init,
    b_init: Initializer = _zeros,
    u_init: Initializer = _zeros,
    c_init: Initializer = _ones,
    dtype=None,
    param_dtype=jnp.float32,
    rngs: nnx.Rngs,
  ):
    _check_sizes("ReducedQuadraticLinear", in_features, out_features)
    key, shape = rngs.params(), (in_features, out_features)
    self.w = nnx.Param(w_init(key, shape, param_dtype))
    self.b = nnx.Param(b_init(rngs.params(), (out_features,), param_dtype))
    self.u = nnx.Param(u_init(_further_key(key, 1), shape, param_dtype))
    self.c = nnx.Param(c_init(_further_key(key, 2), (out_features,), param_dtype))
    self.dtype = dtype

  def __call__(self, x: jax.Array) -> jax.Array:
    return ops.reduced_quadratic(*_cast(self.dtype, x, self.w, self.b, self.u, self.c))


class HeavyLinear(nnx.Module):
  """z = (x * x) @ heavy_kernel + x @ kernel + bias: the Heavy layer of 000_…txt.

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    heavy_init: start of heavy_kernel [n, m]; zeros by default.
    kernel_init, bias_init: starts of kernel [n, m] and bias [m].
    dtype: of the computation; None takes it from inputs and parameters.
    param_dtype: of the parameters.
    rngs: source of the parameters' keys.

  Called with x [..., n] it returns z [..., m].
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    heavy_init: Initializer = _zeros,
    kernel_init: Initializer = _kernel_init,
    bias_init: Initializer = _zeros,
    dtype=None,
    param_dtype=jnp.float32,
    rngs: nnx.Rngs,
  ):
    _check_sizes("HeavyLinear", in_features, out_features)
    key, shape = rngs.params(), (in_features, out_features)
    self.kernel = nnx.Param(kernel_init(key, shape, param_dtype))
    self.bias = nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
    self.heavy_kernel = nnx.Param(heavy_init(_further_key(key, 1), shape, param_dtype))
    self.dtype = dtype

  def __call__(self, x: jax.Array) -> jax.Array:
    return ops.heavy(*_cast(self.dtype, x, self.heavy_kernel, self.kernel, self.bias))


def _cast(dtype, x, *params):
  """Inputs and parameters in the layer's computation dtype, by nnx's own rule."""
  return dtypes.promote_dtype((x, *(param[...] for param in params)), dtype=dtype)
