"""The built reference has every public symbol."""

import importlib
import inspect

import public
import pytest


@pytest.fixture(scope="module")
def documented(site):
  """The names that the site's inventory has of Python."""
  inventory = pytest.importorskip("sphinx.util.inventory", reason="Sphinx is not installed")
  found = inventory.InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
  return {name for kind, names in found.data.items() if kind.startswith("py:") for name in names}


def _value(name):
  """What a full name stands for; None where it is a field of instances."""
  parts = name.split(".")
  for end in range(len(parts), 0, -1):
    try:
      value = importlib.import_module(".".join(parts[:end]))
    except ImportError:
      continue
    for part in parts[end:]:
      value = getattr(value, part, None)
    return value


def test_every_public_symbol_is_there(documented):
  there = {id(_value(name)) for name in documented}
  for room in public.rooms():
    assert room in documented
    for name, value in public.symbols(room).items():
      # A room may repeat a name of another, where it is documented.
      assert f"{room}.{name}" in documented or id(value) in there, f"{room}.{name}"


def test_every_method_is_there(documented):
  checked = 0
  for room in public.rooms():
    for name, value in public.symbols(room).items():
      if inspect.isclass(value) and f"{room}.{name}" in documented:
        for member in public.members(value):
          assert f"{room}.{name}.{member}" in documented
          checked += 1
  assert checked > 20
