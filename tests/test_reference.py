"""The reference of the site, docs/api, has every public symbol, and every public symbol a docstring.

That the built site shows them all, tests/site finds out.
"""

import importlib
import inspect
import pathlib
import re
import sys

import public
import pytest

import qnn_jax

pytestmark = pytest.mark.fast

DOCS = pathlib.Path(__file__).parents[1] / "docs"
API = DOCS / "api"
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


@pytest.fixture(scope="module")
def shown():
  """A function: a docstring -> the text that the site shows; raises where it is not well-formed."""
  core = pytest.importorskip("docutils.core", reason="needs the extra docs")
  napoleon = pytest.importorskip("sphinx.ext.napoleon", reason="needs the extra docs")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(DOCS / "_ext"), *sys.path])
    plain = importlib.import_module("reference").plain

  def text_of(doc, what):
    config = napoleon.Config(napoleon_use_ivar=True, napoleon_use_rtype=False)
    lines = plain(inspect.cleandoc(doc).split("\n"))
    text = ".. default-role:: literal\n\n" + str(napoleon.GoogleDocstring(lines, config, what=what))
    return core.publish_doctree(text, settings_overrides={"halt_level": 2}).astext()

  return text_of


@pytest.mark.parametrize("room", public.rooms())
def test_docstrings_are_shown_as_they_are_written(room, shown):
  """Stars and bars stay what they are, and nothing is taken for wrong markup."""
  things = [importlib.import_module(room), *public.symbols(room).values()]
  for thing in things:
    if callable(thing) or inspect.ismodule(thing):
      what = (
        "class" if inspect.isclass(thing) else "module" if inspect.ismodule(thing) else "function"
      )
      text = shown(thing.__doc__, what)
      assert all(text.count(c) >= thing.__doc__.count(c) for c in "*|"), text


def test_formulas_stand_as_they_are_written(shown):
  doc = """Says z.

  It is:

    z = a * b_
      + |c|

  - one `f_`s
    two

  Args:
    x: [*window, c].
  """
  text = shown(doc, "function")
  assert "z = a * b_\n  + |c|" in text and "one f_s\ntwo" in text and "[*window, c]" in text
