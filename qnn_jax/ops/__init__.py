"""Pure functions on arrays, one per kind of neuron, each with the papers' backward pass.

Every op takes x [..., n] with any leading axes and returns z [..., m]. Its `custom_vjp` rules are the
papers' equations; a comment at each line names the equation by its number. These rules are for reverse
mode only. With `derivative="autodiff"` JAX computes the derivative, in forward mode too. A `*_reference`
is a slow, literal transcription of the forward equation for one sample.
"""

from qnn_jax.ops._affine import affine, affine_reference
from qnn_jax.ops._conv import Options as ConvOptions
from qnn_jax.ops._conv import (
  affine_conv,
  heavy_conv,
  low_rank_quadratic_conv,
  reduced_quadratic_conv,
)
from qnn_jax.ops._eigen import from_low_rank, to_low_rank
from qnn_jax.ops._heavy import heavy, heavy_reference
from qnn_jax.ops._low_rank import low_rank_quadratic, low_rank_quadratic_reference
from qnn_jax.ops._quadratic import quadratic, quadratic_full, quadratic_reference
from qnn_jax.ops._quadratic_conv import quadratic_conv
from qnn_jax.ops._reduced_quadratic import reduced_quadratic, reduced_quadratic_reference
from qnn_jax.ops._symmetric import matrix_size, multiplicity, pack, packed_size, unpack

__all__ = [
  "ConvOptions",
  "affine",
  "affine_conv",
  "affine_reference",
  "from_low_rank",
  "heavy",
  "heavy_conv",
  "heavy_reference",
  "low_rank_quadratic",
  "low_rank_quadratic_conv",
  "low_rank_quadratic_reference",
  "matrix_size",
  "multiplicity",
  "pack",
  "packed_size",
  "quadratic",
  "quadratic_conv",
  "quadratic_full",
  "quadratic_reference",
  "reduced_quadratic",
  "reduced_quadratic_conv",
  "reduced_quadratic_reference",
  "to_low_rank",
  "unpack",
]
