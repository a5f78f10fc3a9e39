"""Checks of config fields that experiments share: one sentence for the first value that makes no sense."""

import math
import os

import ml_collections

from qnn_jax import heads
from qnn_jax.errors import InputError


def whole(config: ml_collections.ConfigDict, *names: str, least: int = 1) -> None:
  """InputError unless the fields `names` of the config are whole numbers, or tuples of them, from `least` up."""
  for name in names:
    value = config[name]
    if isinstance(value, (tuple, list)):
      if not all(_is_whole(v) and v >= least for v in value):
        raise InputError(f"{name} must be whole numbers of at least {least}, got {tuple(value)}")
    elif not _is_whole(value) or value < least:
      raise InputError(f"{name} must be a whole number of at least {least}, got {value}")


def number(
  config: ml_collections.ConfigDict,
  *names: str,
  above: float | None = None,
  least: float | None = None,
) -> None:
  """InputError unless these fields of the config are finite numbers, or tuples of them, within a bound.

  Args:
    config: the configuration.
    names: the fields.
    above: the numbers must be larger than this.
    least: the numbers must be at least this.
  """
  for name in names:
    values = config[name]
    for value in values if isinstance(values, (tuple, list)) else (values,):
      right = (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
      )
      if right and (above is None or value > above) and (least is None or value >= least):
        continue
      if above == 0:
        kind = "a positive number"
      else:
        kind = "a finite number" + ("" if least is None else f" of at least {least:g}")
      raise InputError(f"{name} must be {kind}, got {value}")


def once(config: ml_collections.ConfigDict, *names: str) -> None:
  """InputError unless the fields `names` of the config hold at least one value, and none twice."""
  for name in names:
    values = config[name]
    if not values or any(value in values[:i] for i, value in enumerate(values)):
      raise InputError(f"{name} must hold at least one value and each once, got {tuple(values)}")


def choice(name: str, value: object, choices) -> None:
  """InputError unless the value of the field `name` is one of the choices."""
  if value not in choices:
    raise InputError(f"{name} must be one of {', '.join(map(str, choices))}, got '{value}'")


def head(name: str, value: str) -> None:
  """InputError unless the value of the field `name` is a head's name, see `heads.get`."""
  try:
    heads.get(value)
  except InputError as error:
    known = str(value).partition(":")[0] in heads.names()
    hint = "" if known else "; a head of your own is known if --config=FILE registers it"
    raise InputError(f"{name}: {error}{hint}") from None


def memory(bytes_needed: float, what: str) -> None:
  """InputError if `bytes_needed` is more than this machine's memory; `what` says what needs it."""
  there = _memory_there()
  if bytes_needed > there:
    raise InputError(
      f"{what} would take {bytes_needed / 2**30:,.0f} GiB of memory, and this machine has "
      f"{there / 2**30:,.0f}; ask for less"
    )


def _memory_there() -> float:
  try:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (AttributeError, ValueError, OSError):
    return math.inf


def _is_whole(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)
