"""The layer of the notes Heavy Layers: a weight for every input's square."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Linear, Metadata, QuadraticParam, further_key


class HeavyLinear(Linear):
  """z = (x * x) @ heavy_kernel + x @ kernel + bias, the layer of the notes Heavy Layers.

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    heavy_init: initializer of heavy_kernel [n, m]; zeros by default.
    heavy_kernel_metadata: metadata of heavy_kernel, as nnx.Linear's kernel_metadata.
    rngs: source of the parameters' random keys.
    linear: as in `AffineLinear`.

  Called with x [..., n] it returns z [..., m]. Parameters: heavy_kernel, kernel [n, m], bias [m].

  Raises:
    InputError: a size is below 1, or the derivative is unknown. TypeError: an argument is unknown.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    heavy_init: Initializer = ZEROS,
    heavy_kernel_metadata: Metadata = NO_METADATA,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    heavy = heavy_init(further_key(key, 1), (in_features, out_features), self.param_dtype)
    self.heavy_kernel = QuadraticParam(heavy, **heavy_kernel_metadata)

  def _by_op(self, x, kernel, bias, options):
    return ops.heavy(x, self.heavy_kernel[...].astype(x.dtype), kernel, bias, **options)
