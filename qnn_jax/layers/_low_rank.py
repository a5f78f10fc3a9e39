"""The low-rank quadratic layer: a neuron has a few directions instead of a full matrix."""

import functools

import jax
from flax import nnx

from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer, unit_directions
from qnn_jax.layers._linear import (
  NO_METADATA,
  ZEROS,
  Linear,
  Metadata,
  QuadraticParam,
  check_one_layer,
  further_key,
  with_affine_of,
)
from qnn_jax.layers._quadratic import QuadraticLinear
from qnn_jax.ops import _arguments

_DIRECTIONS = unit_directions(jax.nn.initializers.normal(1.0))


class LowRankQuadraticLinear(Linear):
  """z_k = b_k + w_k^T x + sum_r s_rk (v_rk^T x)^2: (24) with Q_k = sum_r s_rk v_rk v_rk^T.

  A neuron has n r + r numbers instead of the n(n+1)/2 of a full Q_k. With `rank` = n it can be any Q_k.
  With a rank above n/2 it has more numbers than a full Q_k.

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    rank: r, the number of squares of a neuron, at least 1.
    v_init: initializer of v [n, r, m]. By default directions of unit length, uniformly distributed, so
      that v^T x is as large as the entries of x. If v and s were both zero, both would stay zero.
    s_init: initializer of s [r, m]; zeros by default, so that the layer starts as an `nnx.Linear`.
    v_metadata, s_metadata: metadata of v and s, as nnx.Linear's kernel_metadata.
    rngs: source of the parameters' random keys.
    linear: as in `AffineLinear`.

  Called with x [..., n] it returns z [..., m]. Parameters: v [n, r, m], s [r, m], kernel [n, m],
  bias [m].

  Raises:
    InputError: a size is below 1, or the derivative is unknown. TypeError: an argument is unknown.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    rank: int = 4,
    *,
    v_init: Initializer = _DIRECTIONS,
    v_metadata: Metadata = NO_METADATA,
    s_init: Initializer = ZEROS,
    s_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **linear,
  ):
    _arguments.check_size(type(self).__name__, "rank", rank)
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    shape, dtype = (in_features, rank, out_features), self.param_dtype
    self.rank = rank
    self.v = QuadraticParam(v_init(further_key(key, 1), shape, dtype), **v_metadata)
    self.s = QuadraticParam(s_init(further_key(key, 2), shape[1:], dtype), **s_metadata)

  def _by_op(self, x, kernel, bias, options):
    v, s = (param[...].astype(x.dtype) for param in (self.v, self.s))
    return ops.low_rank_quadratic(x, v, s, kernel, bias, **options)

  @classmethod
  def from_quadratic(cls, layer: QuadraticLinear, rank: int) -> "LowRankQuadraticLinear":
    """The low-rank layer of this `rank` nearest to a full `layer`, neuron by neuron.

    See `ops.to_low_rank`. Kernel and bias are copies of the layer's, with their types and metadata. The
    other attributes that the outputs depend on are those of the layer.

    Raises InputError if the layer is not one `QuadraticLinear`, or if the rank is not in 1..n.
    """
    if not isinstance(layer, QuadraticLinear):
      raise InputError(f"from_quadratic needs a QuadraticLinear, got {type(layer).__name__}")
    check_one_layer(layer)
    v, s = ops.to_low_rank(layer.q[...], rank)
    make = functools.partial(cls, rank=rank, v_init=lambda *_: v, s_init=lambda *_: s)
    return with_affine_of(layer, make)

  def to_quadratic(self) -> QuadraticLinear:
    """The same function as a `QuadraticLinear`, with Q_k = sum_r s_rk v_rk v_rk^T.

    Raises InputError for a stack of layers.
    """
    check_one_layer(self)
    q = ops.from_low_rank(self.v[...], self.s[...])
    return with_affine_of(self, functools.partial(QuadraticLinear, q_init=lambda *_: q))
