"""Fig. 1's experiment: its command line, its files, and what must show."""

import csv
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import xor as xor_config
from experiments import xor
from qnn_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]


def read(path):
  with open(path, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def command(*arguments):
  program = [sys.executable, "-m", "experiments.xor", *arguments]
  return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


def test_the_whole_experiment_shows_fig_1(tmp_path, capsys):
  xor.main(xor_config.get_config(), tmp_path)
  rows = read(tmp_path / "results.csv")
  assert [row["init"] for row in rows].count("random") == 100
  identity, *random = rows
  assert identity["kind"] == "ellipse" and identity["correct"] == "4"
  assert sum(row["correct"] == "4" for row in random) >= 95
  assert any(row["kind"] == "hyperbola" for row in random)
  # The neuron in the file is right, by (1), and its eigenvalues are its kind's.
  x = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
  for row in rows:
    b, w1, w2, q11, q12, q22 = (float(row[k]) for k in ("b", "w1", "w2", "q11", "q12", "q22"))
    q = np.array([[q11, q12], [q12, q22]])
    z = np.einsum("ni,ij,nj->n", x, q, x) + x @ [w1, w2] + b
    assert ((z > 0) == [False, True, True, False]).all()
    assert (np.linalg.det(q) > 0) == (row["kind"] == "ellipse")
  assert "| random | 100 | 100 |" in capsys.readouterr().out
  (ours, theirs) = read(tmp_path / "xor.csv")
  assert (ours["init"], ours["ellipse"]) == ("identity", "1")
  assert int(theirs["hyperbola"]) == sum(row["kind"] == "hyperbola" for row in random)


def test_the_smoke_command(tmp_path):
  done = command("--config=configs/xor.py:smoke", f"--workdir={tmp_path / 'x'}")
  assert done.returncode == 0, done.stderr
  names = {path.name for path in (tmp_path / "x").iterdir()}
  assert names == {"config.json", "results.csv", "xor.md", "xor.csv", "xor.png"}
  assert (tmp_path / "x" / "xor.png").read_bytes().startswith(b"\x89PNG")


def test_too_little_training_is_told_as_it_is(tmp_path):
  config = xor_config.get_config("smoke")
  config.epochs = 1
  starts = xor.run_starts(config)
  assert starts[0].solved_epoch is None and starts[0].correct == 2
  assert "2 of 4 right" in xor.shown(starts)[1].title
  assert xor.count(starts)[0]["solved"] == 0


def test_a_start_that_diverges_is_told_as_it_is(tmp_path):
  config = xor_config.get_config("smoke")
  config.rate = 3e38
  xor.main(config, tmp_path)
  diverged = [row for row in read(tmp_path / "results.csv") if row["final_kind"] == "diverged"]
  assert "identity" in {row["init"] for row in diverged}
  assert {row["correct"] for row in diverged} == {"0"}


@pytest.mark.parametrize("change", [{"starts": 0}, {"epochs": 0}, {"rate": 0.0}, {"scale": -1.0}])
def test_bad_configurations(change):
  config = xor_config.get_config()
  config.update(change)
  with pytest.raises(InputError, match=next(iter(change))):
    xor.check(config)


def test_an_unknown_preset():
  with pytest.raises(InputError, match="no preset 'tiny'; it has 'smoke'"):
    xor_config.get_config("tiny")
