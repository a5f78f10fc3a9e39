"""Fig. 2's experiment, shortened: its command line, its files, what must show, and that it resumes."""

import csv
import pathlib
import subprocess
import sys

import pytest

from configs import clusters as clusters_config
from experiments import clusters
from qnn_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
FILES = {"neurons.npz", "results.csv", "clusters.md", "clusters.csv", "clusters.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """An 8th of the training, two seeds: enough for 99.9 %."""
  workdir = tmp_path_factory.mktemp("clusters")
  config = clusters_config.get_config("smoke")
  config.epochs = 1200
  clusters.main(config, workdir)
  return config, workdir


def read(path):
  with open(path, newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def test_quadratic_neurons_learn_the_clusters_and_ordinary_ones_do_not(finished):
  config, workdir = finished
  rows = {(row["model"], row["seed"]): row for row in read(workdir / "results.csv")}
  assert len(rows) == 4
  for seed in map(str, range(config.seeds)):
    assert float(rows["qnn", seed]["accuracy"]) >= 99.9
    assert float(rows["qnn", seed]["all_right"]) >= 99.0
    # A straight line for each middle cluster is at best right on the five others: 2/3 of the pairs.
    assert float(rows["ann", seed]["all_right"]) <= 70


def test_the_table(finished):
  _, workdir = finished
  assert {path.name for path in workdir.iterdir()} == FILES
  qnn, ann = read(workdir / "clusters.csv")
  assert (qnn["model"], qnn["seeds"], qnn["paper_accuracy"]) == ("qnn", "2", "99.97")
  rows = [row for row in read(workdir / "results.csv") if row["model"] == "ann"]
  mean = sum(float(row["all_right"]) for row in rows) / 2
  assert float(ann["all_right"]) == pytest.approx(mean, abs=1e-3)
  table = (workdir / "clusters.md").read_text(encoding="utf-8")
  assert "| 1 | " in table and "| *the paper* | *99.97* |" in table


def test_a_rerun_trains_nothing_and_makes_the_same_files(finished, monkeypatch):
  config, workdir = finished
  before = {name: (workdir / name).read_bytes() for name in FILES}
  for name in FILES - {"neurons.npz"}:
    (workdir / name).unlink()
  monkeypatch.setattr(clusters, "train", None)
  clusters.main(config, workdir)
  assert {name: (workdir / name).read_bytes() for name in FILES} == before


def test_damaged_neurons_are_not_overwritten(finished, tmp_path):
  config, workdir = finished
  whole = (workdir / "neurons.npz").read_bytes()
  for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
    (tmp_path / "neurons.npz").write_bytes(damaged)
    with pytest.raises(InputError, match="neurons.npz is damaged; remove it"):
      clusters.main(config, tmp_path)
    assert (tmp_path / "neurons.npz").read_bytes() == damaged


def test_a_layer_that_diverges_is_told_as_it_is(tmp_path):
  config = clusters_config.get_config("smoke")
  config.update(seeds=1, train=10, test=10, epochs=2, rate=1e38)
  clusters.main(config, tmp_path)
  for row in read(tmp_path / "results.csv"):
    assert (row["status"], row["accuracy"]) == ("diverged", "")
  assert "| 0 | diverged | diverged |" in (tmp_path / "clusters.md").read_text(encoding="utf-8")


def test_the_command_line_tells_a_mistake_in_one_sentence(tmp_path):
  program = [sys.executable, "-m", "experiments.clusters", f"--workdir={tmp_path}"]
  done = subprocess.run(
    [*program, "--config=configs/clusters.py:smoke", "--config.seeds=0"],
    check=False, cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("error: seeds must be at least 1")
  assert "Traceback" not in done.stderr


def test_an_unknown_preset():
  with pytest.raises(InputError, match="no preset 'tiny'; it has 'smoke'"):
    clusters_config.get_config("tiny")
