"""Which values the rows of a task may hold: a check of what is read from disk.

The name of a record has a checksum of its content, so that a flipped bit is found. A wrong value with a
correct checksum is not. Therefore a task describes its metrics and axes with a `Possible`. The functions
below make its entries: `{"accuracy": PERCENT, "loss": list_of(NUMBER)}`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from qnn_jax.sweeps.points import STATUSES

Predicate = Callable[[Any], bool]
"""value -> whether it is possible. It must be a function of a module, so that it can be pickled."""


@dataclasses.dataclass(frozen=True)
class Possible:
  """The possible contents of a task's rows.

  Attributes:
    metrics: name -> a function that says whether a value is possible. It must list all metrics of every
      row; if it is empty, they are not checked. A diverged run may also have None, which stands on disk
      for numbers that are not finite.
    axes: name -> a function of the same kind. Axes that are not listed may be any string, finite number or
      None. True and False, which equal 1 and 0, are possible only on an axis that is listed.
    statuses: the possible statuses.
    fits: (fields and axes, metrics and status) of a row, by name -> whether they fit each other: for
      example, that a list has the length that a field gives. Called only if each value is possible.
    measured: metrics that differ whenever a run is repeated, such as times.
  """

  metrics: Mapping[str, Predicate] = dataclasses.field(default_factory=dict)
  axes: Mapping[str, Predicate] = dataclasses.field(default_factory=dict)
  statuses: tuple[str, ...] = STATUSES
  fits: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None
  measured: tuple[str, ...] = ()


def _is_whole(value, least, most):
  return type(value) is int and least <= value <= most


def _is_number(value, least, most):
  return type(value) in (int, float) and math.isfinite(value) and least <= value <= most


def _is_text(value, choices):
  return type(value) is str and (not choices or value in choices)


def _is_list(value, of, length):
  if type(value) is not list or (length is not None and len(value) != length):
    return False
  return all(map(of, value))


def _is_or_none(value, of):
  return value is None or of(value)


def whole(least: int = 0, most: int = 2**63) -> Predicate:
  """Checks for a whole number from `least` to `most`."""
  return functools.partial(_is_whole, least=least, most=most)


def number(least: float = -math.inf, most: float = math.inf) -> Predicate:
  """Checks for a finite number from `least` to `most`."""
  return functools.partial(_is_number, least=least, most=most)


def text(*choices: str) -> Predicate:
  """Checks for one of the strings `choices`, or any string if none is given."""
  return functools.partial(_is_text, choices=choices)


def flag(value: Any) -> bool:
  """Whether the value is True or False."""
  return type(value) is bool


def list_of(of: Predicate, length: int | None = None) -> Predicate:
  """Checks for a list whose elements pass `of`, with this `length` if it is given."""
  return functools.partial(_is_list, of=of, length=length)


def or_none(of: Predicate) -> Predicate:
  """Checks for None, or a value that passes `of`."""
  return functools.partial(_is_or_none, of=of)


SEED = whole()
"""A seed."""
COUNT = whole()
"""A number of things, from 0."""
NUMBER = number()
"""Any finite number."""
POSITIVE = number(least=0)
"""A finite number of at least 0."""
PERCENT = number(0, 100)
"""An accuracy in percent."""


def scalar(value: Any) -> bool:
  """Whether the value is a finite number, a string or None: the default for axes."""
  if type(value) in (int, float):
    return math.isfinite(value)
  return value is None or type(value) is str
