"""The layer of the notes Heavy Layers as a convolution."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key


class HeavyConv(Conv):
  """z_k = b_k + w_k^T p + h_k^T (p * p) for every patch p of k k c inputs: a convolution of x and one of x * x.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window, a number for every axis of an image; a number alone for series.
    strides: of the window, a number or one for each axis.
    heavy_init: start of heavy_kernel, of the kernel's shape [*window, c/g, m]; zeros by default.
    heavy_kernel_metadata: of heavy_kernel, as nnx.Conv's kernel_metadata is of the kernel.
    rngs: source of the parameters' keys.
    conv: `derivative` (see `qnn_jax.layers`) and every other argument of `nnx.Conv`: padding,
      input_dilation, kernel_dilation, feature_group_count g, use_bias, mask, dtype, param_dtype,
      precision, kernel_init, bias_init, conv_general_dilated, promote_dtype,
      preferred_element_type, kernel_metadata, bias_metadata. A mask hides an input of a patch from
      the quadratic part too.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: heavy_kernel, kernel
  [*window, c/g, m], bias [m].

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
