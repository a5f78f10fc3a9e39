"""The layer of the paper's QNN as a convolution: a symmetric matrix a neuron, of the patch it sees."""

import math

import numpy as np
from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key


class QuadraticConv(Conv):
  """z_k = b_k + w_k^T p + p^T Q_k p for every patch p of n = k k c/g inputs, Q_k symmetric.

  Memory: a neuron has n(n+1)/2 numbers of Q beside the kernel's n: 10,440 beside 144 for 3 x 3 on 16
  channels, 334,080 for 32 neurons, 1.3 MB in float32. Of the patches, k k times the inputs, and of Q p,
  n numbers for every output, a thousand patches' are there at a time, at least an image's, and the
  backward pass makes them anew; on a mesh, in a batch of unknown size and with derivative="autodiff" all
  are. See `ops.quadratic_conv`. Where that is too much, `LowRankQuadraticConv` has r n + r.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window, a number for every axis of an image; a number alone for series.
    strides: of the window, a number or one for each axis.
    q_init: start of q [P, m], P = n(n+1)/2, the packed upper triangles, a patch's inputs in the order of
      `kernel.reshape(n, m)`; zeros by default. For random matrices wrap any initializer in
      `initializers.symmetrized`.
    q_metadata: of q, as nnx.Conv's kernel_metadata is of the kernel.
    rngs: source of the parameters' keys.
    conv: as in `HeavyConv`. A mask hides q_ij unless it shows the inputs i and j both.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: q [P, m], kernel
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
    q_init: Initializer = ZEROS,
    q_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **conv,
  ):
    key = self._init_conv(in_features, out_features, kernel_size, strides, rngs=rngs, **conv)
    shape = ops.packed_size(math.prod(self.kernel_shape[:-1])), out_features
    self.q = QuadraticParam(q_init(further_key(key, 1), shape, self.param_dtype), **q_metadata)

  def _by_op(self, x, kernel, bias, options):
    pairs = None
    if self.mask is not None:
      shown = self.mask.reshape(-1, self.out_features)
      rows, columns = np.triu_indices(shown.shape[0])
      pairs = shown[rows] * shown[columns]
    q = self._masked(self.q, pairs).astype(x.dtype)
    return ops.quadratic_conv(x, q, kernel, bias, kernel_size=self.kernel_size, **options)
