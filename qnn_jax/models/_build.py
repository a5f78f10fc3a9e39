"""A network as a config says it, the module that it stands for, and how many parameters that has."""

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
NEAR = 0.02  # how far a count may be from the wanted one, as a part of it
_WIDEST = 2**24


@dataclasses.dataclass(frozen=True)
class Network:
  """A network but for what the data say: the arguments of an `Mlp` or a `ConvNet`.

  Attributes:
    kind: "mlp", images as rows of numbers; "cnn"; or one that was registered.
    hidden, head, hidden_kind, activation: of both.
    channels, conv_kind, kernel_size, pool: of a CNN; an MLP does without them.
    parameters: how many the whole is to have; `matched` then chooses the last width. 0: as it is.
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
  """Makes a network of your own known by a name, wherever a `Network` has its kind.

  Args:
    kind: its name, none of this package's own; one of yours is replaced.
    make: `make(network, image_shape, classes, *, dtype, param_dtype, rngs)`, which returns a module of
      images [B, h, w, c] -> logits [B, classes]. It takes of the `Network` what it has a use for,
      its `head` with `make_layer` say.

  Raises:
    InputError: the name is this package's, or no text, or make is no function.
  """
  if not isinstance(kind, str) or not kind or kind in _KINDS:
    raise InputError(
      f"a network of your own must have a name other than {' and '.join(_KINDS)}, got {kind!r}"
    )
  if not callable(make):
    raise InputError(f"the network '{kind}' must be registered by a function, got {make!r}")
  _OWN[kind] = make


def kinds() -> tuple[str, ...]:
  """Every kind of network that there is, this package's first."""
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
  """The module of a network: images [..., h, w, c] -> logits [..., classes].

  Args:
    network: what to build; one with a number of parameters is `matched` first.
    image_shape: (h, w, c).
    classes: outputs.
    dtype: of the computation, say jnp.bfloat16; None: as the parameters and images are.
    param_dtype: of the parameters.
    rngs: source of the parameters' keys.

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
  """All that `build` needs, as JSON can hold it: a row's `network`, for `sweeps.trained.load_model`."""
  sizes = {"image_shape": list(image_shape), "classes": classes}
  fields = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(network).items()}
  return fields | sizes | {"dtype": jnp.dtype(param_dtype).name}


def count_parameters(module: nnx.Module | Callable[[], nnx.Module]) -> int:
  """How many numbers a module has in its `nnx.Param`s.

  Args:
    module: a module, an abstract one of `nnx.eval_shape`, or a function that makes one: of that
      nothing is allocated.

  >>> from qnn_jax import QuadraticLinear
  >>> count_parameters(lambda: QuadraticLinear(1000, 10, rngs=nnx.Rngs(0)))
  5015010
  """
  if not isinstance(module, nnx.Module):
    module = nnx.eval_shape(module)
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def matched(network: Network, image_shape: Sequence[int], classes: int) -> Network:
  """The network whose last width is such that it has as nearly as possible `parameters` parameters.

  What is chosen is the last of `hidden`, whatever it was before; without hidden layers the last of
  `channels`. The counts are those of the modules themselves, so that any layer will do whose
  parameters become more with its width.

  Args:
    network: with `parameters` above 0.
    image_shape: (h, w, c).
    classes: outputs.

  Returns:
    The same network with its width chosen and `parameters` 0, for there is nothing left to choose.

  Raises:
    InputError: no width comes within 2 %, or there is no width to choose: a single layer.

  >>> wide = matched(Network("mlp", hidden=(1,), head="qnn", parameters=28_000), (28, 28, 1), 10)
  >>> wide.hidden, count_parameters(lambda: build(wide, (28, 28, 1), 10, rngs=nnx.Rngs(0)))
  ((30,), 28510)
  """
  wanted = network.parameters
  if wanted < 1:
    raise InputError(f"to match a network it must have parameters above 0, got {wanted}")
  field = "hidden" if network.hidden or network.kind == "mlp" else "channels"
  before = getattr(network, field)
  if not before:
    raise InputError(
      f"an {network.kind} without {field} has no width that could be chosen for {wanted} parameters; "
      f"give it {field}, (1,) say"
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
