"""What is public: one list, for the tests of docstrings and for the API reference of the site."""

import ast
import functools
import importlib
import inspect
import pathlib
import types

# The modules that users import from: first the library, then what an experiment is written with.
MODULES = (
  "qnn_jax",
  "qnn_jax.layers",
  "qnn_jax.ops",
  "qnn_jax.heads",
  "qnn_jax.models",
  "qnn_jax.surgery",
  "qnn_jax.inspect",
  "qnn_jax.losses",
  "qnn_jax.initializers",
  "qnn_jax.sklearn",
  "qnn_jax.datasets",
  "qnn_jax.complexity",
  "qnn_jax.errors",
  "qnn_jax.training.minibatch",
  "qnn_jax.training.optimizers",
  "qnn_jax.training.fleet",
  "qnn_jax.training.per_sample",
  "qnn_jax.training.logistic",
  "qnn_jax.training.evaluate",
  "qnn_jax.training.devices",
  "qnn_jax.training.sharded",
  "qnn_jax.command",
  "qnn_jax.experiment",
  "qnn_jax.sweeps.task",
  "qnn_jax.sweeps.points",
  "qnn_jax.sweeps.possible",
  "qnn_jax.sweeps.checks",
  "qnn_jax.sweeps.job",
  "qnn_jax.sweeps.trained",
  "qnn_jax.reports.report",
  "qnn_jax.reports.rows",
  "qnn_jax.reports.figures",
  "qnn_jax.reports.panels",
  "qnn_jax.reports.boundaries",
)


def public_symbols() -> list[tuple[str, object]]:
  """Every public symbol as (qualified name, object): modules, functions, classes and constants.

  A module's public names are those of its `__all__`. Where it has none, they are the functions,
  classes and constants that its own source defines under a name without a leading underscore.
  """
  found: list[tuple[str, object]] = []
  for name in MODULES:
    module = importlib.import_module(name)
    found.append((name, module))
    own = getattr(module, "__all__", None) or [*statements(module)]
    values = [(f"{name}.{each}", getattr(module, each)) for each in own]
    # A module of a package's `__all__` has its own place in the list.
    found += [pair for pair in values if not isinstance(pair[1], types.ModuleType)]
  return found


def methods(symbol: type) -> list[tuple[str, object]]:
  """The public methods and properties that a class defines itself, as (name, function)."""
  found = []
  of_data = {*getattr(symbol, "__dataclass_fields__", ())}  # a default may be a function
  for name, value in vars(symbol).items():
    value = getattr(value, "__func__", getattr(value, "fget", value))  # classmethod, property
    if not name.startswith("_") and name not in of_data and inspect.isfunction(value):
      found.append((name, value))
  return found


def docstring(name: str, symbol: object) -> str:
  """A symbol's own docstring, not an inherited one; a constant's is the string below it."""
  if isinstance(symbol, (types.ModuleType, types.FunctionType, type)) or hasattr(
    symbol, "__wrapped__"
  ):
    written = vars(symbol).get("__doc__") if isinstance(symbol, type) else symbol.__doc__
    made = f"{symbol.__name__}("  # what a NamedTuple or a dataclass writes for itself
    return "" if not written or written.startswith(made) else inspect.cleandoc(written)
  module, _, own = name.rpartition(".")
  for each in (importlib.import_module(module), *_modules_below(module)):
    if own in statements(each):
      below = statements(each)[own]
      return inspect.cleandoc(below) if below else ""
  return ""


@functools.cache
def statements(module: types.ModuleType) -> dict[str, str | None]:
  """Public names that a module's source defines, each with the string that stands below it."""
  body = ast.parse(pathlib.Path(str(module.__file__)).read_text("utf-8")).body
  found: dict[str, str | None] = {}
  for node, following in zip(body, [*body[1:], None], strict=True):
    names: list[str] = []
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      names = [node.name]
    elif isinstance(node, ast.Assign):
      names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
      names = [node.target.id]
    string = None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
      string = str(following.value.value)
    found |= {name: string for name in names if not name.startswith("_")}
  return found


def _modules_below(package: str) -> list[types.ModuleType]:
  """The private modules of a package, which define what it offers."""
  folder = pathlib.Path(str(importlib.import_module(package).__file__))
  if folder.name != "__init__.py":
    return []
  return [
    importlib.import_module(f"{package}.{each.stem}")
    for each in folder.parent.glob("_*.py")
    if each.stem != "__init__"
  ]
