"""The papers' classifier: sigmoid hidden layer(s) and a final layer chosen by name."""

import numbers
from collections.abc import Callable, Sequence

import jax
from flax import nnx

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer


def make_layer(
  kind: str,
  in_features: int,
  out_features: int,
  *,
  rngs: nnx.Rngs,
  param_init: Initializer | None = None,
  **kwargs,
) -> nnx.Module:
  """A layer by its name in `heads`; `param_init`, if given, starts every one of its parameters.

  The head says how: the matrices of a quadratic layer are symmetrised. Further keyword arguments go
  to the layer. Raises InputError for an unknown name.
  """
  head = heads.get(kind)
  if param_init is not None:
    kwargs = {name: start(param_init) for name, start in head.starts.items()} | kwargs
  layer: Callable[..., nnx.Module] = head.layer  # nnx.Module's own __init__ takes nothing
  return layer(in_features, out_features, rngs=rngs, **{**head.arguments, **kwargs})


class Classifier(nnx.Module):
  """Sigmoid hidden layer(s) and a head: x [..., in_features] -> logits [..., classes].

  The network of Section 6.2. The output's sigmoid belongs to the loss
  (`losses.sigmoid_cross_entropy`), so that what comes out are logits.

  Args:
    in_features: inputs, 784 for MNIST.
    hidden: neurons of the hidden layer, or of each hidden layer in turn; each at least 1.
    classes: outputs.
    head: kind of the last layer: ann, qnn, rpqnn, heavy, lowrank, lowrank:8 (of rank 8), or another that
      `heads` knows.
    hidden_kind: kind of the hidden layers, one name for all or one a layer; ann in the papers.
    param_init: start of every parameter of every layer, `initializers.symmetric_uniform(0.01)` for
      Table 4; None leaves each layer its own start.
    dtype, param_dtype: as in the layers.
    rngs: source of the parameters' keys.

  Raises:
    InputError: unknown head, a size below 1.
  """

  def __init__(
    self,
    in_features: int,
    hidden: int | Sequence[int],
    classes: int,
    head: str,
    *,
    hidden_kind: str | Sequence[str] = "ann",
    param_init: Initializer | None = None,
    dtype=None,
    param_dtype=jax.numpy.float32,
    rngs: nnx.Rngs,
  ):
    widths = (int(hidden),) if isinstance(hidden, int | numbers.Integral) else tuple(hidden)
    kinds = (hidden_kind,) * len(widths) if isinstance(hidden_kind, str) else tuple(hidden_kind)
    if not widths or min(widths) < 1:
      raise InputError(f"hidden must be at least 1 neuron in every layer, got {widths}")
    if len(kinds) != len(widths):
      raise InputError(
        f"hidden_kind names {len(kinds)} layers, {kinds}, but hidden has {len(widths)}: {widths}"
      )
    if classes < 1 or in_features < 1:
      raise InputError(
        f"in_features and classes must be at least 1, got {in_features} and {classes}"
      )
    sizes = (in_features, *widths, classes)
    self.layers = nnx.List(
      [
        make_layer(
          kind, n, m, rngs=rngs, param_init=param_init, dtype=dtype, param_dtype=param_dtype
        )
        for kind, n, m in zip((*kinds, head), sizes, sizes[1:])
      ]
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.tail(self.layers[0](x))

  def tail(self, z: jax.Array) -> jax.Array:
    """Everything behind the first layer's total input: z^1 [..., hidden[0]] -> logits."""
    for layer in self.layers[1:]:
      z = layer(jax.nn.sigmoid(z))
    return z
