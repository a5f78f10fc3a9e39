"""The README's example is run as it stands, and its commands name what is there."""

import pathlib
import re

import pytest

from qnn_jax import heads, layers

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.fast
def test_the_example_runs(capsys):
  (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
  assert capsys.readouterr().out.strip() == "(4, 1)"


@pytest.mark.parametrize("page, at_least", [("layers", 3), ("networks", 3), ("sklearn", 3)])
def test_the_examples_of_the_docs_run(page, at_least, capsys, monkeypatch):
  """And print what the comments behind or below their prints say."""
  monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))
  text = (ROOT / f"docs/{page}.md").read_text("utf-8")
  examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  told = 0
  for example in examples:
    exec(compile(example, f"docs/{page}.md", "exec"), {"__name__": page})
    printed = capsys.readouterr().out.splitlines()
    behind = re.findall(r"^print\(.*\)  # (.*)$", example, re.MULTILINE)
    below = re.findall(r"^  print\(.*\)\n((?:# .*\n)+)", example, re.MULTILINE)
    lines = [line for block in below for line in block.replace("# ", "").splitlines()] + behind
    assert printed == lines
    told += len(lines)
  assert told >= at_least


def test_every_experiment_is_in_the_table_and_the_other_way_round():
  page = (ROOT / "docs/reproduce.md").read_text("utf-8")
  listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
  listed = {name for name in listed if (ROOT / "configs" / f"{name}.py").exists()}
  there = {path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")}
  assert listed == there
  assert there == {path.stem for path in (ROOT / "configs").glob("[a-z]*.py")}


@pytest.mark.fast
def test_every_layer_is_in_the_table():
  page = (ROOT / "docs/layers.md").read_text("utf-8")
  listed = set(re.findall(r"^\| `(\w+(?:Linear|Conv))` \|", page, re.MULTILINE))
  assert sorted(listed) == sorted(set(layers.__all__) - {"QuadraticParam"})


@pytest.mark.fast
def test_linked_files_exist():
  links = re.findall(r"\]\((docs/[^)]*)\)", README)
  assert links
  assert all((ROOT / link).exists() for link in links)
