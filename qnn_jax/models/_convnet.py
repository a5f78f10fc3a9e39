"""A small CNN: convolutions with pooling, hidden layers and a head, whose kinds are chosen by name."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.models import _layer
from qnn_jax.models._classifier import Classifier


class ConvNet(nnx.Module):
  """Convolutions followed by a classifier: images [..., h, w, c] -> logits [..., classes].

  Each convolution is followed by the activation and a max pooling, each hidden layer by the
  activation. A convolution has stride 1 and padding 'SAME', so that only the pooling makes images
  smaller: h and w are divided by `pool`, and pixels left over at the end are dropped.

  Args:
    image_shape: (h, w, c) of an image.
    channels: channels of each convolution in turn; at least one convolution.
    hidden: neurons of the hidden layer, or of each hidden layer in turn; () for none.
    classes: number of outputs.
    head: kind of the last layer, any that `heads` knows: ann, qnn, rpqnn, heavy, lowrank:8.
    conv_kind: kind of the convolutions, one name for all or one for each; ann is `nnx.Conv`.
    hidden_kind: kind of the hidden layers, one name for all or one for each.
    kernel_size: side of every convolution's window, in pixels; odd or even.
    pool: side of the pooling window, in pixels; 1 for no pooling.
    activation: one of `models.ACTIVATIONS`.
    dtype: dtype of the computation, for example jnp.bfloat16; None for that of parameters and images.
    param_dtype: dtype of the parameters.
    rngs: source of the parameters' random keys.

  Raises:
    InputError: a size is below 1; the image has too few pixels for the poolings; the head or the
      activation is unknown, or the head has no convolution; and, when called, images of another shape.
  """

  def __init__(
    self,
    image_shape: Sequence[int],
    channels: int | Sequence[int],
    hidden: int | Sequence[int],
    classes: int,
    head: str,
    *,
    conv_kind: str | Sequence[str] = "ann",
    hidden_kind: str | Sequence[str] = "ann",
    kernel_size: int = 3,
    pool: int = 2,
    activation: str = "relu",
    dtype=None,
    param_dtype=jax.numpy.float32,
    rngs: nnx.Rngs,
  ):
    self.image_shape = h, w, c = _layer.image_sizes(image_shape)
    channels = _layer.widths("channels", channels)
    if not channels:
      raise InputError("channels must have a number for each convolution, such as (16, 32), got ()")
    conv_kinds = _layer.kinds("conv_kind", conv_kind, "channels", channels)
    self.kernel_size = _layer.at_least_one("kernel_size", kernel_size)
    self.pool = _layer.at_least_one("pool", pool)
    shrunk = self.pool ** len(channels)
    if min(h, w) < shrunk:
      raise InputError(
        f"{len(channels)} convolutions with pool {pool} leave nothing of an image {h} x {w}: use images of "
        f"at least {shrunk} x {shrunk}, fewer convolutions, or a smaller pool"
      )
    options = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    window = (self.kernel_size, self.kernel_size)
    self.convolutions = nnx.List(
      [
        _layer.make_conv(kind, n, m, window, **options)
        for kind, n, m in zip(conv_kinds, (c, *channels), channels)
      ]
    )
    features = (h // shrunk) * (w // shrunk) * channels[-1]
    self.classifier = Classifier(
      features, hidden, classes, head, hidden_kind=hidden_kind, activation=activation, **options
    )

  def __call__(self, images: jax.Array) -> jax.Array:
    _layer.check_images("ConvNet", images, self.image_shape)
    activation = _layer.activation(self.classifier.activation)
    window = (self.pool, self.pool)
    x = images
    for convolution in self.convolutions:
      x = activation(convolution(x))
      x = nnx.max_pool(x, window, strides=window)
    return self.classifier(x.reshape(*x.shape[:-3], math.prod(x.shape[-3:])))
