"""Points, groups and rows: the words that an experiment and the engine share.

A *point* is one run: the values of the config fields that change its numbers, and a seed. Some fields
are *axes*, of which a config lists several values (sizes, seeds): a point has one of each. A *group* is the
points that run together as one program. A *row* is what came of a point.
"""

import dataclasses
import functools
import heapq
import itertools
import json
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

STATUSES = ("ok", "diverged", "stuck")

Value = str | int | float | bool | None


class Fields:
  """The resolved config fields, beside the axes, that change the numbers of a point.

  Two of the same JSON are one object, so that they compare as fast as numbers.

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
    fields: shared by the points that differ in axes only.
    names: of the axes.
    values: of the axes, in the same order.
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
    """The point without these axes: alike for all points that differ in them only."""
    kept = [i for i, name in enumerate(self.names) if name not in names]
    return Point(
      self.fields, tuple(self.names[i] for i in kept), tuple(self.values[i] for i in kept)
    )

  def text(self) -> str:
    """All of it as one line of JSON: never the same for two different points."""
    return json.dumps([self.axes(), self.fields.values], sort_keys=True, separators=(",", ":"))


class Row(NamedTuple):
  """What came of a point.

  Attributes:
    point: the run.
    metrics: name -> a number, text, None, or a list of them: what JSON holds.
    status: 'ok', 'diverged' (a loss or a parameter stopped being finite), or 'stuck'.
    params: its final parameters, a tree of arrays, where the job keeps them.
    network: what `trained.load_model` makes the module from; see there.
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
    points: each once.
    cost: of running it, in any unit that the groups of an experiment share.
    program: groups with the same text share compiled programs: a process keeps to one if it can.
    alone: nothing may run beside it, and it runs whole even if only a part of it is missing: timings.
    title: what a list calls it.
  """

  points: tuple[Point, ...]
  cost: float = 1.0
  program: str = ""
  alone: bool = False
  title: str = ""

  @property
  def name(self) -> str:
    """`title`, or what its points have in common and how many they are."""
    return self.title or describe(self.points)


class Worked(NamedTuple):
  """An event of a group: so much of its cost is done, or was found done in a checkpoint."""

  cost: float
  resumed: bool = False


class Compiled(NamedTuple):
  """An event of a group: this many seconds went into compiling."""

  seconds: float


class Said(NamedTuple):
  """An event of a group: a line to print, such as how a long training stands."""

  line: str


def describe(points: Sequence[Point]) -> str:
  """The axes' values among the points in words: 'model ann, qnn; seed 0 to 12'."""
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
  return "; ".join(parts)


def in_parts(items: Sequence, parts: int) -> list[tuple]:
  """Consecutive parts as equal as can be, without empty ones."""
  parts = min(parts, len(items))
  ends = [-(-len(items) * i // parts) for i in range(parts + 1)] if parts else []
  return [tuple(items[a:b]) for a, b in itertools.pairwise(ends)]


def alike_in_parts(
  points: Sequence[Point], parts: int, key: Callable[[Point], Hashable], most: int = sys.maxsize
) -> list[tuple[Point, ...]]:
  """Points of the same key together, in about `parts` equal parts, none of more than `most` points.

  With as many parts as points each point is alone.
  """
  alike: dict[Hashable, list[Point]] = {}
  for point in points:
    alike.setdefault(key(point), []).append(point)
  share = min(most, -(-len(points) // parts))
  return [part for of in alike.values() for part in in_parts(of, -(-len(of) // share))]


def in_slices(groups: Sequence[Group], count: int) -> list[list[Group]]:
  """At most `count` lists of groups that cost about the same, alike on every machine: the dearest first.

  There are fewer lists where there are fewer groups.
  """
  slices: list[list[Group]] = [[] for _ in range(min(count, len(groups)))]
  least = [(0.0, i) for i in range(len(slices))]
  for group in sorted(groups, key=lambda group: -group.cost):
    cost, i = heapq.heappop(least)
    slices[i].append(group)
    heapq.heappush(least, (cost + group.cost, i))
  return slices
