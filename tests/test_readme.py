"""The README's tables list what is there; its code, commands and links: test_pages.py, test_page_commands.py."""

import pathlib
import re

import pytest

from qnn_jax import layers

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
