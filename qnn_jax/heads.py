"""The heads: the layers that may end a network, each with a name, its initializers and its plot style.

Everything that takes a head's name looks it up here. One call makes a new head known everywhere:

  register(Head("mine", MyLinear, {"kernel_init": as_drawn, "bias_init": as_drawn}, "Mine", "#E69F00"))

Some heads have a size, as lowrank has its rank. The size is written after a colon: "lowrank:8" is the
head lowrank with rank 8, and "lowrank" is the head with the layer's default rank. Both are names of
heads wherever one is chosen, and one table may have both.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping

from flax import nnx

from qnn_jax import layers
from qnn_jax.errors import InputError
from qnn_jax.initializers import Initializer, symmetrized, unit_directions

Start = Callable[[Initializer], Initializer]
"""A network's `param_init` -> the initializer of one parameter."""


@dataclasses.dataclass(frozen=True)
class Head:
  """A layer that may end a network.

  Attributes:
    name: the name in configs, on the command line and in results.
    layer: the layer's class, called as `layer(in_features, out_features, rngs=rngs, ...)`.
    starts: a function for every `..._init` argument of the layer. It turns the network's `param_init`
      into the initializer of that argument: `as_drawn`, or `initializers.symmetrized` for packed
      matrices.
    title: the name shown in tables and figures.
    colour: the colour in figures, '#rrggbb'.
    marker: the marker in figures, as matplotlib names it.
    size: the integer argument of the layer that "NAME:8" sets; "" for none.
    arguments: further keyword arguments of the layer; `get` adds the size given after the colon.
    conv: the class of the head's convolution, called as `nnx.Conv` is, with `arguments`; None for none.
  """

  name: str
  layer: type[nnx.Module]
  starts: Mapping[str, Start]
  title: str
  colour: str
  marker: str = "o"
  size: str = ""
  arguments: Mapping[str, int] = dataclasses.field(default_factory=dict)
  conv: type[nnx.Module] | None = None


def as_drawn(init: Initializer) -> Initializer:
  """Returns `init` itself: the initializer of a parameter that needs no structure."""
  return init


_HEADS: dict[str, Head] = {}
_OF_LIBRARY: set[str] = set()  # the names of the heads below, which nobody may replace


def register(head: Head) -> None:
  """Makes the `head` known by its name everywhere that a head is chosen.

  Registering a name again replaces your head, as when a cell of a notebook is run again. The library's
  own heads cannot be replaced.

  Raises:
    InputError: the name or the title is another head's, or missing; the name has a colon; the colour is not
      '#rrggbb'; the layer or the convolution is not an nnx class; or `starts` does not have a function
      for each of the layer's `..._init` arguments.
  """
  for field in ("name", "title"):
    if not isinstance(getattr(head, field), str) or not getattr(head, field):
      raise InputError(f"the head '{head.name}' is registered without a {field}")
  if ":" in head.name:
    raise InputError(
      f"the head '{head.name}' must have a name without a colon: a size is written after the colon"
    )
  if not isinstance(head.colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", head.colour):
    raise InputError(
      f"the head '{head.name}' is registered without a colour: write '#rrggbb', not {head.colour!r}"
    )
  if not isinstance(head.layer, type) or not issubclass(head.layer, nnx.Module):
    raise InputError(
      f"the head '{head.name}' must be registered by its layer's class, an nnx.Module, "
      f"not {head.layer!r}"
    )
  if head.conv is not None and not (
    isinstance(head.conv, type) and issubclass(head.conv, nnx.Module)
  ):
    raise InputError(
      f"the head '{head.name}' must be registered by its convolution's class, an nnx.Module, or "
      f"None, not {head.conv!r}"
    )
  for other in _HEADS.values():
    own = other.name not in _OF_LIBRARY and other.name == head.name
    if not own and (head.name == other.name or head.title == other.title):
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
  """The head of that name. The name may have a size, as "lowrank:8" has.

  Raises:
    InputError: no head has the name (the message lists the heads), the size is not a whole number of at
      least 1, or the head has no size.
  """
  base, colon, size = name.partition(":") if isinstance(name, str) else (name, "", "")
  if not isinstance(base, str) or base not in _HEADS:
    raise InputError(f"unknown head '{name}'; choose one of {', '.join(_HEADS)}")
  head = _HEADS[base]
  if not colon:
    return head
  if not head.size:
    raise InputError(f"the head '{base}' has no size: write '{base}', not '{name}'")
  if not re.fullmatch("[1-9][0-9]*", size, re.ASCII):
    raise InputError(
      f"the {head.size} of '{base}' must be a whole number of at least 1, as in '{base}:8', "
      f"got '{name}'"
    )
  arguments = {**head.arguments, head.size: int(size)}
  return dataclasses.replace(head, name=name, title=f"{head.title} {size}", arguments=arguments)


def title(name: str) -> str:
  """A model's title in tables and figures. It is the name in capitals if no head has that name."""
  return get(name).title if known(name) else name.upper()


def order(name: str) -> tuple[int, int, str]:
  """The sort key of a model's `name` in tables and legends.

  Heads come in the order of registration, those of one name by size. Other models come last.
  """
  base, _, size = name.partition(":")
  if not known(name):
    return len(_HEADS), 0, name
  return names().index(base), int(size or 0), name


def known(name: str) -> bool:
  """Whether `get` knows the name."""
  try:
    get(name)
  except InputError:
    return False
  return True


def _init_arguments(layer: type) -> set[str]:
  """The `..._init` arguments of a layer, including those that it passes on to its base classes."""
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


# The colours are Okabe and Ito's: they differ for any colour vision. The markers differ in grey print.
_AFFINE = {"kernel_init": as_drawn, "bias_init": as_drawn}
register(Head("ann", layers.AffineLinear, _AFFINE, "ANN", "#0072B2", "o", conv=nnx.Conv))
register(
  Head(
    "qnn",
    layers.QuadraticLinear,
    _AFFINE | {"q_init": symmetrized},
    "QNN",
    "#D55E00",
    "s",
    conv=layers.QuadraticConv,
  )
)
register(
  Head(
    "rpqnn",
    layers.ReducedQuadraticLinear,
    _AFFINE | {"u_init": as_drawn, "c_init": as_drawn},
    "RPQNN",
    "#009E73",
    "^",
    conv=layers.ReducedQuadraticConv,
  )
)
register(
  Head(
    "heavy",
    layers.HeavyLinear,
    _AFFINE | {"heavy_init": as_drawn},
    "HEAVY",
    "#CC79A7",
    "D",
    conv=layers.HeavyConv,
  )
)
register(
  Head(
    "lowrank",
    layers.LowRankQuadraticLinear,
    _AFFINE | {"v_init": unit_directions, "s_init": as_drawn},
    "LOWRANK",
    "#56B4E9",
    "P",
    size="rank",
    conv=layers.LowRankQuadraticConv,
  )
)
_OF_LIBRARY.update(_HEADS)
