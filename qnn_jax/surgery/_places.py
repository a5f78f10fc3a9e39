"""Finds the layers of a model, and those that the user has chosen."""

import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.layers import AffineLinear

Where = str | tuple[str | int, ...] | Callable[[str, nnx.Module], bool]
Kind = str | Callable[..., nnx.Module]

# Only these classes are exchanged, and no subclass: a subclass may compute something else.
EXCHANGEABLE: dict[type, type] = {
  nnx.Linear: nnx.Linear,
  AffineLinear: nnx.Linear,
  nnx.Conv: nnx.Conv,
}


class Place(NamedTuple):
  """A place of a module in a model: the dotted path, the object that holds it, and the key there."""

  path: str
  holder: Any
  key: Any
  module: nnx.Module


def places_of(node, path=(), above=(), holder=None) -> Iterator[Place]:
  """Every module of a model, once for each place where the model has it."""
  if isinstance(node, nnx.Module):
    key = path[-1] if path else None
    yield Place(".".join(map(str, path)), holder, key, node)
  if any(node is one for one in above):  # a cycle
    return
  for key, child in _children(node):
    yield from places_of(child, (*path, key), (*above, node), node)


def _children(node):
  if isinstance(node, (list, tuple, nnx.List)):
    return enumerate(node)
  if isinstance(node, Mapping):
    return node.items()
  if isinstance(node, nnx.Module):
    return ((name, child) for name, child in vars(node).items() if not name.startswith("_pytree__"))
  return ()


def chosen_of(places: list[Place], kinds: Mapping[Where, Kind]) -> list[tuple[Place, Kind]]:
  """The places whose layers are exchanged, in the model's order, each with its new kind."""
  if not isinstance(kinds, Mapping) or not kinds:
    raise InputError(
      f"kinds must say which layers become what, as {{'head': 'qnn'}}, got {kinds!r}"
    )
  candidates = [place for place in places if type(place.module) in EXCHANGEABLE]
  kind_of: dict[int, tuple[Where, Kind]] = {}
  for where, kind in kinds.items():
    found = [place for place in candidates if _matches(where, place)]
    if not found:
      raise InputError(_nothing_there(where, places, candidates))
    for place in found:
      before, other = kind_of.setdefault(id(place.module), (where, kind))
      if not _same(other, kind):
        raise InputError(
          f"{place.path or 'the model'} is to become {named(other)} by {named(before)} and "
          f"{named(kind)} by {named(where)}: only one entry of kinds may choose it"
        )
  return [
    (place, kind_of[id(place.module)][1]) for place in candidates if id(place.module) in kind_of
  ]


def _same(kind: Kind, other: Kind) -> bool:
  """Whether two kinds are equal, or partials with equal arguments."""
  if isinstance(kind, functools.partial) and isinstance(other, functools.partial):
    said = lambda partial: (partial.func, partial.args, partial.keywords)
    return said(kind) == said(other)
  return kind == other


def _matches(where: Where, place: Place) -> bool:
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
        f"'{path}' is of the class {named(type(place.module))}; only nnx.Linear, AffineLinear and "
        "nnx.Conv themselves can be exchanged"
      )
  there = [place.path for place in candidates]
  listed = ", ".join(there[:30]) + (f" and {len(there) - 30} more" if len(there) > 30 else "")
  general = any(isinstance(place.module, nnx.LinearGeneral) for place in places)
  return (
    f"kinds chooses no layer by {named(where)}; those that can be exchanged are: {listed or 'none'}"
    + ("; an nnx.LinearGeneral, as attention has them, is not" if general else "")
  )


def named(thing) -> str:
  """The text for a path, a class or a function in a message."""
  name = getattr(thing, "__name__", None)
  return repr(thing) if name is None else name


def check_can_be_put(place: Place) -> None:
  if place.holder is None:
    raise InputError(
      f"the model is the {named(type(place.module))} itself, which cannot be exchanged in place: "
      "pass a module that contains it, for example nnx.Sequential(model)"
    )
  if isinstance(place.holder, tuple):
    raise InputError(
      f"{place.path} is an entry of a tuple, which cannot be changed: use an nnx.List instead of the tuple"
    )


def put(place: Place, layer: nnx.Module) -> None:
  if isinstance(place.holder, (list, MutableMapping, nnx.List)):
    place.holder[place.key] = layer
  else:
    setattr(place.holder, place.key, layer)
