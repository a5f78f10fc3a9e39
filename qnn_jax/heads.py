"""The heads: which layers may end a network, by name, with their starts and their look in figures.

Everything that takes a head's name looks it up here, and a new layer is told once:

  register(Head("mine", MyLinear, {"kernel_init": as_drawn, "bias_init": as_drawn}, "Mine", "#E69F00"))
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping

from flax import nnx

from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer, symmetrized

Start = Callable[[Initializer], Initializer]


@dataclasses.dataclass(frozen=True)
class Head:
  """A layer that may end a network.

  Attributes:
    name: in configs, on the command line and in results.
    layer: its class, called as `layer(in_features, out_features, rngs=rngs, ...)`.
    starts: for every `..._init` argument of the layer, what a network's one `param_init` becomes in
      it: `as_drawn`, or `initializers.symmetrized` for packed matrices.
    title: in tables and figures.
    colour: in figures.
    marker: in figures, as matplotlib names it.
    conv: the class of its convolution, called as `nnx.Conv`; None if it has none.
  """

  name: str
  layer: type[nnx.Module]
  starts: Mapping[str, Start]
  title: str
  colour: str
  marker: str = "o"
  conv: type[nnx.Module] | None = None


def as_drawn(init: Initializer) -> Initializer:
  """The start of a parameter without a structure: the initializer itself."""
  return init


_HEADS: dict[str, Head] = {}


def register(head: Head) -> None:
  """Makes the head known everywhere.

  Raises:
    InputError: the name or the title is taken or missing; the colour is no '#rrggbb'; the layer is no
      nnx class; or `starts` is not a function for each of the layer's `..._init` arguments.
  """
  for field in ("name", "title"):
    if not isinstance(getattr(head, field), str) or not getattr(head, field):
      raise InputError(f"the head '{head.name}' is registered without a {field}")
  if not isinstance(head.colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", head.colour):
    raise InputError(
      f"the head '{head.name}' is registered without a colour: write '#rrggbb', not {head.colour!r}"
    )
  if not isinstance(head.layer, type) or not issubclass(head.layer, nnx.Module):
    raise InputError(
      f"the head '{head.name}' must be registered by its layer's class, an nnx.Module, "
      f"not {head.layer!r}"
    )
  for other in _HEADS.values():
    if head.name == other.name or head.title == other.title:
      raise InputError(
        f"a head '{other.name}' with the title '{other.title}' is registered already: {other.layer}"
      )
  wanted, given = _init_arguments(head.layer), set(head.starts)
  if wanted != given:
    listed = ", ".join(sorted(wanted)) or "none"
    raise InputError(
      f"the head '{head.name}' must say how {head.layer.__name__} starts: it has the arguments "
      f"{listed}, and starts names {', '.join(sorted(given)) or 'none'}"
    )
  for argument, start in head.starts.items():
    if not callable(start):
      raise InputError(
        f"the head '{head.name}' must start {argument} by a function of an initializer, "
        f"not {start!r}; `as_drawn` takes it as it is"
      )
  _HEADS[head.name] = head


def names() -> tuple[str, ...]:
  """Every head's name, in the order of registration: the order of tables and legends."""
  return tuple(_HEADS)


def get(name: str) -> Head:
  """The head of that name; InputError, which lists them, if there is none."""
  if not isinstance(name, str) or name not in _HEADS:
    raise InputError(f"unknown head '{name}'; choose one of {', '.join(_HEADS)}")
  return _HEADS[name]


def title(name: str) -> str:
  """A model's title in tables and figures; its name in capitals if no head has it."""
  return _HEADS[name].title if name in _HEADS else name.upper()


def _init_arguments(layer: type) -> set[str]:
  """The `..._init` arguments of a layer, those that it hands on to its base classes included."""
  found = set()
  for kind in layer.__mro__:
    # Of the function itself: an nnx class has the signature (*args, **kwargs).
    maker = vars(kind).get("__init__")
    if maker is not None:
      parameters = inspect.signature(maker).parameters
      found |= {name for name in parameters if name.endswith("_init")}
      if all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        break
  return found


# The colours are Okabe and Ito's, told apart with any colour vision; the markers help in grey.
_AFFINE = {"kernel_init": as_drawn, "bias_init": as_drawn}
register(Head("ann", layers.AffineLinear, _AFFINE, "ANN", "#0072B2", "o"))
register(
  Head("qnn", layers.QuadraticLinear, _AFFINE | {"q_init": symmetrized}, "QNN", "#D55E00", "s")
)
register(
  Head(
    "rpqnn",
    layers.ReducedQuadraticLinear,
    _AFFINE | {"u_init": as_drawn, "c_init": as_drawn},
    "RPQNN",
    "#009E73",
    "^",
  )
)
register(
  Head("heavy", layers.HeavyLinear, _AFFINE | {"heavy_init": as_drawn}, "HEAVY", "#CC79A7", "D")
)
