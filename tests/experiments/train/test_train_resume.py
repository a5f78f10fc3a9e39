"""A training that is stopped anywhere carries on with the numbers of the undisturbed one, to the last bit."""

import json
import pathlib
import signal
import time

import numpy as np
import pytest
from trainings import Killed, metrics, numbers, parameters, small, start, train

from experiments.train import keeper
from experiments.train.metrics import Metrics, read

# With early stopping: the best parameters, and the optimiser's momentum, are part of a checkpoint.
CHANGES = {
  "validation_split": "test[100:200]",
  "patience": 5,
  "optimizer": "sgd",
  "optimizer_arguments": "momentum=0.9",
  "learning_rate": 0.05,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("undisturbed")
  train(small(**CHANGES), workdir)
  return workdir


def same(one, other):
  ours, theirs = parameters(one), parameters(other)
  assert ours.keys() == theirs.keys()
  for path, value in ours.items():
    np.testing.assert_array_equal(value, theirs[path], err_msg=str(path))
  assert numbers(one) == numbers(other)
  steps = [line["step"] for line in metrics(one)]
  assert steps == sorted(set(steps))


@pytest.mark.parametrize("seconds", [0.0, 1000.0], ids=["checkpoints", "none"])
def test_killed_at_two_steps(seconds, undisturbed, tmp_path, killed_at):
  config = small(checkpoint_seconds=seconds, **CHANGES)
  done = killed_at(6, 12)
  for _ in range(2):
    with pytest.raises(Killed):
      train(config, tmp_path)
  train(config, tmp_path)
  # 12 steps, two deaths, and what is done again: from the beginning each time, or from the checkpoints at 4 and 9.
  assert len(done) == (6 + 6 + 12 if seconds else 12 + 2 + 1)
  same(tmp_path, undisturbed)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(
  undisturbed, tmp_path, killed_at, caplog
):
  config = small(checkpoint_seconds=0.0, **CHANGES)
  killed_at(9)
  with pytest.raises(Killed):
    train(config, tmp_path)
  (folder,) = (tmp_path / "training").glob("*/checkpoints")
  newest = max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
  for path in newest.rglob("*"):
    if path.is_file():
      path.write_bytes(b"")
  train(config, tmp_path)
  told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
  assert len(told) == 1 and "is damaged" in told[0] and "the run begins earlier" in told[0]
  assert (tmp_path / "damaged" / newest.name).is_dir()
  same(tmp_path, undisturbed)


def test_without_room_for_a_checkpoint_training_goes_on(undisturbed, tmp_path, monkeypatch, caplog):
  usage = type("Usage", (), {"free": 1000})
  monkeypatch.setattr(keeper.shutil, "disk_usage", lambda path: usage)
  train(small(checkpoint_seconds=0.0, **CHANGES), tmp_path)
  (told,) = [record.getMessage() for record in caplog.records]
  assert "cannot be written (1.0 MB are needed, and 0.0 are free); the run goes on" in told
  same(tmp_path, undisturbed)


def test_a_line_of_metrics_that_was_cut_off(tmp_path):
  path = tmp_path / "metrics.jsonl"
  with Metrics(tmp_path, 0) as lines:
    for step in (1, 2, 3):
      lines.write({"step": step, "train_loss": 0.5})
  path.write_bytes(path.read_bytes()[:-5])
  assert [line["step"] for line in read(path)] == [1, 2]
  with Metrics(tmp_path, 1) as lines:
    lines.write({"step": 2, "train_loss": 0.25})
  assert [(line["step"], line["train_loss"]) for line in read(path)] == [(1, 0.5), (2, 0.25)]
  assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_sigkill_and_sigterm(tmp_path):
  """A real process, killed while it trains; then one that SIGTERM stops, which saves; then to the end."""
  config = small(epochs=40, log_every=1, checkpoint_seconds=0.05, evaluate_every=0)
  workdir = tmp_path / "killed"
  for number in (signal.SIGKILL, signal.SIGTERM):
    process, before = start(config, workdir), _steps(workdir)
    while process.poll() is None and _steps(workdir) < before + 20:
      time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode in (-number, 128 + number), out
  process = start(config, workdir)
  out, _ = process.communicate()
  assert process.returncode == 0, out
  train(config, tmp_path / "whole")
  same(workdir, tmp_path / "whole")


def _steps(workdir: pathlib.Path) -> int:
  try:
    (path,) = (workdir / "training").glob("*/metrics.jsonl")
    return json.loads(path.read_text("utf-8").splitlines()[-1])["step"]
  except (ValueError, IndexError, OSError):
    return 0
