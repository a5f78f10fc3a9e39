"""The heads: which layers may end a network, by name, with their starts and their look in figures.

Everything that takes a head's name looks it up here, and a new layer is told once:

  register(Head("mine", MyLinear, {"kernel_init": as_drawn, "bias_init": as_drawn}, "Mine", "#E69F00"))

A head whose layer has a size of its own, as the rank of lowrank, takes it behind a colon: "lowrank:8" is
the head lowrank of rank 8, "lowrank" that of the layer's default. Wherever a head is chosen the one is
a name as good as the other, and a table may have both.
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
    size: the layer's whole-number argument that "NAME:8" sets; "" for none.
    arguments: of the layer beside its sizes and starts; `get` fills in what stands behind the colon.
    conv: the class of its convolution, called as `nnx.Conv` and with `arguments`; None if it has none.
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
  """The start of a parameter without a structure: the initializer itself."""
  return init


_HEADS: dict[str, Head] = {}


def register(head: Head) -> None:
  """Makes the head known everywhere.

  Raises:
    InputError: the name or the title is taken or missing; the name has a colon; the colour is no
      '#rrggbb'; the layer or the convolution is no nnx class; or `starts` is not a function for each
      of the layer's `..._init` arguments.
  """
  for field in ("name", "title"):
    if not isinstance(getattr(head, field), str) or not getattr(head, field):
      raise InputError(f"the head '{head.name}' is registered without a {field}")
  if ":" in head.name:
    raise InputError(
      f"the head '{head.name}' must have a name without a colon: a size comes behind it"
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
  """The head of that name, or of a name and a size, "lowrank:8".

  Raises InputError, which lists the heads, if there is none, and for a size that is no whole number of at
  least 1 or that the head does not have.
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
  """A model's title in tables and figures; its name in capitals if no head has it."""
  return get(name).title if known(name) else name.upper()


def order(name: str) -> tuple[int, int, str]:
  """Sort key of tables and legends: heads as registered, each in the order of its sizes, others behind."""
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
