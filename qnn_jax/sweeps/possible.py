"""What may stand in a task's rows: whether a value that was read from a disk is possible at all.

A record's name tells its content, so that a bit that turned over shows; what somebody has written with care
and by mistake does not. `Possible` is what a task says of its metrics and axes; the functions below make
its entries: `{"accuracy": PERCENT, "loss": list_of(NUMBER)}`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from qnn_jax.sweeps.points import STATUSES

Predicate = Callable[[Any], bool]
"""value -> whether it is possible; a function of a module, so that it pickles."""


@dataclasses.dataclass(frozen=True)
class Possible:
  """What a task's rows may hold.

  Attributes:
    metrics: name -> whether a value is possible: all metrics of every row, or none to have them
      unchecked. None, which what is not finite becomes on disk, is possible in a diverged run besides.
    axes: name -> the same; of others, any text, finite number or None. True and False, which equal 1 and
      0, are possible only on an axis that says so here.
    statuses: those that occur.
    fits: (fields and axes, metrics and status) of a row by name -> whether they fit each other: a list has
      the length that a field says, say. Called only where each is possible by itself.
    measured: metrics that are times or the like: they differ whenever a run is done again.
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
  """A whole number in this range."""
  return functools.partial(_is_whole, least=least, most=most)


def number(least: float = -math.inf, most: float = math.inf) -> Predicate:
  """A finite number in this range."""
  return functools.partial(_is_number, least=least, most=most)


def text(*choices: str) -> Predicate:
  """One of these texts; any, if none is given."""
  return functools.partial(_is_text, choices=choices)


def flag(value: Any) -> bool:
  """True or False."""
  return type(value) is bool


def list_of(of: Predicate, length: int | None = None) -> Predicate:
  """A list of these, of this length if it is given."""
  return functools.partial(_is_list, of=of, length=length)


def or_none(of: Predicate) -> Predicate:
  """One of these, or None."""
  return functools.partial(_is_or_none, of=of)


SEED = whole()
COUNT = whole()
NUMBER = number()
POSITIVE = number(least=0)
PERCENT = number(0, 100)
"""An accuracy."""


def scalar(value: Any) -> bool:
  """What an axis may have where its task says nothing of it."""
  if type(value) in (int, float):
    return math.isfinite(value)
  return value is None or type(value) is str
