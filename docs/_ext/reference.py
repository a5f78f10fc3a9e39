"""What the reference makes of docstrings: they are plain text, not reStructuredText.

Section names and single backticks are all the markup that they have. So a star is a star (of a product, of
`*window`), a bar is a bar, and an indented formula or table stands as it is written.
"""

import ast
import inspect
import re
import textwrap

from docutils import nodes
from flax import nnx
from sphinx.util.inspect import signature, stringify_signature

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Note):$")
_EXAMPLE = r"(?:^ *>>>.*\n(?:.*\S.*\n)*)"
_CODE = r"`[^`]+`"
_MARKUP = r"[*|]|(?<=\w)_(?!\w)"
_PARTS = re.compile(
  f"(?P<same>{_EXAMPLE})|(?P<code>{_CODE})(?P<joined>\\w?)|{_MARKUP}", re.MULTILINE
)


def plain(lines):
  """Lines of a docstring -> lines of reStructuredText that show it as it is written."""
  text, verbatim = [], []
  in_section = in_list = False
  for line in [*lines, ""]:
    top = line[:1] not in ("", " ")
    if top:
      in_section = bool(_SECTION.match(line))
      in_list = bool(re.match(r"([-*]|\d+\.) ", line))
    if verbatim and top:
      text += ["", "::", "", *verbatim, ""]
      verbatim = []
    if line.startswith(" ") and not (in_section or in_list) or (verbatim and not line):
      verbatim.append(line)
    else:
      text.append(line)
  if any(verbatim):
    text += ["", "::", "", *verbatim]
  return _escaped(text)


def _escaped(lines):
  """With what reStructuredText would take for markup escaped, outside code and formulas."""
  found, at = [], 0
  while at < len(lines):
    # Up to the next formula or table, which begins with "::".
    end = lines.index("::", at) if "::" in lines[at:] else len(lines)
    found += _PARTS.sub(_escape, "\n".join(lines[at:end]) + "\n").split("\n")[:-1]
    at = end
    if at < len(lines):
      at += 1
      while at < len(lines) and (not lines[at] or lines[at].startswith(" ")):
        at += 1
      found += lines[end:at]
  return found


def _escape(match):
  if match["same"]:
    return match["same"]
  if match["code"]:
    # Code ends where a word does; `\\ ` is nothing, and lets a letter follow.
    return match["code"] + ("\\ " + match["joined"] if match["joined"] else "")
  return "\\" + match[0]


def as_written(app, what, name, thing, options, lines):
  """Before napoleon reads the sections."""
  lines[:] = plain(lines)


class _Written(str):
  """A default as the source has it: ZEROS, not <function zeros at 0x7f...>."""

  __repr__ = str.__str__


def signature_of_module(app, what, name, thing, options, arguments, returned):
  """The signature of a layer or network: that of its __init__, which Flax's metaclass hides."""
  if not (isinstance(thing, type) and issubclass(thing, nnx.Module)):
    return None
  found = signature(thing.__init__, bound_method=True)
  (maker,) = ast.parse(textwrap.dedent(inspect.getsource(thing.__init__))).body
  last = maker.args.args[len(maker.args.args) - len(maker.args.defaults) :]
  pairs = zip([*last, *maker.args.kwonlyargs], [*maker.args.defaults, *maker.args.kw_defaults])
  written = {argument.arg: _Written(ast.unparse(value)) for argument, value in pairs if value}
  parameters = [
    parameter.replace(default=written.get(parameter.name, parameter.default))
    for parameter in found.parameters.values()
  ]
  found = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
  return stringify_signature(found, unqualified_typehints=True), None


def skip_member(app, what, name, thing, skip, options):
  """Leaves out what others say: scikit-learn of its methods, and every NamedTuple of its fields."""
  of_sklearn = (getattr(thing, "__module__", None) or "").startswith("sklearn.")
  of_tuple = (inspect.getdoc(thing) or "").startswith("Alias for field number")
  return True if of_sklearn or of_tuple else None


def set_dashes(app, document, name):
  """A dash between a parameter and what it is, where Sphinx writes two hyphens."""
  for text in [*document.findall(nodes.Text)]:
    if text.startswith(" -- "):
      text.parent.replace(text, nodes.Text(" –" + text[3:]))


def setup(app):
  app.connect("autodoc-process-docstring", as_written, priority=400)
  app.connect("autodoc-process-signature", signature_of_module)
  app.connect("autodoc-skip-member", skip_member)
  app.connect("doctree-resolved", set_dashes)
  return {"parallel_read_safe": True}
