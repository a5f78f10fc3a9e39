"""The layer of the paper's RPQNN: the product of two affine maps."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._linear import (
  NO_METADATA,
  ONES,
  ZEROS,
  Linear,
  Metadata,
  QuadraticParam,
  further_key,
)
from qnn_jax.ops import _products


class ReducedQuadraticLinear(Linear):
  """z = (x @ kernel + bias) * (x @ u + c): the RPQNN layer, (52).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    u_init, c_init: initializers of u [n, m] and c [m]; zeros and ones by default, so that the second
      factor starts at one.
    u_metadata, c_metadata: metadata of u and c, as nnx.Linear's kernel_metadata.
    rngs: source of the parameters' random keys.
    linear: as in `AffineLinear`. use_bias=False leaves out the bias and keeps c.

  Called with x [..., n] it returns z [..., m]. Parameters: kernel, u [n, m] and bias, c [m]. They are
  the paper's W^T, U^T, b and c.

  Raises:
    InputError: a size is below 1, or the derivative is unknown. TypeError: an argument is unknown.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    u_init: Initializer = ZEROS,
    u_metadata: Metadata = NO_METADATA,
    c_init: Initializer = ONES,
    c_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    shape, dtype = (in_features, out_features), self.param_dtype
    self.u = QuadraticParam(u_init(further_key(key, 1), shape, dtype), **u_metadata)
    self.c = nnx.Param(c_init(further_key(key, 2), (out_features,), dtype), **c_metadata)

  def _by_op(self, x, kernel, bias, options):
    u, c = (param[...].astype(x.dtype) for param in (self.u, self.c))
    return ops.reduced_quadratic(x, kernel, bias, u, c, **options)

  def _with_quadratic_part(self, affine, x, options):
    # As the op does: for float16 the product and its derivative are computed in float32.
    x, u, c = _products.wide(x, *(param[...].astype(x.dtype) for param in (self.u, self.c)))
    options = options | {"preferred_element_type": None}
    wide_affine, second = _products.alike(affine, ops.affine(x, u, c, **options))
    return (wide_affine * second).astype(affine.dtype)
