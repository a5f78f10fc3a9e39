"""The built reference has every public symbol."""

import inspect
import re
import types

import public_symbols
import pytest


@pytest.fixture(scope="module")
def documented(site):
  """The names of Python that the site's inventory has."""
  inventory = pytest.importorskip("sphinx.util.inventory", reason="Sphinx is not installed")
  found = inventory.InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
  return {name for kind, names in found.data.items() if kind.startswith("py:") for name in names}


def test_every_public_symbol_is_there(documented):
  symbols = public_symbols.public_symbols()
  # A constant of a package is shown by its name in the package's private module.
  shown = {re.sub(r"\._\w+", "", name) for name in documented}
  there = {id(symbol) for name, symbol in symbols if name in shown}
  missing = [
    name
    for name, symbol in symbols
    # qnn_jax repeats names of its modules. A constant that has no docstring is not shown.
    if not (name in shown or (name.count(".") == 1 and id(symbol) in there))
    and public_symbols.docstring(name, symbol)
  ]
  assert not missing and len(documented) > 150


def test_every_method_is_there(documented):
  checked = 0
  for name, symbol in public_symbols.public_symbols():
    if (
      inspect.isclass(symbol) and not isinstance(symbol, types.GenericAlias) and name in documented
    ):
      for method, function in public_symbols.methods(symbol):
        assert f"{name}.{method}" in documented or not function.__doc__, f"{name}.{method}"
        checked += 1
  assert checked > 20
