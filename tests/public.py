"""What of qnn_jax is public: the one place that says so.

A room is a module whose path has no name with an underscore in front. A package with `__all__` speaks for
the modules in it; qnn_jax's own `__all__` only repeats names of its rooms. Public in a room is what its
`__all__` names, or else every function and class that is written there, without an underscore in front.
"""

import importlib
import inspect
import pkgutil

import qnn_jax


def rooms():
  """The names of all rooms."""
  found, spoken_for = [], ()
  for module in pkgutil.walk_packages(qnn_jax.__path__, "qnn_jax."):
    if "._" in module.name or module.name.startswith(spoken_for or ("-",)):
      continue
    found.append(module.name)
    if module.ispkg and hasattr(importlib.import_module(module.name), "__all__"):
      spoken_for += (f"{module.name}.",)
  # A package without `__all__` has nothing of its own.
  return [name for name in found if symbols(name)]


def symbols(room):
  """Name -> function, class or constant, of all that is public in a room."""
  module = importlib.import_module(room)
  if hasattr(module, "__all__"):
    return {name: getattr(module, name) for name in module.__all__}
  return {
    name: value
    for name, value in vars(module).items()
    if not name.startswith("_")
    and (inspect.isclass(value) or inspect.isfunction(value))
    and value.__module__ == room
  }


def members(kind):
  """The names of a class's own methods and properties that are public."""
  own = (inspect.isfunction, inspect.ismethod, lambda value: isinstance(value, property))
  return [
    name
    for name, value in vars(kind).items()
    if not name.startswith("_")
    and any(of(getattr(value, "__func__", value)) for of in own)
    and value.__doc__
  ]
