"""Sweeps over fields: `--sweep.FIELD=VALUES` and named sweeps -> settings, a config for each combination."""

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from qnn_jax.errors import InputError
from qnn_jax.sweeps.configs import checked, fields


class Setting(NamedTuple):
  """One combination of swept values.

  Attributes:
    swept: field -> value, the fields by their dotted names; empty without a sweep.
    config: the whole configuration with these values.
  """

  swept: dict[str, Any]
  config: ml_collections.ConfigDict

  @property
  def title(self) -> str:
    """'learning_rate = 0.01, init_scale = 0.02'; empty without a sweep."""
    return ", ".join(f"{name} = {shown(value)}" for name, value in self.swept.items())


def take_flags(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
  """(the other arguments, field -> text of its values) of a command line with `--sweep.FIELD=VALUES`.

  Raises:
    InputError: a sweep without values, or of one field twice.
  """
  rest, found, waiting = [], {}, None
  for argument, after in zip(arguments, [*arguments[1:], "--"]):
    if waiting is not None and argument.startswith("--"):
      break
    if argument in ("-sweep", "--sweep") and after.startswith("--"):
      raise InputError(
        "--sweep has no name; write --sweep=NAME for a named sweep, --sweep.FIELD=VALUE,VALUE for a field"
      )
    if waiting is not None:
      found[waiting], waiting = argument, None
      continue
    match = re.fullmatch(r"--?sweep\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
    if match is None:
      rest.append(argument)
      continue
    name, text = match.groups()
    if name in found:
      raise InputError(f"--sweep.{name} is given twice; give its values once, with commas")
    found[name] = ""
    if text is None:
      waiting = name
    else:
      found[name] = text
  if waiting is not None:
    raise InputError(f"--sweep.{waiting} has no values; write --sweep.{waiting}=VALUE,VALUE")
  return rest, found


def combine(
  config: ml_collections.ConfigDict,
  flags: Mapping[str, str],
  named: Sequence[Mapping[str, Any]] = ({},),
  fixed: Sequence[str] = (),
) -> list[Setting]:
  """The settings of a sweep: all combinations of the flags' values with each entry of a named sweep.

  Args:
    config: with the types that values must have.
    flags: field -> text of its values, Python literals with commas between them.
    named: from `configs.named_sweep`.
    fixed: fields that change no result.

  Raises:
    InputError: a field does not exist, or its values have another type, are given twice or are missing.
  """
  known = fields(config)
  lists = [[(name, value) for value in _values(name, flags[name], known, fixed)] for name in flags]
  settings: list[Setting] = []
  for changes, *values in itertools.product(named, *lists):
    swept = {name: _known(name, value, known, fixed) for name, value in changes.items()}
    for name, value in values:
      if name in swept:
        raise InputError(f"the named sweep changes {name}, and so does --sweep.{name}: use one")
      swept[name] = value
    of_setting = ml_collections.ConfigDict(config.to_dict())
    of_setting.update_from_flattened_dict(swept)
    settings.append(Setting(swept, of_setting))
  # An entry of a named sweep that does not change a field still has a value of that field.
  names = list(dict.fromkeys(name for setting in settings for name in setting.swept))
  whole: list[Setting] = []
  for setting in settings:
    values = fields(setting.config)
    swept = {name: values[name] for name in names}
    if any(other.swept == swept for other in whole):
      raise InputError(f"the sweep has {shown(swept)} twice; give each value once")
    whole.append(Setting(swept, setting.config))
  return whole


def shown(value: Any) -> str:
  """A value as the user would write it."""
  return value if isinstance(value, str) else repr(value)


def _known(name, value, known, fixed):
  if name in fixed:
    raise InputError(f"{name} changes no result, so that it cannot be swept; use --config.{name}")
  if name not in known:
    raise InputError(
      f"the configuration has no field '{name}' to sweep; it has {', '.join(sorted(known))}"
    )
  return checked(name, value, known[name])


def _values(name, text, known, fixed):
  if name in known and not text.strip():
    raise InputError(f"--sweep.{name} has no values; write --sweep.{name}=VALUE,VALUE")
  is_text = isinstance(known.get(name), str)
  try:
    found = ast.literal_eval(f"({text},)")
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    if not is_text and name in known:
      raise InputError(
        f"--sweep.{name}={text} is not Python literals with commas between them, such as "
        f"{_example(known[name])}"
      ) from None
    found = tuple(part.strip() for part in text.split(","))
  if isinstance(known.get(name), (tuple, list)) and not all(
    isinstance(value, (tuple, list)) for value in found
  ):
    raise InputError(
      f"{name} is a tuple: write --sweep.{name}='{_example(known[name])}', got {text}"
    )
  found = [_known(name, value, known, fixed) for value in found]
  if any(value in found[:i] for i, value in enumerate(found)):
    raise InputError(f"--sweep.{name}={text} has a value twice; give each once")
  return found


def _example(like):
  return f"{like!r},{like!r}" if isinstance(like, (tuple, list)) else f"{like!r}"
