"""The layer of the paper's RPQNN as a convolution: the product of two convolutions."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ONES, ZEROS, Metadata, QuadraticParam, further_key
from qnn_jax.ops import _products


class ReducedQuadraticConv(Conv):
  """(52) for patches: z_k = (w_k^T p + b_k)(u_k^T p + c_k) for every patch p, the product of two convolutions.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window's length along every axis of an image; for series a single number will do.
    strides: the window's steps, one number for all axes or one for each.
    u_init, c_init: initializers of u [*window, c/g, m] and c [m]; zeros and ones by default, so that the
      second factor starts at one.
    u_metadata, c_metadata: metadata of u and c, as nnx.Conv's kernel_metadata.
    rngs: source of the parameters' random keys.
    conv: as in `HeavyConv`. use_bias=False leaves out the bias and keeps c.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: kernel, u
  [*window, c/g, m] and bias, c [m].

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
    u_init: Initializer = ZEROS,
    u_metadata: Metadata = NO_METADATA,
    c_init: Initializer = ONES,
    c_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **conv,
  ):
    key = self._init_conv(in_features, out_features, kernel_size, strides, rngs=rngs, **conv)
    u = u_init(further_key(key, 1), self.kernel_shape, self.param_dtype)
    self.u = QuadraticParam(u, **u_metadata)
    c = c_init(further_key(key, 2), (out_features,), self.param_dtype)
    self.c = nnx.Param(c, **c_metadata)

  def _by_op(self, x, kernel, bias, options):
    u, c = self._masked(self.u).astype(x.dtype), self.c[...].astype(x.dtype)
    return ops.reduced_quadratic_conv(x, kernel, bias, u, c, **options)

  def _with_quadratic_part(self, affine, x, options):
    # As the op does: for float16 the product and its derivative are computed in float32.
    u, c = self._masked(self.u).astype(x.dtype), self.c[...].astype(x.dtype)
    x, u, c = _products.wide(x, u, c)
    options = options | {"preferred_element_type": None}
    wide_affine, second = _products.alike(affine, ops.affine_conv(x, u, c, **options))
    return (wide_affine * second).astype(affine.dtype)
