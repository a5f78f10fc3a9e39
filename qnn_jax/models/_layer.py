"""Makes one layer by the name of its head, finds an activation by its name, and checks arguments."""

import difflib
import numbers
from collections.abc import Callable, Sequence

import jax
from flax import nnx

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer

Activation = Callable[[jax.Array], jax.Array]

# The functions of `jax.nn` that work elementwise.
ACTIVATIONS = (
  *("celu", "elu", "gelu", "hard_sigmoid", "hard_swish", "hard_tanh", "identity", "leaky_relu"),
  *("log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus"),
  *("squareplus", "swish", "tanh"),
)
"""The names of the activations."""


def make_layer(
  kind: str,
  in_features: int,
  out_features: int,
  *,
  rngs: nnx.Rngs,
  param_init: Initializer | None = None,
  **kwargs,
) -> nnx.Module:
  """Makes a layer of a kind.

  Args:
    kind: the name of a head in `heads`.
    in_features: n, the number of inputs.
    out_features: m, the number of neurons.
    param_init: initializer of all parameters of the layer; the head adapts it, so that the matrices of
      a quadratic layer are symmetrised. With None the layer uses its own initializers.
    rngs: source of the parameters' random keys.
    kwargs: further keyword arguments of the layer.

  Raises:
    InputError: the kind is unknown.
  """
  head = heads.get(kind)
  if param_init is not None:
    kwargs = {name: start(param_init) for name, start in head.starts.items()} | kwargs
  layer: Callable[..., nnx.Module] = head.layer  # nnx.Module's own __init__ takes nothing
  return layer(in_features, out_features, rngs=rngs, **{**head.arguments, **kwargs})


def make_conv(
  kind: str, in_features: int, out_features: int, kernel_size, *, rngs: nnx.Rngs, **kwargs
) -> nnx.Module:
  """Makes a convolution of a kind, with its own initializers.

  Args:
    kind: the name of a head in `heads`; ann makes an `nnx.Conv`.
    in_features: channels of the inputs.
    out_features: number of neurons.
    kernel_size: the lengths of the window.
    rngs: source of the parameters' random keys.
    kwargs: further keyword arguments, as `nnx.Conv` takes them.

  Raises:
    InputError: the kind is unknown, or has no convolution.
  """
  head = heads.get(kind)
  conv: Callable[..., nnx.Module] | None = head.conv
  if conv is None:
    able = ", ".join(name for name in heads.names() if heads.get(name).conv is not None)
    raise InputError(f"the head '{kind}' has no convolution; choose one of {able}")
  return conv(in_features, out_features, kernel_size, rngs=rngs, **{**head.arguments, **kwargs})


def activation(name: str) -> Activation:
  """The elementwise function of `jax.nn` of that name. Raises InputError for a name not in `ACTIVATIONS`."""
  if not isinstance(name, str) or name not in ACTIVATIONS:
    near = difflib.get_close_matches(str(name), ACTIVATIONS)
    raise InputError(
      f"unknown activation {name!r}; "
      + (
        f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(ACTIVATIONS)}"
      )
    )
  return getattr(jax.nn, name)


def widths(argument: str, given: int | Sequence[int]) -> tuple[int, ...]:
  """One width or several as a tuple. Raises InputError for a width that is not an integer of at least 1."""
  several = tuple(given) if isinstance(given, Sequence) else (given,)
  whole = all(isinstance(w, int | numbers.Integral) and not isinstance(w, bool) for w in several)
  if not whole or (several and min(several) < 1):
    raise InputError(f"{argument} must be at least 1 neuron in every layer, got {several}")
  return tuple(map(int, several))


def at_least_one(argument: str, size: int) -> int:
  """The size as an int. Raises InputError if it is not a whole number of at least 1."""
  if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
    raise InputError(f"{argument} must be a whole number of at least 1, got {size!r}")
  return int(size)


def kinds(argument: str, given: str | Sequence[str], of: str, sizes: Sequence[int]) -> tuple:
  """The kind of each layer as a tuple, from one kind for all or one each. InputError for a wrong count."""
  several = (given,) * len(sizes) if isinstance(given, str) else tuple(given)
  if len(several) != len(sizes):
    raise InputError(
      f"{argument} names {len(several)} layers, {several}, but {of} has {len(sizes)}: {tuple(sizes)}"
    )
  return several


def image_sizes(image_shape: Sequence[int]) -> tuple[int, int, int]:
  """(h, w, c) of an image. Raises InputError for anything but three whole numbers of at least 1."""
  shape = tuple(image_shape)
  if len(shape) != 3 or not all(isinstance(s, numbers.Integral) and s > 0 for s in shape):
    raise InputError(
      f"image_shape must be height, width and channels, such as (28, 28, 1), got {image_shape!r}"
    )
  h, w, c = map(int, shape)
  return h, w, c


def check_images(model: str, images: jax.Array, shape: tuple[int, int, int]) -> None:
  """InputError unless images are [..., h, w, c] with the shape that the network was made for."""
  if images.shape[-3:] != shape:
    raise InputError(
      f"this {model} takes images [..., {', '.join(map(str, shape))}], got the shape {images.shape}"
    )
