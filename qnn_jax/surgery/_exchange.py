"""Makes the new layer of an exchange: the old kernel and bias, and new parameters beside them."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
from flax import nnx
from jax.sharding import NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.ops import _mesh
from qnn_jax.surgery._places import EXCHANGEABLE, Kind, Place, named

_ZEROS = jax.nn.initializers.zeros
_OLD = ("kernel", "bias")  # the variables that a new layer takes over
# s [r, m] has no axis of inputs, but r may equal n: by its shape alone it could be a u [n, m].
_WITHOUT_INPUTS = ("s",)


def exchanged(place: Place, kind: Kind, rngs: nnx.Rngs) -> nnx.Module:
  """The new layer, with the old one's kernel, bias and attributes."""
  old: Any = place.module
  build, given = _builder(place, kind)
  new: Any = nnx.eval_shape(build, jax.random.key(0))
  stack = _stack(place, new)
  kept = {
    name: value
    for name, value in vars(old).items()
    if not name.startswith("_pytree__") and name not in given and value is not None
  }
  _check_no_clash(place, kept, new)

  def draw(key) -> nnx.State:
    """The new layer's parameters beside kernel and bias."""
    state = nnx.state(build(key))
    return nnx.State({name: value for name, value in state.items() if name not in _OLD})

  key = rngs.params()
  if stack:
    key = jax.random.split(key, stack)
    for _ in stack:
      draw = jax.vmap(draw)
  nnx.update(new, _placed(draw, key, old.kernel.get_raw_value(), len(stack)))
  for path, variable in nnx.iter_graph(new):
    if isinstance(variable, nnx.Variable) and path[0] not in _OLD:
      _note_layout(str(path[-1]), variable, old.kernel, len(stack))
  for name, value in kept.items():
    setattr(new, name, value)
  return new


def _check_no_clash(place: Place, kept: Iterable[str], new: nnx.Module) -> None:
  """InputError if the old layer has an attribute, set by the user, that the new layer defines itself."""
  form = EXCHANGEABLE[type(place.module)]
  sizes, names = _arguments_of(form)
  as_made = nnx.eval_shape(lambda: form(*[1 for _ in sizes], rngs=nnx.Rngs(0)))
  clash = sorted({*kept} & {*vars(new)} - {*vars(as_made)} - names)
  if clash:
    raise InputError(
      f"{place.path} has an attribute '{clash[0]}', and {type(new).__name__} has one of that name "
      "itself: rename or delete the attribute before the exchange"
    )


def _builder(place: Place, kind: Kind) -> tuple[Callable[[jax.Array], nnx.Module], set[str]]:
  """(key -> a layer of the kind with the old one's arguments, which of them a partial names)."""
  old: Any = place.module
  form = EXCHANGEABLE[type(old)]
  make: Any = _layer_of(kind, form) if isinstance(kind, str) else kind
  if isinstance(make, nnx.Module):
    raise InputError(
      f"{place.path}: a value of kinds is a layer object; give the class {type(make).__name__} instead, "
      "or a head's name"
    )
  if not callable(make):
    raise InputError(
      f"{place.path}: a value of kinds must be a head's name, a layer's class or a function, "
      f"got {make!r}"
    )
  given = set(make.keywords) if isinstance(make, functools.partial) else set()
  sizes, names = _arguments_of(form)
  arguments = {name: getattr(old, name) for name in names - given if hasattr(old, name)}
  if "use_bias" not in given:  # the user may have removed the bias by hand
    arguments["use_bias"] = old.bias is not None
  arguments |= {name: _ZEROS for name in ("kernel_init", "bias_init")}  # replaced by the old ones
  if "param_dtype" not in given:
    arguments["param_dtype"] = old.kernel.dtype
  sizes = [getattr(old, name) for name in sizes]

  def build(key):
    try:
      layer = make(*sizes, **arguments, rngs=nnx.Rngs(params=key))
    except TypeError as error:
      raise InputError(
        f"{place.path}: {named(kind)} cannot be made with the arguments of nnx.{form.__name__}: "
        f"{error}"
      ) from error
    if not isinstance(layer, form):
      raise InputError(
        f"{place.path} is an nnx.{form.__name__}, and {named(kind)} makes none but "
        f"a {named(type(layer))}"
      )
    return layer

  return build, given


def _arguments_of(form: type) -> tuple[list[str], set[str]]:
  """(the sizes, which are positional and required; the arguments that a layer keeps as attributes)."""
  _, *parameters = inspect.signature(vars(form)["__init__"]).parameters.values()
  first = [p.name for p in parameters if p.kind != p.KEYWORD_ONLY and p.default is p.empty]
  return first, {p.name for p in parameters} - {*first} | {"derivative"}


def _layer_of(name: str, form: type) -> Callable[..., nnx.Module]:
  """The class of a head's layer that replaces an nnx.Linear, or of its convolution for an nnx.Conv."""
  head = heads.get(name)
  layer = head.layer if form is nnx.Linear else head.conv
  if layer is None:
    raise InputError(f"the head '{name}' has no convolution; choose another kind for nnx.Conv")
  return functools.partial(layer, **head.arguments)


def _stack(place: Place, new) -> tuple[int, ...]:
  """The leading axes of a stack of layers, as nnx.vmap makes it; () for one layer."""
  old: Any = place.module
  stack = old.kernel.shape[: len(old.kernel.shape) - len(new.kernel.shape)]
  for name in _OLD:
    was, now = getattr(old, name), getattr(new, name)
    if (was is None) != (now is None) or (was is not None and was.shape != stack + now.shape):
      if not stack:
        raise InputError(
          f"{place.path} has a {name} of the shape {was and was.shape}, and the new "
          f"{type(new).__name__} has {now and now.shape}: a kind must keep sizes and bias"
        )
      raise InputError(
        f"{place.path} has a {name} of the shape {was and was.shape}, where one layer has "
        f"{now and now.shape}: only layers whose first axes are those of a stack can be exchanged"
      )
  return stack


def _placed(
  draw: Callable[[jax.Array], nnx.State], key: jax.Array, kernel, stack: int
) -> nnx.State:
  """The values of `draw(key)`, made on the kernel's devices: each device makes only its own part."""
  shapes = jax.eval_shape(draw, key)
  layout = _layout(kernel, stack)
  place = lambda path, leaf: layout(_name_in(path), leaf.shape)
  places = jax.tree_util.tree_map_with_path(place, shapes)
  if isinstance(kernel, jax.ShapeDtypeStruct):
    abstract = lambda path, leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place(path, leaf)
    )
    return jax.tree_util.tree_map_with_path(abstract, shapes)
  if not jax.tree.leaves(places):
    return draw(key)
  if isinstance(kernel, jax.core.Tracer):
    return jax.tree.map(jax.sharding.reshard, draw(key), places)
  return jax.jit(draw, out_shardings=places)(key)


def _name_in(path: tuple) -> str:
  """The parameter's own name in a path of a pytree of states."""
  return str([entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)][-1])


def _layout(kernel, stack: int) -> Callable[[str, tuple[int, ...]], Sharding | None]:
  """(name, shape) -> the sharding of a new parameter, like the kernel's; None if JAX is to choose it."""
  if isinstance(kernel, jax.core.Tracer):
    where = _mesh.sharding(kernel)
  else:
    where = getattr(kernel, "sharding", None)
    if not getattr(kernel, "committed", True):
      where = None
  if isinstance(where, NamedSharding):
    spec, mesh = where.spec, where.mesh
    return lambda name, shape: NamedSharding(
      mesh, P(*_axes_as(spec, kernel.shape, name, shape, stack))
    )
  return lambda name, shape: where


def _note_layout(name: str, variable: nnx.Variable, kernel: nnx.Variable, stack: int) -> None:
  """Copies the sharding metadata that Flax keeps for the kernel to a new variable."""
  noted = kernel.get_metadata()
  spec = noted.get("out_sharding")
  if "out_sharding" in variable.get_metadata() or not isinstance(spec, (tuple, P)):
    return
  axes = _axes_as(spec, kernel.shape, name, variable.shape, stack)
  further = {key: noted[key] for key in ("sharding_rules", "mesh") if key in noted}
  variable.set_metadata(out_sharding=P(*axes) if isinstance(spec, P) else axes, **further)


def _axes_as(
  spec: Iterable, of: tuple[int, ...], name: str, shape: tuple[int, ...], stack: int
) -> tuple:
  """For every axis of a new parameter the kernel's entry for that axis, or None.

  The last axis (neurons or channels) and the axes of a stack are those of the kernel. The axes of the
  inputs are those of the kernel if the parameter begins with all of them.

  >>> _axes_as(("i", "o"), (4, 3), "q", (10, 3), 0), _axes_as(("i", "o"), (4, 3), "u", (4, 3), 0)
  ((None, 'o'), ('i', 'o'))
  >>> _axes_as(("i", "o"), (4, 3), "s", (4, 3), 0)
  (None, 'o')
  """
  entries = [*spec]
  entries += [None] * (len(of) - len(entries))
  shared = len(of) - 1
  if name in _WITHOUT_INPUTS or len(shape) <= shared or shape[:shared] != of[:shared]:
    shared = min(stack, len(shape))
  found = entries[:shared] + [None] * (len(shape) - shared)
  if shape and shape[-1] == of[-1]:
    found[-1] = entries[-1]
  return tuple(found)
