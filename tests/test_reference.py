"""The reference of the site, docs/api, has every public symbol, and every public symbol a docstring.

That the built site shows them all, tests/site finds out.
"""

import importlib
import inspect
import pathlib
import re

import public
import pytest

import qnn_jax

pytestmark = pytest.mark.fast

API = pathlib.Path(__file__).parents[1] / "docs" / "api"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(API.glob("*.md"))}


def test_every_room_is_on_one_page():
  listed = [
    room for text in PAGES.values() for room in re.findall(r"automodule:: (qnn_jax\.\S+)", text)
  ]
  assert sorted(listed) == sorted(public.rooms())


def test_every_page_is_in_the_index():
  for name in PAGES.keys() - {"index"}:
    assert re.search(rf"^{name}$", PAGES["index"], re.MULTILINE), name


def test_the_names_of_qnn_jax_itself_are_in_the_index():
  named = re.findall(r"\{py:\w+\}`~(qnn_jax\.[\w.]+)`", PAGES["index"])
  assert sorted(path.rsplit(".", 1)[1] for path in named) == sorted(qnn_jax.__all__)
  for path in named:
    room, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(room), name) is getattr(qnn_jax, name)


@pytest.mark.parametrize("room", public.rooms())
def test_every_symbol_has_a_docstring(room):
  assert importlib.import_module(room).__doc__, room
  for name, symbol in public.symbols(room).items():
    if inspect.isclass(symbol) or inspect.isfunction(symbol):
      # Of a class its own: an inherited docstring says nothing of this one.
      doc = (vars(symbol).get("__doc__") if inspect.isclass(symbol) else symbol.__doc__) or ""
      # Of a dataclass or NamedTuple without a docstring Python makes "Name(field, ...)".
      assert doc and not doc.startswith(f"{name}("), f"{room}.{name} has no docstring"
