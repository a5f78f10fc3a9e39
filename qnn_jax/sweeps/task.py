"""A task: all that an experiment tells the sweep engine. The engine does the rest for all experiments."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Fields, Group, Point, Row, Said, Worked, in_parts
from qnn_jax.sweeps.possible import Possible

Event = Row | list[Row] | Worked | Compiled | Said
"""What the `run` of a task yields."""

# More runs than anybody would wait for; a list of so many still fits in memory.
_MOST_POINTS = 5_000_000


def _one_by_one(points: Sequence[Point], parts: int) -> list[Group]:
  """Groups of consecutive points, one for each part."""
  return [Group(part, cost=len(part)) for part in in_parts(points, parts)]


def _a_core_each(points: Sequence[Point], cores: int) -> int:
  return min(cores, len(points))


@dataclasses.dataclass(frozen=True)
class Task:
  """The runs of an experiment, and how they are run.

  Attributes:
    name: the name of the experiment.
    axes: config field -> axis, such as {"models": "model", "seeds": "seed"}. The field lists values (or is
      a number n, for 0 to n - 1, or a string, its only value), and a point has one of them. All other
      fields of the config are part of every point.
    run: runs a group. It yields a `Row`, or a list of rows that finish together, as soon as they are
      finished, and between them `Worked`, `Compiled` and `Said`. It may be called in any process.
    groups: (points, parts) -> the groups of points that run together as one program: about `parts` groups
      of equal cost, in the order in which they should run. With many parts it must divide the points as
      finely as it can.
    points: config -> the points as {axis: value}. A config field among the keys stands for another value
      of that field. By default all combinations of the axes.
    apart: config fields that change no result, and those that `points` has turned into axes.
    workers: (points, cores) -> the number of processes that is fastest on a CPU.
    possible: the possible contents of its rows. Any other record on disk counts as damaged.
  """

  name: str
  axes: Mapping[str, str]
  run: Callable[[Group, Job], Iterator[Event]]
  groups: Callable[[Sequence[Point], int], list[Group]] = _one_by_one
  points: Callable[[ml_collections.ConfigDict], Iterable[Mapping[str, Any]]] | None = None
  apart: tuple[str, ...] = ()
  workers: Callable[[Sequence[Point], int], int] = _a_core_each
  possible: Possible = dataclasses.field(default_factory=Possible)

  @property
  def axis_names(self) -> tuple[str, ...]:
    """The axes of a point, in order."""
    return tuple(self.axes.values())

  def not_fields(self) -> set[str]:
    """The config fields that are not fields of a point."""
    return {"keep_params", *self.axes, *self.apart}

  def points_of(self, config: ml_collections.ConfigDict) -> list[Point]:
    """The points that the config asks for, each once.

    Raises:
      InputError: there are more points than anybody could run.
    """
    of_axes = [field for field in self.axes if not isinstance(config.get(field, ""), str)]
    count = math.prod(_length(config[field]) for field in of_axes)
    if count > _MOST_POINTS:
      sizes = ", ".join(f"{field} = {_short(config[field])}" for field in of_axes)
      raise InputError(
        f"the configuration asks for {count:.3g} runs ({sizes}), more than fit in memory; "
        f"ask for at most {_MOST_POINTS:,}"
      )
    values = config.to_dict()
    common = {k: v for k, v in values.items() if k not in self.not_fields()}
    known: dict[str, Fields] = {}
    names = self.axis_names
    found: dict[Point, None] = {}
    for combination in (self.points or self.all_combinations)(config):
      changes = {k: v for k, v in combination.items() if k not in names}
      fields = known.get(text := repr(changes))
      if fields is None:
        fields = known[text] = _fields(common | changes)
      found[Point(fields, names, tuple(combination[name] for name in names))] = None
    return list(found)

  def all_combinations(self, config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
    """Every combination of the axes' values in the config; the last axis changes fastest."""
    lists = [axis_values(config[field]) for field in self.axes]
    for values in itertools.product(*lists):
      yield dict(zip(self.axis_names, values))


def axis_values(value: Any) -> Sequence:
  """The values of an axis, by the value of its field: a list, a number n for 0 to n - 1, or one string."""
  if isinstance(value, str):
    return (value,)
  return range(value) if isinstance(value, int) else tuple(value)


def _fields(values):
  try:
    return Fields(values)
  except (TypeError, ValueError):
    pass
  for name, value in values.items():
    try:
      json.dumps(value)
    except (TypeError, ValueError):
      raise InputError(
        f"{name} must be a number, text, a tuple of them or a table, which config.json can hold, got {value!r}"
      ) from None
  raise InputError("the names of the configuration's fields must be strings")


def _length(value):
  return value if isinstance(value, int) else len(value)


def _short(value):
  return f"{value:,}" if isinstance(value, int) else f"{len(value)} values"
