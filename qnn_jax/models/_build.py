"""A network as a config describes it, the module that it describes, and its number of parameters."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.models import _layer
from qnn_jax.models._classifier import Mlp
from qnn_jax.models._convnet import ConvNet

Make = Callable[..., nnx.Module]
"""(network, image_shape, classes, *, dtype, param_dtype, rngs) -> module."""

_OWN: dict[str, Make] = {}
_KINDS = ("mlp", "cnn")
NEAR = 0.02  # the largest relative difference from the wanted number of parameters
_WIDEST = 2**24


@dataclasses.dataclass(frozen=True)
class Network:
  """A network, except for what the data decide: the arguments of an `Mlp` or a `ConvNet`.

  Attributes:
    kind: "mlp", which sees images as rows of numbers; "cnn"; or the name of a registered network.
    hidden, head, hidden_kind, activation: arguments of both kinds.
    channels, conv_kind, kernel_size, pool: arguments of a CNN; an MLP ignores them.
    parameters: the wanted number of parameters, for which `matched` chooses the last width; 0 for any.
  """

  kind: str
  hidden: tuple[int, ...] = ()
  channels: tuple[int, ...] = ()
  head: str = "ann"
  hidden_kind: str | tuple[str, ...] = "ann"
  conv_kind: str | tuple[str, ...] = "ann"
  kernel_size: int = 3
  pool: int = 2
  activation: str = "relu"
  parameters: int = 0

  def __post_init__(self):
    if self.kind not in kinds():
      raise InputError(f"a network's kind is {' or '.join(kinds())}, got {self.kind!r}")
    several = {"hidden": _layer.widths("hidden", self.hidden)}
    several["channels"] = _layer.widths("channels", self.channels)
    for name in ("hidden_kind", "conv_kind"):
      if not isinstance(getattr(self, name), str):
        several[name] = tuple(getattr(self, name))
    for name, value in several.items():  # lists, as JSON has them, become tuples
      object.__setattr__(self, name, value)
    wanted = self.parameters
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
      raise InputError(f"parameters must be a whole number, or 0 for any, got {wanted!r}")


def register(kind: str, make: Make) -> None:
  """Registers a network of your own: its name is then a `kind` of `Network`.

  Args:
    kind: the name. It must not be one of this package's; registering a name again replaces your network.
    make: `make(network, image_shape, classes, *, dtype, param_dtype, rngs)`. It returns a module that
      takes images [B, h, w, c] and returns logits [B, classes]. It may use any field of the `Network`,
      for example its `head` with `make_layer`.

  Raises:
    InputError: the name is one of this package's or not a string, or make is not a function.
  """
  if not isinstance(kind, str) or not kind or kind in _KINDS:
    raise InputError(
      f"a network of your own must have a name other than {' and '.join(_KINDS)}, got {kind!r}"
    )
  if not callable(make):
    raise InputError(f"the network '{kind}' must be registered by a function, got {make!r}")
  _OWN[kind] = make


def kinds() -> tuple[str, ...]:
  """Every kind of network, this package's first, then the registered ones."""
  return (*_KINDS, *_OWN)


def build(
  network: Network,
  image_shape: Sequence[int],
  classes: int,
  *,
  dtype=None,
  param_dtype=jnp.float32,
  rngs: nnx.Rngs,
) -> nnx.Module:
  """Makes the module of a network: images [..., h, w, c] -> logits [..., classes].

  Args:
    network: the network to build. If it has a number of `parameters`, it is `matched` first.
    image_shape: (h, w, c) of an image.
    classes: number of outputs.
    dtype: dtype of the computation, for example jnp.bfloat16; None for that of parameters and images.
    param_dtype: dtype of the parameters.
    rngs: source of the parameters' random keys.

  Raises:
    InputError: as `Mlp`, `ConvNet` and `matched`.
  """
  if network.parameters:
    network = matched(network, image_shape, classes)
  if network.kind in _OWN:
    make = _OWN[network.kind]
    return make(
      network, tuple(image_shape), classes, dtype=dtype, param_dtype=param_dtype, rngs=rngs
    )
  options: dict[str, Any] = {
    "hidden_kind": network.hidden_kind,
    "activation": network.activation,
    "dtype": dtype,
    "param_dtype": param_dtype,
    "rngs": rngs,
  }
  if network.kind == "mlp":
    return Mlp(image_shape, network.hidden, classes, network.head, **options)
  options |= {name: getattr(network, name) for name in ("conv_kind", "kernel_size", "pool")}
  return ConvNet(image_shape, network.channels, network.hidden, classes, network.head, **options)


def described(
  network: Network, image_shape: Sequence[int], classes: int, *, param_dtype=jnp.float32
) -> dict[str, Any]:
  """The arguments of `build` as a dict that JSON can hold: the `network` of a row.

  `sweeps.trained.load_model` builds the module from it.

  Args:
    network, image_shape, classes, dtype, param_dtype: as in `build`.
  """
  sizes = {"image_shape": list(image_shape), "classes": classes}
  fields = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(network).items()}
  return fields | sizes | {"dtype": jnp.dtype(param_dtype).name}


def count_parameters(module: nnx.Module | Callable[[], nnx.Module]) -> int:
  """The number of numbers in a module's `nnx.Param`s.

  Args:
    module: a module, an abstract module from `nnx.eval_shape`, or a function that makes a module. For a
      function no memory is allocated.

  >>> from qnn_jax import QuadraticLinear
  >>> count_parameters(lambda: QuadraticLinear(1000, 10, rngs=nnx.Rngs(0)))
  5015010
  """
  if not isinstance(module, nnx.Module):
    module = nnx.eval_shape(module)
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def matched(network: Network, image_shape: Sequence[int], classes: int) -> Network:
  """Chooses the last width of a network so that it has as nearly as possible `parameters` parameters.

  The last entry of `hidden` is replaced, or the last of `channels` if there are no hidden layers. The
  parameters are counted in the modules themselves. So this works for any layer that has more parameters
  the wider it is.

  Args:
    network: a network with `parameters` above 0.
    image_shape: (h, w, c) of an image.
    classes: number of outputs.

  Returns:
    The same network with the width chosen and `parameters` set to 0.

  Raises:
    InputError: no width gives a number within 2 %, or the network is a single layer without a width.

  >>> wide = matched(Network("mlp", hidden=(1,), head="qnn", parameters=28_000), (28, 28, 1), 10)
  >>> wide.hidden, count_parameters(lambda: build(wide, (28, 28, 1), 10, rngs=nnx.Rngs(0)))
  ((30,), 28510)
  """
  wanted = network.parameters
  if wanted < 1:
    raise InputError(f"a network to match must have parameters above 0, got {wanted}")
  field = "hidden" if network.hidden or network.kind == "mlp" else "channels"
  before = getattr(network, field)
  if not before:
    raise InputError(
      f"an {network.kind} without {field} has no width that could be chosen for {wanted} parameters; "
      f"give it {field}, such as (1,)"
    )

  def of_width(width: int) -> Network:
    # Not by **{field: ...}, which mypy cannot check.
    sizes = {field: (*before[:-1], width)}
    return dataclasses.replace(network, parameters=0, **sizes)  # type: ignore[arg-type]

  @functools.cache
  def count(width: int) -> int:
    make = lambda: build(of_width(width), image_shape, classes, rngs=nnx.Rngs(0))
    return count_parameters(make)

  # The widest that has too few, and the narrowest that has enough.
  low, high = 0, 1
  while count(high) < wanted and high < _WIDEST:
    low, high = high, 2 * high
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if count(middle) < wanted else (low, middle)
  counts = {width: count(width) for width in (low, high) if width}
  nearest = min(counts, key=lambda width: abs(counts[width] - wanted))
  if abs(counts[nearest] - wanted) > NEAR * wanted:
    listed = " and ".join(f"{n} with {field} {(*before[:-1], w)}" for w, n in counts.items())
    raise InputError(
      f"no network of the head {network.head} has {wanted} parameters to 2 %; the nearest have {listed}"
    )
  return of_width(nearest)
