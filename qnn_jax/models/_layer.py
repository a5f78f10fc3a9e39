"""One layer by its head's name, one activation by its own, and the checks that networks share."""

import difflib
import numbers
from collections.abc import Callable, Sequence

import jax
from flax import nnx

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer

Activation = Callable[[jax.Array], jax.Array]

# Those of `jax.nn` that take every number by itself.
ACTIVATIONS = (
  *("celu", "elu", "gelu", "hard_sigmoid", "hard_swish", "hard_tanh", "identity", "leaky_relu"),
  *("log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softplus"),
  *("squareplus", "swish", "tanh"),
)


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


def make_conv(
  kind: str, in_features: int, out_features: int, kernel_size, *, rngs: nnx.Rngs, **kwargs
) -> nnx.Module:
  """A convolution by its head's name; `nnx.Conv` itself for ann. Its start is the layer's own.

  Further keyword arguments go to the layer, as `nnx.Conv` takes them. Raises InputError for an unknown
  name and for a head that has no convolution.
  """
  head = heads.get(kind)
  conv: Callable[..., nnx.Module] | None = head.conv
  if conv is None:
    able = ", ".join(name for name in heads.names() if heads.get(name).conv is not None)
    raise InputError(f"the head '{kind}' has no convolution; choose one of {able}")
  return conv(in_features, out_features, kernel_size, rngs=rngs, **{**head.arguments, **kwargs})


def activation(name: str) -> Activation:
  """The function of `jax.nn` of that name, elementwise. Raises InputError for a name not in `ACTIVATIONS`."""
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
  """One width or several as a tuple. Raises InputError for one that is no whole number of at least 1."""
  several = tuple(given) if isinstance(given, Sequence) else (given,)
  whole = all(isinstance(w, int | numbers.Integral) and not isinstance(w, bool) for w in several)
  if not whole or (several and min(several) < 1):
    raise InputError(f"{argument} must be at least 1 neuron in every layer, got {several}")
  return tuple(map(int, several))


def at_least_one(argument: str, size: int) -> int:
  """The size as an int. Raises InputError if it is no whole number of at least 1."""
  if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
    raise InputError(f"{argument} must be a whole number of at least 1, got {size!r}")
  return int(size)


def kinds(argument: str, given: str | Sequence[str], of: str, sizes: Sequence[int]) -> tuple:
  """One kind for all layers, or one each, as a tuple. Raises InputError if they are not as many."""
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
      f"image_shape must be height, width and channels, (28, 28, 1) say, got {image_shape!r}"
    )
  h, w, c = map(int, shape)
  return h, w, c


def check_images(model: str, images: jax.Array, shape: tuple[int, int, int]) -> None:
  """InputError if these are no images [..., h, w, c] of the shape that a network was made for."""
  if images.shape[-3:] != shape:
    raise InputError(
      f"this {model} takes images [..., {', '.join(map(str, shape))}], got the shape {images.shape}"
    )
