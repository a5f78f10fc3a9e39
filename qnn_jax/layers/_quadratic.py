"""The layer of the paper's QNN: every neuron has a symmetric matrix, stored as its packed upper triangle."""

from flax import nnx

from qnn_jax import ops
from qnn_jax.initializers import Initializer
from qnn_jax.layers._linear import NO_METADATA, ZEROS, Linear, Metadata, QuadraticParam, further_key


class QuadraticLinear(Linear):
  """z_k = b_k + w_k^T x + x^T Q_k x for every neuron k, Q_k symmetric: the QNN layer, (24).

  Args:
    in_features: n, at least 1.
    out_features: m, at least 1.
    q_init: initializer of q [P, m], P = n(n+1)/2, the packed upper triangles; zeros by default. For
      random matrices wrap any initializer in `initializers.symmetrized`.
    q_metadata: metadata of q, as nnx.Linear's kernel_metadata.
    cache: whether to keep V, B n m numbers for a batch of B, for the backward pass. With False the
      backward pass computes V again, which takes more time. See `ops.quadratic`.
    rngs: source of the parameters' random keys.
    linear: as in `AffineLinear`.

  Called with x [..., n] it returns z [..., m]. Parameters: q [P, m], kernel [n, m], bias [m].

  Raises:
    InputError: a size is below 1, or the derivative is unknown. TypeError: an argument is unknown.
  """

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    q_init: Initializer = ZEROS,
    q_metadata: Metadata = NO_METADATA,
    cache: bool = True,
    rngs: nnx.Rngs,
    **linear,
  ):
    key = self._init_linear(in_features, out_features, rngs=rngs, **linear)
    shape = ops.packed_size(in_features), out_features
    self.q = QuadraticParam(q_init(further_key(key, 1), shape, self.param_dtype), **q_metadata)
    self.cache = cache

  def _by_op(self, x, kernel, bias, options):
    return ops.quadratic(x, self.q[...].astype(x.dtype), kernel, bias, cache=self.cache, **options)
