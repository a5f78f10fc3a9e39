"""The version, in all the places that name it."""

import pathlib
import re
import tomllib

import pytest
import yaml

import qnn_jax

ROOT = pathlib.Path(__file__).parent.parent

pytestmark = pytest.mark.fast


def test_the_version_is_the_same_everywhere():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
  changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
  version, date = re.search(r"^## ([\d.]+) \(([\d-]+)\)$", changes, re.MULTILINE).groups()
  assert qnn_jax.__version__ == project["version"] == citation["version"] == version
  assert citation["date-released"] == date


def test_the_source_distribution_names_what_is_there():
  lines = (ROOT / "MANIFEST.in").read_text("utf-8").splitlines()
  for line in lines:
    command, *names = line.split() or [""]
    if command in ("graft", "include"):
      assert all((ROOT / name).exists() for name in names), line
  grafted = {line.split()[1] for line in lines if line.startswith("graft ")}
  assert {"configs", "data", "experiments", "scripts", "tests"} <= grafted
