"""Checks that the packages of an optional extra are installed, before they are imported."""

import importlib.util

from qnn_jax.errors import MissingExtra


def need(what: str, *modules: str, extra: str = "experiments") -> None:
  """Raises MissingExtra unless the modules can be imported. It imports none of them.

  Args:
    what: what needs the modules; the error message begins with it.
    modules: their top-level import names.
    extra: the extra of qnn_jax that installs them.

  Raises:
    MissingExtra: one of them is not installed.
  """
  missing = [name for name in modules if importlib.util.find_spec(name) is None]
  if missing:
    raise MissingExtra(f"{what} needs {', '.join(missing)}: pip install 'qnn_jax[{extra}]'")
