"""Text -> HTML: escaping, markdown, numbers, times."""

import datetime
import html
import math
import re
from collections.abc import Mapping
from typing import Any

NONE = "\N{EN DASH}"
"""What a table shows where there is no value."""

_FORBIDDEN = re.compile(
  "[^\t\n -\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0001fffd\U00020000-\U0002fffd]"
)
_REGION = '<div class="scroll" tabindex="0" role="region" aria-label="{label}">'


def escape(value: object) -> str:
  """The value as text of HTML, or of an attribute in double quotes."""
  return html.escape(clean(str(value)))


def clean(text: str) -> str:
  """The text with U+FFFD in the place of characters that HTML forbids, such as control characters."""
  return _FORBIDDEN.sub("\ufffd", text)


def scrolling(table: str, label: str) -> str:
  """A table in a box that scrolls when it is wider than the page; also with the keyboard."""
  return f"{_REGION.format(label=escape(label))}{table}</div>"


def table(head: list[str], lines: list[list[str]], label: str, numbers: int = 0) -> str:
  """A table of cells that are HTML already.

  Args:
    head: the columns' heads.
    lines: rows of cells.
    label: what the table is, for screen readers.
    numbers: how many columns, the last ones, hold numbers.
  """
  first = len(head) - numbers
  cell = lambda tag, i, text: f"<{tag}{' class=n' * (i >= first)}>{text}</{tag}>"
  row = lambda tag, cells: f"<tr>{''.join(cell(tag, i, text) for i, text in enumerate(cells))}</tr>"
  body = "\n".join(row("td", line) for line in lines)
  return scrolling(
    f"<table><thead>{row('th', head)}</thead><tbody>\n{body}\n</tbody></table>", label
  )


def anchor(values: Mapping[str, Any]) -> str:
  """The id of a cell of the runs' table, from its axis -> value, whatever their order.

  In markdown that is shown on a page, a link to `#` and this leads to the cell in the same section.
  """
  parts = [f"{name}-{values[name]}" for name in sorted(values)]
  return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(["cell", *parts]))[:160].strip("-")


def markdown(text: str, label: str, *, shift: int, prefix: str, skip_title: bool) -> str:
  """Markdown as HTML. HTML in it is shown as text, but for `<br>`; pictures are left out.

  Args:
    text: the markdown.
    label: what its tables are, for screen readers.
    shift: by how many levels its headings are lowered.
    prefix: what the ids of its section's cells begin with.
    skip_title: whether its first heading is left out, because the page has it already.
  """
  parser = _parser()
  tokens = parser.parse(clean(text))
  if skip_title and tokens and tokens[0].type == "heading_open":
    tokens = tokens[3:]
  for token in tokens:
    if token.type in ("heading_open", "heading_close"):
      token.tag = f"h{min(6, int(token.tag[1:]) + shift)}"
    for child in token.children or ():
      href = str(child.attrGet("href") or "") if child.type == "link_open" else ""
      if href.startswith("#cell"):
        child.attrSet("href", f"#{prefix}{href[1:]}")
  found = parser.renderer.render(tokens, parser.options, {})
  # None of these three can be text of the document, whose < and > are escaped by now.
  found = found.replace("&lt;br&gt;", "<br>")
  found = found.replace("<table>", f"{_REGION.format(label=escape(label))}<table>")
  return found.replace("</table>", "</table></div>")


def title_of(text: str) -> str:
  """The first heading of a markdown text; "" if it does not begin with one."""
  first = text.lstrip().partition("\n")[0]
  return first.lstrip("#").strip() if first.startswith("#") else ""


def _parser():
  # Imported here, because no worker process needs it.
  from markdown_it import MarkdownIt

  return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def decimals(values: list[float]) -> int | None:
  """How many decimals a column needs for four figures of its largest number; None if that hides others."""
  sizes = [abs(value) for value in values if value and math.isfinite(value)]
  if not sizes:
    return 0
  most = 3 - math.floor(math.log10(max(sizes)))
  # A number more than a thousand times smaller would lose its last figure.
  if most > 6 or most < -3 or min(sizes) * 10 ** max(0, most) < 0.5:
    return None
  return max(0, most)


def number(value: float | None, places: int | None, sign: str = "", most: int = 4) -> str:
  """A number with so many decimals, or with `most` figures if that is None; its minus is U+2212."""
  if value is None or not math.isfinite(value):
    return NONE
  text = f"{value:{sign},.{most}g}" if places is None else f"{value:{sign},.{places}f}"
  return text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
  """'0.4 s', '12 s', '3 min', '2.5 h'."""
  if seconds < 99.5:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
  minutes = seconds / 60
  return f"{minutes:,.0f} min" if minutes < 99.5 else f"{minutes / 60:,.1f} h"


def moment(seconds: float) -> str:
  """Seconds since 1970 as '2026-11-26 08:45:10', UTC."""
  try:
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  except (OSError, OverflowError, ValueError):  # a damaged clock
    return NONE
  return when.strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, name: str) -> str:
  """'1 run', '4,500 runs'."""
  return f"{number:,} {name}{'' if number == 1 else 's'}"
