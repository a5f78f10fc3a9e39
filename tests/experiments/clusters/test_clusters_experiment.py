"""Fig. 2's experiment, shortened: its command line, its files, what must show, and that it resumes."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from in_process import files, read_csv, run, sweep_of

from configs import clusters as clusters_config
from experiments.clusters import task
from experiments.clusters.__main__ import EXPERIMENT
from qnn_jax.errors import InputError
from qnn_jax.sweeps import worker
from qnn_jax.sweeps.points import Worked
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Rows

ROOT = pathlib.Path(__file__).parents[3]
FILES = {"results.csv", "clusters.md", "clusters.csv", "clusters.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """An 8th of the training, two seeds: enough for 99.9 %."""
  workdir = tmp_path_factory.mktemp("clusters")
  config = clusters_config.get_config("smoke")
  config.epochs = 1200
  run(EXPERIMENT, config, workdir)
  return config, workdir


def test_quadratic_neurons_learn_the_clusters_and_ordinary_ones_do_not(finished):
  config, workdir = finished
  rows = {(row["model"], row["seed"]): row for row in read_csv(workdir / "results.csv")}
  assert len(rows) == 4
  for seed in map(str, range(config.seeds)):
    assert float(rows["qnn", seed]["accuracy"]) >= 99.9
    assert float(rows["qnn", seed]["all_right"]) >= 99.0
    # A straight line for each middle cluster is at best right on the five others: 2/3 of the pairs.
    assert float(rows["ann", seed]["all_right"]) <= 70


def test_the_table(finished):
  _, workdir = finished
  assert set(files(workdir)) == FILES and (workdir / "report.html").is_file()
  qnn, ann = read_csv(workdir / "clusters.csv")
  assert (qnn["model"], qnn["seeds"], qnn["paper_accuracy"]) == ("qnn", "2", "99.97")
  rows = [row for row in read_csv(workdir / "results.csv") if row["model"] == "ann"]
  mean = sum(float(row["all_right"]) for row in rows) / 2
  assert float(ann["all_right"]) == pytest.approx(mean, abs=1e-3)
  table = (workdir / "clusters.md").read_text(encoding="utf-8")
  assert "| 1 | " in table and "| *the paper* | *99.97* |" in table
  head = (workdir / "results.csv").read_text().splitlines()[0]
  assert head == "model,seed,accuracy,all_right,status"


def small(**changes):
  config = clusters_config.get_config("smoke")
  config.update({"train_pairs": 20, "test_pairs": 20, "epochs": 25} | changes)
  return config


def thetas(workdir):
  found = Store(workdir, "clusters", EXPERIMENT.task.axis_names).read().found
  return {point.values: row.metrics["theta"] for point, row in found.items()}


def group_of(config, workdir):
  _, sweep = sweep_of(EXPERIMENT, config, workdir)
  return task.groups(sweep.points, 2)[0]


def test_a_stopped_training_goes_on_where_it_was(tmp_path):
  config = small()
  group = group_of(config, tmp_path)
  run_in = lambda workdir, group: worker.run_group(task.TASK, workdir, False, group)
  for name in ("whole", "stopped"):
    (tmp_path / name).mkdir()
  list(run_in(tmp_path / "whole", group))
  stopped = run_in(tmp_path / "stopped", group)
  done = 0.0
  for event in stopped:
    if isinstance(event, Worked) and not event.resumed:
      done += event.cost
      if done > 0.6 * group.cost:
        break
  next(stopped)  # which keeps what is done, and goes on to the next stretch
  stopped.close()
  again = list(run_in(tmp_path / "stopped", group))
  resumed = [event for event in again if isinstance(event, Worked) and event.resumed]
  worked = [event for event in again if isinstance(event, Worked) and not event.resumed]
  assert 0.6 * group.cost < resumed[0].cost < group.cost
  assert resumed[0].cost + sum(event.cost for event in worked) == pytest.approx(group.cost)
  assert any(isinstance(event, Rows) for event in again)
  whole = thetas(tmp_path / "whole")
  for key, theta in thetas(tmp_path / "stopped").items():
    np.testing.assert_array_equal(theta, whole[key])
  assert not list(tmp_path.glob("stopped/checkpoints/*"))


def test_lanes_go_on_in_another_company(tmp_path):
  config = small(seeds=2)
  group = group_of(config, tmp_path)
  stopped = worker.run_group(task.TASK, tmp_path, False, group)
  costs = 0
  for event in stopped:
    costs += isinstance(event, Worked)
    if costs == 4:
      break
  stopped.close()
  alone = task.groups(group.points, len(group.points))
  for one in alone:
    events = list(worker.run_group(task.TASK, tmp_path, False, one))
    assert next(event for event in events if isinstance(event, Worked)).cost > 0


def test_two_groups_for_two_workers_and_one_for_each_if_there_are_many():
  points = task.TASK.points_of(clusters_config.get_config())
  assert [{p["model"] for p in g.points} for g in task.groups(points, 2)] == [{"qnn"}, {"ann"}]
  assert task.workers(points, 2) == 2 and task.workers(points, 64) == 2
  assert task.workers(task.TASK.points_of(clusters_config.get_config("smoke")), 2) == 1
  assert len(task.groups(points, len(points))) == 10


def test_a_layer_that_diverges_is_told_as_it_is(tmp_path):
  config = small(seeds=1, train_pairs=10, test_pairs=10, epochs=2, learning_rate=1e38)
  run(EXPERIMENT, config, tmp_path)
  for row in read_csv(tmp_path / "results.csv"):
    assert (row["status"], row["accuracy"]) == ("diverged", "")
  assert "| 0 | diverged | diverged |" in (tmp_path / "clusters.md").read_text(encoding="utf-8")


def test_one_model_alone_without_training(tmp_path):
  run(EXPERIMENT, small(models=("ann",), seeds=1, epochs=0), tmp_path)
  (row,) = read_csv(tmp_path / "results.csv")
  assert (row["model"], row["status"]) == ("ann", "ok")
  assert "QNN" not in (tmp_path / "clusters.md").read_text(encoding="utf-8")


def test_the_command_line_tells_a_mistake_in_one_sentence(tmp_path):
  program = [sys.executable, "-m", "experiments.clusters", f"--workdir={tmp_path / 'x'}"]
  done = subprocess.run(
    [*program, "--config=configs/clusters.py:smoke", "--config.seeds=0"],
    check=False, cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line == "error: seeds must be a whole number of at least 1, got 0"
  assert not (tmp_path / "x").exists()


def test_an_unknown_preset():
  with pytest.raises(InputError, match="no preset 'tiny'; it has 'smoke'"):
    clusters_config.get_config("tiny")
