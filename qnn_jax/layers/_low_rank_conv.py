"""The quadratic layer of low rank as a convolution."""

import jax
from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer, unit_directions
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key
from qnn_jax.ops import _arguments

_DIRECTIONS = unit_directions(jax.nn.initializers.normal(1.0))


class LowRankQuadraticConv(Conv):
  """z_k = b_k + w_k^T p + sum_r s_rk (v_rk^T p)^2 for every patch p of n = k k c/g inputs.

  One convolution to r m channels, squared and summed: r n + r numbers a neuron in the place of the
  n(n+1)/2 of a full Q_k.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window, a number for every axis of an image; a number alone for series.
    strides: of the window, a number or one for each axis.
    rank: r, the squares of a neuron, at least 1.
    v_init: start of v [*window, c/g, r, m]; by default directions of unit length, as in
      `LowRankQuadraticLinear`.
    s_init: start of s [r, m]; zeros by default, an `nnx.Conv`.
    v_metadata, s_metadata: of v and s, as nnx.Conv's kernel_metadata is of the kernel.
    rngs: source of the parameters' keys.
    conv: as in `HeavyConv`.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: v [*window, c/g, r, m],
  s [r, m], kernel [*window, c/g, m], bias [m].

  Raises:
    InputError: a size below 1, groups that do not divide the features, an unknown derivative.
      TypeError: an unknown argument.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    kernel_size,
    strides=1,
    *,
    rank: int = 4,
    v_init: Initializer = _DIRECTIONS,
    v_metadata: Metadata = NO_METADATA,
    s_init: Initializer = ZEROS,
    s_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **conv,
  ):
    _arguments.check_size(type(self).__name__, "rank", rank)
    key = self._init_conv(in_features, out_features, kernel_size, strides, rngs=rngs, **conv)
    shape, dtype = (*self.kernel_shape[:-1], rank, out_features), self.param_dtype
    self.rank = rank
    self.v = QuadraticParam(v_init(further_key(key, 1), shape, dtype), **v_metadata)
    self.s = QuadraticParam(s_init(further_key(key, 2), shape[-2:], dtype), **s_metadata)

  def _by_op(self, x, kernel, bias, options):
    mask = None if self.mask is None else self.mask[..., None, :]
    v = self._masked(self.v, mask).astype(x.dtype)
    return ops.low_rank_quadratic_conv(x, v, self.s[...].astype(x.dtype), kernel, bias, **options)
