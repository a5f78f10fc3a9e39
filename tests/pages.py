"""The pages that readers see, and what is written on them: code, commands, links."""

import dataclasses
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).parents[1]
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
  ROOT / "README.md",
  ROOT / "CONTRIBUTING.md",
  ROOT / "CHANGELOG.md",
  ROOT / "scripts" / "cluster" / "README.md",
  ROOT / "experiments" / "results" / "README.md",
  *SITE,
]

_BLOCK = re.compile(
  r"^(?P<indent>[ >]*)(?P<fence>```+)(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)(?P=fence)[ ]*$",
  re.DOTALL | re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block: its language, its code, and the line of the page on which the code begins."""

  language: str
  code: str
  line: int


def name(page):
  """As it is called in messages: its path in the repository."""
  return page.relative_to(ROOT).as_posix()


def blocks(page, *languages):
  """The page's blocks in these languages; in all, if none is named."""
  text = page.read_text("utf-8")
  found = []
  for match in _BLOCK.finditer(text):
    language = match["language"].strip()
    if not languages or language in languages:
      line = text.count("\n", 0, match.start("code")) + 1
      found.append(Block(language, textwrap.dedent(match["code"]), line))
  return found


def prose(page):
  """The page without its blocks."""
  return _BLOCK.sub("", page.read_text("utf-8"))


def links(page):
  """What the page links to, images included: [text](target)."""
  without_code = re.sub(r"`[^`\n]*`", "", prose(page))
  return re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", without_code)
