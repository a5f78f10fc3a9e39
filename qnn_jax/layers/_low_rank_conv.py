"""The low-rank quadratic layer as a convolution."""

import jax
from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer, unit_directions
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key
from qnn_jax.ops import _arguments

_DIRECTIONS = unit_directions(jax.nn.initializers.normal(1.0))


class LowRankQuadraticConv(Conv):
  """z_k = b_k + w_k^T p + sum_r s_rk (v_rk^T p)^2 for every patch p of n = K c/g inputs.

  It is one convolution to r m channels, whose squares are summed. A neuron has r n + r numbers instead
  of the n(n+1)/2 of a full Q_k. K is the number of positions in the window.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window's length along every axis of an image; for series a single number will do.
    strides: the window's steps, one number for all axes or one for each.
    rank: r, the number of squares of a neuron, at least 1.
    v_init: initializer of v [*window, c/g, r, m]; by default directions of unit length, as in
      `LowRankQuadraticLinear`.
    s_init: initializer of s [r, m]; zeros by default, so that the layer starts as an `nnx.Conv`.
    v_metadata, s_metadata: metadata of v and s, as nnx.Conv's kernel_metadata.
    rngs: source of the parameters' random keys.
    conv: as in `HeavyConv`.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: v [*window, c/g, r, m],
  s [r, m], kernel [*window, c/g, m], bias [m].

  Raises:
    InputError: a size is below 1, the groups do not divide the features, or the derivative is unknown.
      TypeError: an argument is unknown.
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
