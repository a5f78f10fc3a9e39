"""The layer of the paper's QNN as a convolution: every neuron has a symmetric matrix for its patch."""

import math

import numpy as np
from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._conv import Conv
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Metadata, QuadraticParam, further_key


class QuadraticConv(Conv):
  """(24) for patches: z_k = b_k + w_k^T p + p^T Q_k p for every patch p of n = K c/g inputs, Q_k symmetric.

  K is the number of positions in the window. Memory: a neuron has n(n+1)/2 numbers in Q, beside n in its
  kernel. For windows of 3 x 3 on 16 channels these are 10,440 beside 144; 32 neurons have 334,080 numbers
  in q, 1.3 MB in float32. The patches have K times the numbers of the inputs, and Q p has n numbers for
  every output. They are computed for a thousand patches at a time (at least one image), and again in
  the backward pass. On a mesh, for a batch of unknown size and with derivative="autodiff", all patches
  are in memory at once. See `ops.quadratic_conv`. `LowRankQuadraticConv` needs less: r n + r numbers a
  neuron.

  Args:
    in_features: channels c, at least 1.
    out_features: neurons m, at least 1.
    kernel_size: the window's length along every axis of an image; for series a single number will do.
    strides: the window's steps, one number for all axes or one for each.
    q_init: initializer of q [P, m], P = n(n+1)/2, the packed upper triangles; zeros by default. The inputs
      of a patch have the order of `kernel.reshape(n, m)`. For random matrices wrap any initializer in
      `initializers.symmetrized`.
    q_metadata: metadata of q, as nnx.Conv's kernel_metadata.
    rngs: source of the parameters' random keys.
    conv: as in `HeavyConv`. A mask that hides input i or input j hides q_ij.

  Called with x [..., *image, c] it returns z [..., *places, m]. Parameters: q [P, m], kernel
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
