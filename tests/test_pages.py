"""What is written on the pages is true: code runs and prints what is said, links lead somewhere.

Each page's ```python blocks run in their order, in one namespace, as a reader pastes them one after
another. A print must give what the comment behind it says, or the comment lines right below it.
"""

import ast
import io
import os
import re
import tokenize

import pages
import pytest

from qnn_jax import heads
from qnn_jax.models import _build

# Code that no test can run is marked ```py; here is why, page by page.
NOT_RUN = {
  "docs/extend.md": "it imports a file that the reader has saved; tests/test_extend.py has it run",
  "docs/sweeps.md": "it loads a network from a finished sweep",
  "docs/train.md": "it is a config of the reader's own; tests/experiments/train has such files run",
}
LANGUAGES = {"python", "py", "sh", "", "text", "json", "yaml", "toml", "bibtex", "dockerfile"}

every_page = pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
WITH_CODE = [page for page in pages.PAGES if pages.blocks(page, "python")]


def told(block):
  """The lines that the block says it prints: behind a print, or in the comments right below it."""
  comments = {
    token.start[0]: (token.start[1], token.string.removeprefix("#").removeprefix(" "))
    for token in tokenize.generate_tokens(io.StringIO(block.code).readline)
    if token.type == tokenize.COMMENT
  }
  lines = block.code.splitlines()
  found = []
  for node in ast.walk(ast.parse(block.code)):
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
      continue
    if getattr(node.value.func, "id", "") != "print":
      continue
    end, said = node.end_lineno, []
    if end in comments:
      said = [comments[end][1]]
    else:
      while end + 1 in comments and lines[end].startswith("#"):
        end += 1
        said.append(comments[end][1])
    found.append((node.lineno, said))
  return [line for _, said in sorted(found) for line in said]


@pytest.fixture
def as_from_the_repository(tmp_path, monkeypatch):
  """A folder to write into, in which a page finds the repository's own folders."""
  for folder in ("configs", "data", "docs", "experiments", "scripts"):
    (tmp_path / folder).symlink_to(pages.ROOT / folder)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("MPLBACKEND", "agg")
  # What a page registers is its own.
  monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))
  monkeypatch.setattr(_build, "_OWN", dict(_build._OWN))


@pytest.mark.usefixtures("as_from_the_repository")
@pytest.mark.parametrize("page", WITH_CODE, ids=pages.name)
def test_its_code_runs_and_prints_what_it_says(page, capsys):
  namespace = {"__name__": page.stem}
  for block in pages.blocks(page, "python"):
    # Lines are counted as on the page, for the traceback.
    code = "\n" * (block.line - 1) + block.code
    exec(compile(code, str(page), "exec"), namespace)
    printed = capsys.readouterr().out.splitlines()
    assert printed == told(block), f"{pages.name(page)}, line {block.line}"


def test_the_pages_show_code_and_what_it_prints():
  shown = [told(block) for page in WITH_CODE for block in pages.blocks(page, "python")]
  assert len(WITH_CODE) >= 4 and sum(map(bool, shown)) >= 8


@pytest.mark.fast
def test_what_is_not_run_has_a_reason():
  marked = {pages.name(page) for page in pages.PAGES if pages.blocks(page, "py")}
  assert marked <= set(NOT_RUN)


@pytest.mark.fast
@every_page
def test_its_blocks_are_of_known_languages(page):
  """So that none escapes these tests by its name; Sphinx's directives stand in braces."""
  for block in pages.blocks(page):
    assert block.language in LANGUAGES or block.language.startswith("{"), block
    assert not re.match(r"\{code", block.language), "a plain block, which the tests find"


@pytest.mark.fast
@every_page
def test_its_links_lead_to_files(page):
  for link in pages.links(page):
    if not re.match(r"[a-z]+:|#", link):
      path = os.path.normpath(page.parent / link.partition("#")[0])
      assert os.path.exists(path), link


@pytest.mark.fast
@every_page
def test_its_addresses_are_well_formed(page):
  """Of other hosts; nothing is asked for, the tests need no network."""
  for link in pages.links(page):
    if re.match(r"[a-z]+:", link):
      assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/\S*)?|mailto:\S+@\S+", link), link


@pytest.mark.fast
@every_page
def test_its_images_have_a_description(page):
  assert not re.findall(r"!\[\s*\]\(", pages.prose(page))
