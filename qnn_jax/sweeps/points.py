"""Points, groups and rows: the types that an experiment and the sweep engine share.

A *point* is one run: the values of the config fields that change its results, and a seed. Some fields
are *axes*: a config lists several values for them (sizes, seeds), and a point has one of each. A *group*
is a set of points that run together as one program. A *row* is the result of a point.
"""

import dataclasses
import functools
import heapq
import itertools
import json
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from qnn_jax.sweeps.configs import fields
from qnn_jax.sweeps.settings import shown

STATUSES = ("ok", "diverged", "stuck")
"""The possible statuses of a run."""

Value = str | int | float | bool | None
"""A value of an axis."""


class Fields:
  """The resolved config fields, without the axes, that change the results of a point.

  Two with the same JSON are the same object, so that they compare as fast as numbers.

  Attributes:
    values: field -> value, nested as the config is, tuples as lists.
    text: their canonical JSON.
  """

  __slots__ = ("text", "values")

  text: str
  values: dict[str, Any]

  def __new__(cls, values: Mapping[str, Any]):
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    found = _FIELDS.get(text)
    if found is None:
      found = _FIELDS[text] = super().__new__(cls)
      found.text, found.values = text, json.loads(text)
    return found

  def __reduce__(self):
    return Fields, (self.values,)


_FIELDS: dict[str, Fields] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
  """One run.

  Attributes:
    fields: the config fields, one object for all points that differ only in their axes.
    names: the names of the axes.
    values: the values of the axes, in the same order.
  """

  fields: Fields
  names: tuple[str, ...]
  values: tuple[Value, ...]

  def __getitem__(self, name: str) -> Any:
    """The value of an axis, or of a field: 'learning_rate', or 'networks.dense' for a nested one."""
    if name in self.names:
      return self.values[self.names.index(name)]
    return functools.reduce(lambda part, key: part[key], name.split("."), self.fields.values)

  def axes(self) -> dict[str, Value]:
    """axis -> value."""
    return dict(zip(self.names, self.values))

  def without(self, *names: str) -> "Point":
    """The point without the axes `names`: equal for all points that differ only in these axes."""
    kept = [i for i, name in enumerate(self.names) if name not in names]
    return Point(
      self.fields, tuple(self.names[i] for i in kept), tuple(self.values[i] for i in kept)
    )

  def text(self) -> str:
    """The point as one line of JSON, different for any two different points."""
    return json.dumps([self.axes(), self.fields.values], sort_keys=True, separators=(",", ":"))


class Row(NamedTuple):
  """The result of a point.

  Attributes:
    point: the run.
    metrics: name -> a number, a string, None, or a list of these, as JSON holds them.
    status: 'ok', 'diverged' (a loss or a parameter stopped being finite), or 'stuck'.
    params: the final parameters, a tree of arrays, if the job keeps them.
    network: the description from which `trained.load_model` makes the module; see there.
  """

  point: Point
  metrics: Mapping[str, Any]
  status: str = "ok"
  params: Any = None
  network: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Group:
  """Points that run together, in one process.

  Attributes:
    points: the points, each once.
    cost: the cost of running the group, in a unit that all groups of an experiment share.
    program: groups with the same text share compiled programs; a process prefers groups of one program.
    alone: for timings: nothing else may run at the same time, and the whole group runs again even if only
      some of its points are missing.
    title: its name in lists.
  """

  points: tuple[Point, ...]
  cost: float = 1.0
  program: str = ""
  alone: bool = False
  title: str = ""

  def name(self, swept: Sequence[str] = ()) -> str:
    """`title`, or the values of the axes among its points; then the values of the `swept` fields."""
    return "; ".join([self.title or describe(self.points), *_values_of(self.points, swept)])


class Worked(NamedTuple):
  """An event of a group: `cost` of its work is done; with `resumed` it was found done in a checkpoint."""

  cost: float
  resumed: bool = False


class Compiled(NamedTuple):
  """An event of a group: compiling took this many `seconds`."""

  seconds: float


class Said(NamedTuple):
  """An event of a group: a `line` to print after the values of these `points`: how far a long training is, say."""

  line: str
  points: tuple[Point, ...] = ()


def describe(points: Sequence[Point], swept: Sequence[str] = ()) -> str:
  """The values of the axes and of the `swept` fields among the points: 'model ann, qnn; seed 0 to 12; rate 0.1'."""
  parts = []
  for i, name in enumerate(points[0].names):
    values = list(dict.fromkeys(point.values[i] for point in points))
    whole = all(isinstance(value, int) for value in values)
    if len(values) > 3 and whole and values == list(range(values[0], values[0] + len(values))):  # type: ignore[arg-type,operator]
      parts.append(f"{name} {values[0]} to {values[-1]}")
    elif len(values) > 6:
      parts.append(f"{len(values)} of {name}")
    else:
      parts.append(f"{name} {', '.join(map(str, values))}")
  return "; ".join([*parts, *_values_of(points, swept)])


def _values_of(points, swept):
  """A text for each of the `swept` fields, but not for an axis, which a point's fields do not have."""
  every = [fields(of.values) for of in dict.fromkeys(point.fields for point in points)]
  return [
    f"{name} {', '.join(dict.fromkeys(shown(of[name]) for of in every if name in of))}"
    for name in swept
    if any(name in of for of in every)
  ]


def in_parts(items: Sequence, parts: int) -> list[tuple]:
  """Divides items into at most `parts` consecutive parts of nearly equal length, none of them empty."""
  parts = min(parts, len(items))
  ends = [-(-len(items) * i // parts) for i in range(parts + 1)] if parts else []
  return [tuple(items[a:b]) for a, b in itertools.pairwise(ends)]


def alike_in_parts(
  points: Sequence[Point], parts: int, key: Callable[[Point], Hashable], most: int = sys.maxsize
) -> list[tuple[Point, ...]]:
  """Groups points of the same `key`, into about `parts` equal parts of at most `most` points.

  With as many parts as points each point is a part of its own.
  """
  alike: dict[Hashable, list[Point]] = {}
  for point in points:
    alike.setdefault(key(point), []).append(point)
  share = min(most, -(-len(points) // parts))
  return [part for of in alike.values() for part in in_parts(of, -(-len(of) // share))]


def in_slices(groups: Sequence[Group], count: int) -> list[list[Group]]:
  """Divides groups into at most `count` lists of about the same cost, the most expensive list first.

  The lists are the same on every machine. If there are fewer groups, there are fewer lists.
  """
  slices: list[list[Group]] = [[] for _ in range(min(count, len(groups)))]
  least = [(0.0, i) for i in range(len(slices))]
  for group in sorted(groups, key=lambda group: -group.cost):
    cost, i = heapq.heappop(least)
    slices[i].append(group)
    heapq.heappush(least, (cost + group.cost, i))
  return slices
