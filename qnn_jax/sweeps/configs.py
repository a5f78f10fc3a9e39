"""Config files: loaded from Python or from the JSON that every run writes, with one sentence for each fault."""

import functools
import importlib.util
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import ml_collections

from qnn_jax.errors import InputError

Config = ml_collections.ConfigDict


def load(named: str, default: pathlib.Path) -> ml_collections.ConfigDict:
  """The config of `FILE.py`, `FILE.py:PRESET` or `FILE.json`.

  Args:
    named: as on the command line.
    default: the experiment's own config file, whose fields and types a JSON file must have.

  Raises:
    InputError: there is no such file, it cannot be read, or it makes no config.
  """
  text, _, preset = named.partition(":")
  path = pathlib.Path(text)
  if path.suffix == ".json":
    if preset:
      raise InputError(f"{path} is a saved configuration and has no preset '{preset}'")
    return _saved(path, _made(default, ""))
  return _made(path, preset)


def enter(path: pathlib.Path) -> None:
  """Runs a config file in this process, for what it registers: heads of its own, say."""
  _module(path)


def named_sweep(path: pathlib.Path, name: str) -> list[dict[str, Any]]:
  """What the function `sweep_NAME` of a config file returns: a list of {field: value}.

  Raises:
    InputError: there is none of that name, or it returns something else.
  """
  module = _module(path)
  names = sorted(n.removeprefix("sweep_") for n in vars(module) if n.startswith("sweep_"))
  if name not in names:
    there = f"it has {', '.join(names)}" if names else "it has none"
    raise InputError(f"{path} has no sweep '{name}' (a function sweep_{name}); {there}")
  function = getattr(module, f"sweep_{name}")
  if not callable(function):
    raise InputError(
      f"sweep_{name} of {path} must be a function that returns dicts of fields and values"
    )
  found = _in_one_sentence(lambda: list(function() or ()), path)
  if not found or not all(isinstance(changes, Mapping) for changes in found):
    raise InputError(f"sweep_{name} of {path} must return dicts of fields and values, got {found}")
  return [dict(changes) for changes in found]


def _made(path, preset):
  module = _module(path)
  get_config = getattr(module, "get_config", None)
  if not callable(get_config):
    raise InputError(f"{path} has no function get_config, which returns the configuration")
  config = _in_one_sentence(lambda: get_config(preset) if preset else get_config(), path)
  if not isinstance(config, ml_collections.ConfigDict):
    raise InputError(
      f"get_config of {path} must return an ml_collections.ConfigDict, got {type(config).__name__}"
    )
  return ml_collections.ConfigDict(config.to_dict())  # one that can be changed by --config.FIELD


def _module(path: pathlib.Path) -> ModuleType:
  if not path.is_file():
    return _load(path)
  stat = path.stat()
  return _loaded(path.resolve(), stat.st_mtime_ns, stat.st_size, path)


@functools.cache  # once a process: a config may register a head of its own
def _loaded(_resolved, _time, _size, path):
  return _load(path)


def _load(path: pathlib.Path) -> ModuleType:
  if not path.is_file():
    where = "" if path.is_absolute() else f" in {pathlib.Path.cwd()}"
    raise InputError(f"no configuration file '{path}'{where}; name one with --config=FILE.py")
  name = f"qnn_jax_config_{path.stem}"
  spec = importlib.util.spec_from_file_location(name, path)
  if spec is None or spec.loader is None:
    raise InputError(
      f"{path} is no Python file; a configuration is FILE.py, or a run's config.json"
    )
  module = importlib.util.module_from_spec(spec)
  # A config may import its neighbours, as `table4` or `configs.table4`, from wherever the command is given.
  folders = [str(folder) for folder in path.resolve().parents[:2]]
  sys.path += folders
  try:
    _in_one_sentence(functools.partial(spec.loader.exec_module, module), path)
  finally:
    for folder in folders:  # the last, since it may have been there before
      del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
  return module


def _in_one_sentence(call: Callable[[], Any], path: pathlib.Path) -> Any:
  try:
    return call()
  except InputError:
    raise
  except SyntaxError as error:
    raise InputError(f"{path}, line {error.lineno}: {error.msg}; mend the file") from error
  except (Exception, SystemExit) as error:
    why = " ".join(str(error).split()) or "it says nothing"
    raise InputError(f"{path} cannot be used ({type(error).__name__}: {why})") from error


def _saved(path, config):
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise InputError(f"no configuration file '{path}' ({error.strerror})") from error
  except ValueError as error:
    raise InputError(f"{path} is damaged, or no saved configuration ({error})") from error
  if not isinstance(values, dict):
    raise InputError(f"{path} is no saved configuration: it must hold one JSON object")
  _fill(config, values, path, "")
  return config


def _fill(config, values, path, above):
  """Puts saved values into a config of the same fields; what can be a field of another name is refused."""
  for field, value in values.items():
    name = f"{above}{field}"
    if field not in config:
      if above:  # an entry of a table of the user's own, such as one more network
        value = _with_tuples(value)
        config[field] = ml_collections.ConfigDict(value) if isinstance(value, dict) else value
        continue
      raise InputError(
        f"{path} has the field '{name}', which this experiment does not; use its own"
      )
    if isinstance(config[field], ml_collections.ConfigDict) and isinstance(value, dict):
      _fill(config[field], value, path, f"{name}.")
    else:
      config[field] = checked(name, value, config[field])
  for field in [field for field in config if field not in values]:
    if above:
      del config[field]


def _with_tuples(value):
  """The value with tuples in the place of JSON's lists, as configs have them."""
  if isinstance(value, dict):
    return {name: _with_tuples(of_name) for name, of_name in value.items()}
  return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def fields(
  config: Mapping[str, Any] | ml_collections.ConfigDict, above: str = ""
) -> dict[str, Any]:
  """Every field by its dotted name; nested configs, or dicts, by their fields."""
  found: dict[str, Any] = {}
  for name, value in config.items():
    if isinstance(value, (ml_collections.ConfigDict, dict)):
      found |= fields(value, f"{above}{name}.")
    else:
      found[f"{above}{name}"] = value
  return found


def checked(name: str, value: Any, like: Any) -> Any:
  """The value, of the type that the field's present value has; a list becomes a tuple, 1 a float 1.0.

  Raises:
    InputError: it is of another type; a boolean is no number.
  """
  if isinstance(like, (tuple, list)):
    if not isinstance(value, (tuple, list)):
      raise InputError(f"{name} must be a tuple such as {like!r}, got {value!r}")
    if not like:
      return tuple(value)
    try:
      return tuple(checked(name, v, like[0]) for v in value)
    except InputError:
      kinds = {bool: "True or False", int: "whole numbers", float: "numbers", str: "texts"}
      what = kinds.get(type(like[0]), "of one type")
      raise InputError(f"{name} must be {what}, such as {like!r}, got {value!r}") from None
  if isinstance(like, bool) or isinstance(value, bool):
    right = isinstance(like, bool) and isinstance(value, bool)
  elif isinstance(like, float):
    right, value = isinstance(value, (int, float)), _as_float(value)
  else:
    right = like is None or isinstance(value, type(like))
  if not right:
    kind = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    what = kind.get(type(like), f"of type {type(like).__name__}")
    raise InputError(f"{name} must be {what}, as {like!r}, got {value!r}")
  return value


def _as_float(value):
  try:
    return float(value)
  except (TypeError, ValueError, OverflowError):
    return value


def check_types(config: ml_collections.ConfigDict, like: ml_collections.ConfigDict) -> None:
  """InputError for a field whose value is of another type than in `like`; unknown fields are left alone."""
  known = fields(like)
  for name, value in fields(config).items():
    if name in known:
      checked(name, value, known[name])


def product(**values: Iterable) -> list[dict[str, Any]]:
  """Every combination of these fields' values, for named sweeps: product(learning_rate=(0.01, 0.02))."""
  combined: list[dict[str, Any]] = [{}]
  for name, of_field in values.items():
    combined = [{**changes, name: value} for changes in combined for value in of_field]
  return combined
