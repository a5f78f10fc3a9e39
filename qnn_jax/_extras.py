"""What only an extra installs: asked for before it is imported, in one sentence."""

import importlib.util

from qnn_jax.errors import MissingExtra


def need(what: str, *modules: str, extra: str = "experiments") -> None:
  """Does nothing where the modules can be imported; imports none of them.

  Args:
    what: who needs them, the beginning of the sentence.
    modules: their top-level names, as they are imported.
    extra: that brings them.

  Raises:
    MissingExtra: one of them is not installed.
  """
  missing = [name for name in modules if importlib.util.find_spec(name) is None]
  if missing:
    raise MissingExtra(f"{what} needs {', '.join(missing)}: pip install 'qnn_jax[{extra}]'")
