"""The layer of the notes Heavy Layers as a convolution."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key


class HeavyConv(Conv):
  """z_k = b_k + w_k^T p + h_k^T (p * p) for every patch p of n = K c/g inputs.

  It is the sum of a convolution of x and one of x * x. K is the number of positions in the window.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window's length along every axis of an image; for series a single number will do.
    strides: the window's steps, one number for all axes or one for each.
    heavy_init: initializer of heavy_kernel [*window, c/g, m]; zeros by default.
    heavy_kernel_metadata: metadata of heavy_kernel, as nnx.Conv's kernel_metadata.
    rngs: source of the parameters' random keys.
    conv: `derivative` (see `qnn_jax.layers`) and every other argument of `nnx.Conv`: padding,
      input_dilation, kernel_dilation, feature_group_count g, use_bias, mask, dtype, param_dtype,
      precision, kernel_init, bias_init, conv_general_dilated, promote_dtype,
      preferred_element_type, kernel_metadata, bias_metadata. A mask that hides an input of the patch
      hides it from the quadratic part too.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: heavy_kernel, kernel
  [*window, c/g, m], bias [m].

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
    heavy_init: Initializer = ZEROS,
    heavy_kernel_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **conv,
  ):
    key = self._init_conv(in_features, out_features, kernel_size, strides, rngs=rngs, **conv)
    heavy = heavy_init(further_key(key, 1), self.kernel_shape, self.param_dtype)
    self.heavy_kernel = QuadraticParam(heavy, **heavy_kernel_metadata)

  def _by_op(self, x, kernel, bias, options):
    heavy = self._masked(self.heavy_kernel).astype(x.dtype)
    return ops.heavy_conv(x, heavy, kernel, bias, **options)
