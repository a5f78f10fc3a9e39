"""docs/extend.md's files do, as programs, what the page says: what a reader saves is what runs here."""

import csv
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extend.md").read_text("utf-8")


@pytest.fixture
def saved(tmp_path):
  """A folder with the files of the page: the blocks that begin with a file's name."""
  blocks = re.findall(
    r"^```py(?:thon)?\n# (\S+\.py)\b.*?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
  )
  for name, text in blocks:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
  assert [name for name, _ in blocks] == ["mine.py", "mytrain.py", "slope.py", "configs/slope.py"]
  return tmp_path


def command(folder, *arguments):
  done = subprocess.run(
    [sys.executable, *arguments], cwd=folder, check=False, capture_output=True, text=True,
    env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return done.stdout


def rows(workdir):
  with open(workdir / "results.csv", newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def test_the_experiment_runs_and_is_swept(saved):
  (line,) = [
    line for line in PAGE.splitlines() if line.startswith("python slope.py") and "--sweep" in line
  ]
  command(saved, *line.split()[1:])
  found = rows(saved / "results" / "rates")
  assert len(found) == 2 * 3 * 3 and {row["status"] for row in found} == {"ok"}
  assert {row["learning_rate"] for row in found} == {"0.05", "0.1", "0.2"}
  of_rate = lambda rate: [float(r["error"]) for r in found if r["learning_rate"] == rate]
  assert max(of_rate("0.2")) < 0.3 < max(of_rate("0.05"))  # 20 steps of the smallest are too few


def test_the_head_has_its_place_in_table_4(saved):
  """That such a head trains there: test_table4_command.py."""
  said = command(saved, "-m", "experiments.table4", "--config=mine.py:smoke", "--list")
  assert "runs: 0 of 24 done" in said, said  # 2 models, 2 sizes, 2 epochs, 3 seeds


def test_the_head_trains_in_a_cnn(saved):
  small = "--config.train_size=64", "--config.epochs=1", "--config.dataset=digits"
  command(saved, "-m", "experiments.train", "--config=mytrain.py", *small)
  assert [(row["head"], row["status"]) for row in rows(saved / "results" / "train")] == [
    ("cubic", "ok")
  ]
