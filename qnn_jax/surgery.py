"""Quadratic layers in the place of chosen layers of a network, a trained one say: `replace`."""

import fnmatch
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from qnn_jax import heads
from qnn_jax.errors import InputError
from qnn_jax.layers import AffineLinear
from qnn_jax.ops import _mesh

Where = str | tuple[str | int, ...] | Callable[[str, nnx.Module], bool]
Kind = str | Callable[..., nnx.Module]

# What is exchanged: these very classes. A subclass may compute something else.
_EXCHANGEABLE: dict[type, type] = {
  nnx.Linear: nnx.Linear,
  AffineLinear: nnx.Linear,
  nnx.Conv: nnx.Conv,
}
_ZEROS = jax.nn.initializers.zeros
_OLD = ("kernel", "bias")  # what a new layer takes over


class Exchanged(NamedTuple):
  """What stood at a place and what stands there now; both have the same kernel and bias."""

  old: nnx.Module
  new: nnx.Module


class _Place(NamedTuple):
  """A way from the model to a module: the dotted path, and what holds the module under which key."""

  path: str
  holder: Any
  key: Any
  module: nnx.Module


def replace(
  model: nnx.Module, kinds: Mapping[Where, Kind], *, rngs: nnx.Rngs | None = None
) -> dict[str, Exchanged]:
  """Exchanges layers of a model, in place, for quadratic ones that start with the same outputs.

  A new layer takes over the kernel and the bias themselves, the same `nnx.Variable` objects, and all
  attributes of the old: dtypes, precision, strides. Its further parameters are new: with the
  kernel's dtype, on the kernel's devices, and split as the kernel is along the axes that they have
  in common. A layer that the model has at several places is exchanged for one at all of them. A
  stack of layers, as `nnx.vmap` makes it, becomes a stack, if its axes are the first.

  The outputs stay as they were, on a CPU under one `jax.jit` to the last bit, since every kind of
  `heads` starts as the layer that it takes the place of; see docs/layers.md, 'Numbers'.

  It works on a traced model too, inside `nnx.jit`, and on an abstract one, of `nnx.eval_shape`.

  An optimiser that was made before does not know the new parameters: make a new one,
  `nnx.Optimizer(model, ..., wrt=nnx.Param)`; `training.minibatch.quadratic_partition` gives them a
  rate of their own. To keep the old model, exchange in a copy: `nnx.clone(model)`.

  Args:
    model: any `nnx.Module`; its layers may stand in attributes, lists and dicts, at any depth.
    kinds: which layers become what. A key is a dotted path, 'blocks.3.out', where `*` stands for
      anything, dots included; or a path as `nnx.iter_modules` gives it, ('blocks', 3, 'out'); or a
      function `(dotted path, layer) -> bool`. Only `nnx.Linear`, `AffineLinear` and `nnx.Conv` can
      be exchanged; a pattern or a function never chooses anything else, and no subclass of theirs,
      such as `nnx.LoRALinear`. A value is the name of a head, 'qnn', or what is called as the old
      layer's class: `HeavyLinear`, `functools.partial(QuadraticLinear, cache=False)`. What a partial
      names is taken in the place of the old layer's.
    rngs: the keys of what a kind draws, one of `rngs.params()` a layer; `nnx.Rngs(0)` by default.
      Of this package's kinds only low rank draws anything, its v.

  Returns:
    dotted path -> (old, new), an entry for every place.

  Raises:
    InputError: an entry that chooses nothing or makes no layer of the right form, a layer that two
      entries want to be different kinds, one that cannot be changed where it stands. Nothing is
      changed then.

  >>> model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.relu)
  >>> replaced = replace(model, {"layers.0": "qnn"})
  >>> {path: type(layer.new).__name__ for path, layer in replaced.items()}
  {'layers.0': 'QuadraticLinear'}
  >>> model.layers[0] is replaced["layers.0"].new
  True
  """
  if not isinstance(model, nnx.Module):
    raise InputError(f"replace changes an nnx.Module, and got {_named(type(model))}")
  rngs = nnx.Rngs(0) if rngs is None else rngs
  chosen = _chosen(list(_places(model)), kinds)
  new: dict[int, nnx.Module] = {}
  for place, kind in chosen:
    _check_can_be_set(place)
    if id(place.module) not in new:
      new[id(place.module)] = _exchange(place, kind, rngs)
  # Everything that can fail has been done.
  for place, _ in chosen:
    _set(place, new[id(place.module)])
  return {place.path: Exchanged(place.module, new[id(place.module)]) for place, _ in chosen}


def _places(node, path=(), above=(), holder=None) -> Iterator[_Place]:
  """Every module, at every place where the model has it."""
  if isinstance(node, nnx.Module):
    key = path[-1] if path else None
    yield _Place(".".join(map(str, path)), holder, key, node)
  if any(node is one for one in above):  # a cycle
    return
  for key, child in _children(node):
    yield from _places(child, (*path, key), (*above, node), node)


def _children(node):
  if isinstance(node, (list, tuple, nnx.List)):
    return enumerate(node)
  if isinstance(node, Mapping):
    return node.items()
  if isinstance(node, nnx.Module):
    return ((name, child) for name, child in vars(node).items() if not name.startswith("_pytree__"))
  return ()


def _chosen(places: list[_Place], kinds: Mapping[Where, Kind]) -> list[tuple[_Place, Kind]]:
  """The places whose layers are exchanged, in the model's order, each with its kind."""
  if not isinstance(kinds, Mapping) or not kinds:
    raise InputError(
      f"kinds must say which layers become what, as {{'head': 'qnn'}}, got {kinds!r}"
    )
  candidates = [place for place in places if type(place.module) in _EXCHANGEABLE]
  kind_of: dict[int, tuple[Where, Kind]] = {}
  for where, kind in kinds.items():
    found = [place for place in candidates if _matches(where, place)]
    if not found:
      raise InputError(_nothing_there(where, places, candidates))
    for place in found:
      before, other = kind_of.setdefault(id(place.module), (where, kind))
      if other != kind:
        raise InputError(
          f"{place.path or 'the model'} is to become {_named(other)} by {_named(before)} and "
          f"{_named(kind)} by {_named(where)}: let one entry of kinds choose it"
        )
  return [
    (place, kind_of[id(place.module)][1]) for place in candidates if id(place.module) in kind_of
  ]


def _matches(where: Where, place: _Place) -> bool:
  if isinstance(where, str):
    return fnmatch.fnmatchcase(place.path, where)
  if isinstance(where, tuple):
    return place.path == _dotted(where)
  if callable(where):
    return bool(where(place.path, place.module))
  raise InputError(
    f"a key of kinds must be a dotted path, a tuple or a function of path and layer, got {where!r}"
  )


def _dotted(where: tuple) -> str:
  return ".".join(map(str, where))


def _nothing_there(where, places, candidates) -> str:
  path = _dotted(where) if isinstance(where, tuple) else where
  for place in places:
    if place.path == path:
      return (
        f"'{path}' is of the class {_named(type(place.module))}; only nnx.Linear, AffineLinear and "
        "nnx.Conv themselves can be exchanged"
      )
  there = [place.path for place in candidates]
  listed = ", ".join(there[:30]) + (f" and {len(there) - 30} more" if len(there) > 30 else "")
  return f"kinds chooses no layer by {_named(where)}; those that can be exchanged are: {listed or 'none'}"


def _named(thing) -> str:
  """A path, class or function in a message."""
  name = getattr(thing, "__name__", None)
  return repr(thing) if name is None else name


def _check_can_be_set(place: _Place) -> None:
  if place.holder is None:
    raise InputError(
      f"the model is the {_named(type(place.module))} itself, which cannot be exchanged in place: "
      "pass a module that has it, nnx.Sequential(model) say"
    )
  if isinstance(place.holder, tuple):
    raise InputError(
      f"{place.path} is an entry of a tuple, which cannot be changed: make the tuple an nnx.List"
    )


def _set(place: _Place, layer: nnx.Module) -> None:
  if isinstance(place.holder, (list, MutableMapping, nnx.List)):
    place.holder[place.key] = layer
  else:
    setattr(place.holder, place.key, layer)


# One layer for another.


def _exchange(place: _Place, kind: Kind, rngs: nnx.Rngs) -> nnx.Module:
  """The new layer, with the old one's kernel, bias and attributes."""
  old: Any = place.module
  build, given = _builder(place, kind)
  new: Any = nnx.eval_shape(build, jax.random.key(0))
  stack = _stack(place, new)

  def draw(key) -> nnx.State:
    """What the new layer has beside kernel and bias."""
    state = nnx.state(build(key))
    return nnx.State({name: value for name, value in state.items() if name not in _OLD})

  key = rngs.params()
  if stack:
    key = jax.random.split(key, stack)
    for _ in stack:
      draw = jax.vmap(draw)
  nnx.update(new, _placed(draw, key, old.kernel.get_raw_value()))
  for path, variable in nnx.iter_graph(new):
    if isinstance(variable, nnx.Variable) and path[0] not in _OLD:
      _note_layout(variable, old.kernel)
  for name, value in vars(old).items():
    if not name.startswith("_pytree__") and name not in given and value is not None:
      setattr(new, name, value)
  return new


def _builder(place: _Place, kind: Kind) -> tuple[Callable[[jax.Array], nnx.Module], set[str]]:
  """(key -> a layer of the kind with the old one's arguments, which of them a partial names)."""
  old: Any = place.module
  form = _EXCHANGEABLE[type(old)]
  make: Any = _layer_of(kind, form) if isinstance(kind, str) else kind
  if not callable(make):
    raise InputError(
      f"{place.path}: a value of kinds must be a head's name, a layer's class or a function, "
      f"got {make!r}"
    )
  given = set(make.keywords) if isinstance(make, functools.partial) else set()
  sizes, names = _arguments_of(form)
  arguments = {name: getattr(old, name) for name in names - given if hasattr(old, name)}
  arguments |= {name: _ZEROS for name in ("kernel_init", "bias_init")}  # replaced by the old ones
  if "param_dtype" not in given:
    arguments["param_dtype"] = old.kernel.dtype
  sizes = [getattr(old, name) for name in sizes]

  def build(key):
    try:
      layer = make(*sizes, **arguments, rngs=nnx.Rngs(params=key))
    except TypeError as error:
      raise InputError(
        f"{place.path}: {_named(kind)} cannot be made with the arguments of nnx.{form.__name__}: "
        f"{error}"
      ) from error
    if not isinstance(layer, form):
      raise InputError(
        f"{place.path} is an nnx.{form.__name__}, and {_named(kind)} makes none but "
        f"a {_named(type(layer))}"
      )
    return layer

  return build, given


def _arguments_of(form: type) -> tuple[list[str], set[str]]:
  """(the sizes, which come first and must be given; the arguments that a layer keeps as attributes)."""
  _, *parameters = inspect.signature(vars(form)["__init__"]).parameters.values()
  first = [p.name for p in parameters if p.kind != p.KEYWORD_ONLY and p.default is p.empty]
  return first, {p.name for p in parameters} - {*first} | {"derivative"}


def _layer_of(name: str, form: type) -> type[nnx.Module]:
  """The layer of a head that takes the place of nnx.Linear, or of nnx.Conv."""
  head = heads.get(name)
  layer = head.layer if form is nnx.Linear else head.conv
  if layer is None:
    raise InputError(f"the head '{name}' has no convolution; choose another kind for nnx.Conv")
  return layer


def _stack(place: _Place, new) -> tuple[int, ...]:
  """The first axes of a stack of layers, as nnx.vmap makes it; () for one layer."""
  old: Any = place.module
  stack = old.kernel.shape[: len(old.kernel.shape) - len(new.kernel.shape)]
  for name in _OLD:
    was, now = getattr(old, name), getattr(new, name)
    if (was is None) != (now is None) or (was is not None and was.shape != stack + now.shape):
      raise InputError(
        f"{place.path} has a {name} of the shape {was and was.shape}, where one layer has "
        f"{now and now.shape}: only layers whose first axes are those of a stack can be exchanged"
      )
  return stack


def _placed(draw: Callable[[jax.Array], nnx.State], key: jax.Array, kernel) -> nnx.State:
  """The values of `draw(key)`, made where the kernel is: each device makes its part alone."""
  shapes = jax.eval_shape(draw, key)
  layout = _layout(kernel)
  if isinstance(kernel, jax.ShapeDtypeStruct):
    place = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=layout(leaf.shape))
    return jax.tree.map(place, shapes)
  places = jax.tree.map(lambda leaf: layout(leaf.shape), shapes)
  if not jax.tree.leaves(places):
    return draw(key)
  if isinstance(kernel, jax.core.Tracer):
    return jax.tree.map(jax.sharding.reshard, draw(key), places)
  return jax.jit(draw, out_shardings=places)(key)


def _layout(kernel) -> Callable[[tuple[int, ...]], Sharding | None]:
  """Where a new parameter of a shape lies, as the kernel does; None where JAX is to choose."""
  if isinstance(kernel, jax.core.Tracer):
    where = _mesh.sharding(kernel)
  else:
    where = getattr(kernel, "sharding", None)
    if not getattr(kernel, "committed", True):
      where = None
  if isinstance(where, NamedSharding):
    spec, mesh = where.spec, where.mesh
    return lambda shape: NamedSharding(mesh, P(*_axes_as(spec, kernel.shape, shape)))
  return lambda shape: where


def _note_layout(variable: nnx.Variable, kernel: nnx.Variable) -> None:
  """Writes the layout that Flax notes of the kernel into a new variable too."""
  noted = kernel.get_metadata()
  spec = noted.get("out_sharding")
  if "out_sharding" in variable.get_metadata() or not isinstance(spec, (tuple, P)):
    return
  axes = _axes_as(spec, kernel.shape, variable.shape)
  further = {name: noted[name] for name in ("sharding_rules", "mesh") if name in noted}
  variable.set_metadata(out_sharding=P(*axes) if isinstance(spec, P) else axes, **further)


def _axes_as(spec: Iterable, of: tuple[int, ...], shape: tuple[int, ...]) -> tuple:
  """The kernel's entry for every axis of another parameter: the last for the last, the neurons or channels;
  the first ones for the first as long as their lengths agree; None for all others.

  >>> _axes_as(("a", "b"), (4, 3), (10, 3)), _axes_as(("a", "b"), (4, 3), (4, 3))
  ((None, 'b'), ('a', 'b'))
  """
  entries = [*spec]
  entries += [None] * (len(of) - len(entries))
  found = [None] * len(shape)
  for i, (size, of_kernel) in enumerate(zip(shape[:-1], of[:-1])):
    if size != of_kernel:
      break
    found[i] = entries[i]
  if shape and shape[-1] == of[-1]:
    found[-1] = entries[-1]
  return tuple(found)
