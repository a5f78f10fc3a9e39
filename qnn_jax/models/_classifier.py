"""The papers' classifier: sigmoid hidden layers and a final layer chosen by name."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer
from qnn_jax.models import _layer


class Classifier(nnx.Module):
  """Sigmoid hidden layers and a head: x [..., in_features] -> logits [..., classes].

  This is the network of Section 6.2, whose quadratic layers are (23) and (24). The loss (`losses.sigmoid_cross_entropy`) applies the sigmoid of
  the outputs, so that the network returns logits.

  Args:
    in_features: number of inputs, 784 for MNIST.
    hidden: neurons of the hidden layer, or of each hidden layer in turn; each at least 1. With () the
      network is a single layer, the head.
    classes: number of outputs.
    head: kind of the last layer: ann, qnn, rpqnn, heavy, lowrank, lowrank:8 (of rank 8), or another that
      `heads` knows.
    hidden_kind: kind of the hidden layers, one name for all or one for each; ann in the papers.
    param_init: initializer of every parameter of every layer, `initializers.symmetric_uniform(0.01)` for
      Table 4. With None each layer uses its own initializers.
    activation: activation after every hidden layer, one of `models.ACTIVATIONS`.
    dtype, param_dtype: as in the layers.
    rngs: source of the parameters' random keys.

  Raises:
    InputError: the head or the activation is unknown, or a size is below 1.
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
    activation: str = "sigmoid",
    dtype=None,
    param_dtype=jax.numpy.float32,
    rngs: nnx.Rngs,
  ):
    widths = _layer.widths("hidden", hidden)
    kinds = _layer.kinds("hidden_kind", hidden_kind, "hidden", widths)
    if classes < 1 or in_features < 1:
      raise InputError(
        f"in_features and classes must be at least 1, got {in_features} and {classes}"
      )
    _layer.activation(activation)
    self.activation = activation
    sizes = (in_features, *widths, classes)
    self.layers = nnx.List(
      [
        _layer.make_layer(
          kind, n, m, rngs=rngs, param_init=param_init, dtype=dtype, param_dtype=param_dtype
        )
        for kind, n, m in zip((*kinds, head), sizes, sizes[1:])
      ]
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.tail(self.layers[0](x))

  def tail(self, z: jax.Array) -> jax.Array:
    """The network after its first layer's total input: z [..., h] -> logits [..., classes], h = hidden[0]."""
    activation = _layer.activation(self.activation)
    for layer in self.layers[1:]:
      z = layer(activation(z))
    return z


class Mlp(Classifier):
  """A `Classifier` of images: images [..., h, w, c] -> logits [..., classes].

  Args:
    image_shape: (h, w, c); the layers see an image as h w c inputs.
    hidden, classes, head, rngs, others: as in `Classifier`.

  Raises:
    InputError: as in `Classifier`; and, when called, images of another shape.
  """

  def __init__(
    self,
    image_shape: Sequence[int],
    hidden: int | Sequence[int],
    classes: int,
    head: str,
    *,
    rngs: nnx.Rngs,
    **others,
  ):
    self.image_shape = _layer.image_sizes(image_shape)
    super().__init__(math.prod(self.image_shape), hidden, classes, head, rngs=rngs, **others)

  def __call__(self, images: jax.Array) -> jax.Array:
    _layer.check_images("Mlp", images, self.image_shape)
    return super().__call__(images.reshape(*images.shape[:-3], math.prod(self.image_shape)))
