"""The reference of the site, docs/api, has every public symbol, and shows docstrings as they are written.

What is public, public_symbols.py says. That the built site shows all of it, tests/site finds out.
"""

import importlib
import inspect
import pathlib
import re
import sys

import public_symbols
import pytest

import qnn_jax

pytestmark = pytest.mark.fast

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted((DOCS / "api").glob("*.md"))}


def test_every_public_module_is_on_one_page():
  listed = [module for text in PAGES.values() for module in re.findall(r"automodule:: (\S+)", text)]
  assert sorted(listed) == sorted(public_symbols.MODULES)


def test_every_page_is_in_the_index():
  for name in PAGES.keys() - {"index"}:
    assert re.search(rf"^{name}$", PAGES["index"], re.MULTILINE), name


def test_the_names_of_qnn_jax_itself_are_in_the_index():
  named = re.findall(r"\{py:\w+\}`~(qnn_jax\.[\w.]+)`", PAGES["index"])
  assert sorted(path.rsplit(".", 1)[1] for path in named) == sorted(qnn_jax.__all__)
  for path in named:
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is getattr(qnn_jax, name)


@pytest.fixture(scope="module")
def shown():
  """A function: a docstring -> the text that the site shows; raises where it is not well-formed."""
  core = pytest.importorskip("docutils.core", reason="needs the extra docs")
  napoleon = pytest.importorskip("sphinx.ext.napoleon", reason="needs the extra docs")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(DOCS / "_ext"), *sys.path])
    plain = importlib.import_module("reference").plain

  def text_of(doc, what):
    config = napoleon.Config(
      napoleon_custom_sections=[("Attributes", "params_style")], napoleon_use_rtype=False
    )
    lines = plain(inspect.cleandoc(doc).split("\n"))
    text = ".. default-role:: literal\n\n" + str(napoleon.GoogleDocstring(lines, config, what=what))
    return core.publish_doctree(text, settings_overrides={"halt_level": 2}).astext()

  return text_of


@pytest.mark.parametrize("module", public_symbols.MODULES)
def test_docstrings_are_shown_as_they_are_written(module, shown):
  """Stars and bars stay what they are, and nothing is taken for wrong markup."""
  kinds = {"class": inspect.isclass, "module": inspect.ismodule, "function": callable}
  for name, symbol in public_symbols.public_symbols():
    doc = public_symbols.docstring(name, symbol)
    if doc and (name == module or name.rpartition(".")[0] == module):
      text = shown(doc, next((kind for kind, of in kinds.items() if of(symbol)), "data"))
      assert all(text.count(c) >= doc.count(c) for c in "*|"), text


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
