"""Table 5's command: its files, that a rerun measures nothing, and what it says of mistakes."""

import csv
import pathlib
import subprocess
import sys

import pytest

from configs import table5 as table5_config
from experiments import table5 as table5_experiment
from qnn_jax.errors import InputError
from qnn_jax.sweeps import timing

ROOT = pathlib.Path(__file__).parents[2]
TINY = (
  "--config=configs/table5.py:smoke", "--config.train_size=120", "--config.epochs=1",
  "--config.hidden=3", "--config.seeds=(1,2)",
)  # fmt: skip
FILES = {"config.json", "results.csv", "table5.md", "table5.csv", "table5.png"}


def command(*arguments):
  program = [sys.executable, "-m", "experiments.table5", *arguments]
  return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


def tiny():
  config = table5_config.get_config("smoke")
  config.train_size, config.epochs, config.hidden, config.seeds = 120, 1, 3, (1, 2)
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
  assert {path.name for path in workdir.iterdir()} == FILES
  assert (workdir / "table5.png").read_bytes().startswith(b"\x89PNG")
  rows = list(csv.DictReader((workdir / "table5.csv").read_text().splitlines()))
  models = ("ann", "qnn", "rpqnn")
  assert [(row["seeds"], row["model"]) for row in rows] == [(n, m) for n in "12" for m in models]
  assert all(float(row["seconds"]) > 0 and 0 < float(row["accuracy"]) < 100 for row in rows)
  assert all(float(row["ratio"]) == 1 for row in rows if row["model"] == "ann")
  assert "RPQNN" in output and str(workdir) in output


def test_a_rerun_measures_nothing_and_makes_the_derived_files_again(finished, monkeypatch):
  workdir = finished[1]
  before = {path.name: path.read_bytes() for path in workdir.iterdir()}
  stamp = (workdir / "results.csv").stat().st_mtime_ns
  for name in FILES - {"config.json", "results.csv"}:
    (workdir / name).unlink()
  monkeypatch.setattr(timing, "measure", None)
  table5_experiment.main(tiny(), workdir)
  assert (workdir / "results.csv").stat().st_mtime_ns == stamp
  assert {path.name: path.read_bytes() for path in workdir.iterdir()} == before


def test_only_the_missing_number_of_runs_is_measured(finished, tmp_path, monkeypatch):
  lines = (finished[1] / "results.csv").read_text().splitlines(keepends=True)
  (tmp_path / "results.csv").write_text("".join(lines[:4]))
  asked = []

  def measure(config, seeds):
    asked.append(seeds)
    return [timing.Timing(model, seeds, 1.0, 50.0) for model in config.models]

  monkeypatch.setattr(timing, "measure", measure)
  table5_experiment.main(tiny(), tmp_path)
  assert asked == [2]
  found = (tmp_path / "results.csv").read_text().splitlines(keepends=True)
  assert found[:4] == lines[:4] and len(found) == 7


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path):
  workdir = tmp_path / "new"
  done = command(*TINY, "--config.train_size=70000", f"--workdir={workdir}")
  assert done.returncode != 0
  assert done.stderr == (
    "error: train_size is 70000, but the data set has 60000 training samples\n"
  )
  assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
  ("name", "value", "what"),
  [
    ("models", ("qnn", "rpqnn"), "models must hold 'ann'"),
    ("models", ("ann", "cubic"), "unknown head 'cubic'"),
    ("models", ("ann", "ann"), "models must hold at least one value and each once"),
    ("models", (), "models must hold 'ann'"),
    ("seeds", (), "seeds must hold at least one value and each once"),
    ("seeds", (1, 1), "seeds must hold at least one value and each once"),
    ("seeds", (0, 1), "seeds must be numbers of runs of at least 1"),
    ("seeds", ("one",), "seeds must be numbers of runs of at least 1"),
    ("train_size", 0, "train_size must be at least 1, got 0"),
    ("epochs", 0, "epochs must be at least 1, got 0"),
    ("hidden", -3, "hidden must be at least 1, got -3"),
    ("learning_rate", 0.0, "learning_rate must be a positive number, got 0.0"),
    ("learning_rate", float("nan"), "learning_rate must be a positive number"),
    ("init_scale", -0.01, "init_scale must be a positive number"),
    ("init_scale", float("inf"), "init_scale must be a positive number"),
    ("block", 0, "block and sub_block must be at least 1"),
  ],
)
def test_a_value_that_makes_no_sense_is_named(name, value, what):
  config = tiny()
  config[name] = value
  with pytest.raises(InputError, match=what):
    timing.check(config)


def test_a_damaged_results_file_is_named_and_left_alone(tmp_path):
  (tmp_path / "results.csv").write_text("seeds,model\n1,ann\n")
  with pytest.raises(InputError, match=r"results\.csv is damaged"):
    table5_experiment.main(tiny(), tmp_path)
  assert (tmp_path / "results.csv").read_text() == "seeds,model\n1,ann\n"
  assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_unknown_preset():
  with pytest.raises(InputError, match="unknown preset 'fast'"):
    table5_config.get_config("fast")
