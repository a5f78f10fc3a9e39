"""Fig. 1's experiment: its command line, its files, and what must show."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from in_process import read_csv, run

from configs import xor as xor_config
from experiments.xor import report, task
from experiments.xor.__main__ import EXPERIMENT
from qnn_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[3]


def command(*arguments):
  program = [sys.executable, "-m", "experiments.xor", *arguments]
  return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


def test_the_whole_experiment_shows_fig_1(tmp_path):
  run(EXPERIMENT, xor_config.get_config(), tmp_path)
  rows = read_csv(tmp_path / "results.csv")
  assert [row["init"] for row in rows].count("random") == 100
  identity, *random = rows
  assert identity["kind"] == "ellipse" and identity["correct"] == "4"
  assert all(row["correct"] == "4" for row in random)
  assert sum(row["kind"] == "hyperbola" for row in random) >= 80
  # The neuron in the file is right, by (1), and its eigenvalues are its kind's.
  x = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
  for row in rows:
    b, w1, w2, q11, q12, q22 = (float(row[name]) for name in task.THETA)
    q = np.array([[q11, q12], [q12, q22]])
    z = np.einsum("ni,ij,nj->n", x, q, x) + x @ [w1, w2] + b
    assert ((z > 0) == [False, True, True, False]).all()
    assert (np.linalg.det(q) > 0) == (row["kind"] == "ellipse")
  assert "| random | 100 | 100 |" in (tmp_path / "xor.md").read_text()
  (ours, theirs) = read_csv(tmp_path / "xor.csv")
  assert (ours["init"], ours["ellipse"]) == ("identity", "1")
  assert int(theirs["hyperbola"]) == sum(row["kind"] == "hyperbola" for row in random)


def test_the_smoke_command(tmp_path):
  done = command("--config=configs/xor.py:smoke", f"--workdir={tmp_path / 'x'}")
  assert done.returncode == 0, done.stderr
  names = {path.name for path in (tmp_path / "x").iterdir() if path.is_file()}
  assert names == {"config.json", "results.csv", "report.html", "xor.md", "xor.csv", "xor.png"}
  assert (tmp_path / "x" / "xor.png").read_bytes().startswith(b"\x89PNG")
  head = (tmp_path / "x" / "results.csv").read_text().splitlines()[0]
  assert head == "init,start,correct,solved_epoch,kind,final_kind,b,w1,w2,q11,q12,q22"
  assert "| random | 10 | 10 |" in done.stdout


def rows_of(**changes):
  config = xor_config.get_config("smoke")
  config.update(changes)
  (group,) = task.groups(task.TASK.points_of(config), 1)
  job = type("Job", (), {"keep_params": False})
  *_, rows = task.run(group, job)
  return [row.point.axes() | row.metrics | {"status": row.status} for row in rows]


def test_too_little_training_is_told_as_it_is():
  rows = rows_of(epochs=1)
  assert rows[0]["solved_epoch"] is None and rows[0]["correct"] == 2
  assert "2 of 4 right" in report.shown(rows)[1].title
  assert report.count(rows)[0]["solved"] == 0


def test_a_start_that_diverges_is_told_as_it_is():
  rows = rows_of(learning_rate=3e38)
  diverged = [row for row in rows if row["final_kind"] == "diverged"]
  assert "identity" in {row["init"] for row in diverged}
  assert {row["correct"] for row in diverged} == {0}
  assert {row["status"] for row in diverged} == {"diverged"}


def test_training_in_stretches_is_training(monkeypatch):
  whole = rows_of(epochs=50)
  monkeypatch.setattr(task, "_STRETCH", 8)
  assert rows_of(epochs=50) == whole


def test_a_start_is_the_same_however_many_there_are():
  few, many = rows_of(seeds=2, epochs=1), rows_of(seeds=9, epochs=1)
  assert [row["start"] for row in many] == [0, *range(9)]
  points = task.TASK.points_of(xor_config.get_config("smoke"))
  starts = np.array([task.start_of(point) for point in points])
  assert len(np.unique(starts, axis=0)) == len(points)
  for row, other in zip(few, many):
    np.testing.assert_allclose(row["final_theta"], other["final_theta"], rtol=1e-6, atol=1e-7)


def test_an_unknown_preset():
  with pytest.raises(InputError, match="no preset 'tiny'; it has 'smoke'"):
    xor_config.get_config("tiny")
