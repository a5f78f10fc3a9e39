"""The ordinary affine layer, with the papers' backward pass."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.layers._linear import Linear


class AffineLinear(Linear):
  """z = x @ kernel + bias, (66): `nnx.Linear` with the backward pass of the papers, (28) and (31).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    rngs: source of the parameters' random keys.
    linear: `derivative` (see `qnn_jax.layers`) and every other argument of `nnx.Linear`: use_bias, dtype,
      param_dtype, precision, kernel_init, bias_init, dot_general, promote_dtype,
      preferred_element_type, kernel_metadata, bias_metadata.

  Called with x [..., n] it returns z [..., m]. Parameters: kernel [n, m], bias [m].

  Raises:
    InputError: a size is below 1, or the derivative is unknown. TypeError: an argument is unknown.
  """

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs, **linear):
    self._init_linear(in_features, out_features, rngs=rngs, **linear)

  def _by_op(self, x, kernel, bias, options):
    return ops.affine(x, kernel, bias, **options)

  def _with_quadratic_part(self, affine, x, options):
    return affine
