"""Table 5's command: its files, that a rerun measures nothing, and what it says of mistakes."""

import csv
import time

import pytest
from command_line import contents, run

from configs import table5 as table5_config
from experiments.table5.task import TASK, check, check_data, groups
from qnn_jax.errors import InputError

TINY = (
  "--config=configs/table5.py:smoke", "--config.train_size=120", "--config.epochs=1",
  "--config.hidden=3", "--config.runs_at_once=(1,2)",
)  # fmt: skip
FILES = {"config.json", "results.csv", "report.html", "table5.md", "table5.csv", "table5.png"}


def command(*arguments):
  return run("experiments.table5", *arguments)


def tiny():
  config = table5_config.get_config("smoke")
  config.update(train_size=120, epochs=1, hidden=3, runs_at_once=(1, 2))
  return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The command's output and its workdir."""
  workdir = tmp_path_factory.mktemp("table5") / "new"
  done = command(*TINY, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  return done.stdout, workdir


def test_it_writes_its_files_and_shows_its_rows(finished):
  output, workdir = finished
  assert {path.name for path in workdir.iterdir() if path.is_file()} == FILES
  assert (workdir / "table5.png").read_bytes().startswith(b"\x89PNG")
  rows = list(csv.DictReader((workdir / "table5.csv").read_text().splitlines()))
  models = ("ann", "qnn", "rpqnn")
  assert [(row["seeds"], row["model"]) for row in rows] == [(n, m) for n in "12" for m in models]
  assert all(float(row["seconds"]) > 0 and 0 < float(row["accuracy"]) < 100 for row in rows)
  assert all(float(row["ratio"]) == 1 for row in rows if row["model"] == "ann")
  assert "RPQNN" in output and str(workdir) in output
  assert (workdir / "results.csv").read_bytes() == (workdir / "table5.csv").read_bytes()


def test_a_rerun_measures_nothing_and_makes_the_derived_files_again(finished):
  workdir = finished[1]
  before = contents(workdir)
  for name in FILES - {"config.json"}:
    (workdir / name).unlink()
  done = command(*TINY, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert contents(workdir) == before


def test_models_are_measured_together_and_anew_when_one_is_missing(finished):
  workdir = finished[1]
  before = contents(workdir / "records")
  two = [path for path in before if "seeds2" in path.name]
  assert len(before) == 2 and len(two) == 1
  time.sleep(0.01)
  models = "--config.models=('ann','qnn','rpqnn','heavy')"
  done = command(*TINY, models, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  rows = list(csv.DictReader((workdir / "results.csv").read_text().splitlines()))
  assert [row["model"] for row in rows] == ["ann", "qnn", "rpqnn", "heavy"] * 2
  # The times beside heavy's are of its own group, not of the former one.
  after = contents(workdir / "records")
  assert len(after) == 4 and before.items() < after.items()
  (text,) = [
    text.decode() for path, text in after.items() if path not in before and b"[2, " in text
  ]
  seconds = [row["seconds"] for row in rows if row["seeds"] == "2"]
  assert all(second in text for second in seconds)


def test_every_number_of_runs_is_a_group_that_runs_alone():
  found = groups(TASK.points_of(tiny()), 2)
  assert [(len(group.points), group.alone) for group in found] == [(3, True), (3, True)]


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path):
  workdir = tmp_path / "new"
  done = command(*TINY, "--config.train_size=70000", f"--workdir={workdir}")
  assert done.returncode != 0
  assert done.stderr == (
    "error: train_size is 70000, but the data set has 60000 training samples\n"
  )
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("name", "value", "what"),
  [
    ("models", ("qnn", "rpqnn"), "models must hold 'ann'"),
    ("models", ("ann", "cubic"), "unknown head 'cubic'"),
    ("models", ("ann", "ann"), "models must hold at least one value and each once"),
    ("models", (), "models must hold 'ann'"),
    ("runs_at_once", (), "runs_at_once must hold at least one value and each once"),
    ("runs_at_once", (1, 1), "runs_at_once must hold at least one value and each once"),
    ("runs_at_once", (0, 1), "runs_at_once must be whole numbers of at least 1"),
    ("runs_at_once", (True,), "runs_at_once must be whole numbers of at least 1"),
    ("train_size", 0, "train_size must be a whole number of at least 1, got 0"),
    ("epochs", 0, "epochs must be a whole number of at least 1, got 0"),
    ("hidden", -3, "hidden must be a whole number of at least 1, got -3"),
    ("learning_rate", 0.0, "learning_rate must be a positive number, got 0.0"),
    ("learning_rate", float("nan"), "learning_rate must be a positive number"),
    ("init_scale", -0.01, "init_scale must be a positive number"),
    ("init_scale", float("inf"), "init_scale must be a positive number"),
    ("hidden", 10**6, "hidden = 1000000 would take .* GiB of memory, and this machine has"),
    ("runs_at_once", (1, 10**9), "1000000000 runs at once would take"),
    ("block", 0, "block and sub_block must be at least 1"),
  ],
)
def test_a_value_that_makes_no_sense_is_named(name, value, what):
  config = tiny()
  config[name] = value
  with pytest.raises(InputError, match=what):
    check(config)
    check_data(config)


def test_unknown_preset():
  with pytest.raises(InputError, match="unknown preset 'fast'"):
    table5_config.get_config("fast")
