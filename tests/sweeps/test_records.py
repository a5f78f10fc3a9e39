"""Records and checkpoints: what is written is read, and what is damaged costs no more than itself."""

import numpy as np
import pytest

from qnn_jax.reports.paper import Cell
from qnn_jax.reports.summary import Run
from qnn_jax.sweeps import records


def runs(epochs=5, seeds=(0, 1), accuracy=91.25):
  return [
    Run(model, 600, epochs, 10, seed, accuracy + seed, status)
    for model, status in (("ann", "ok"), ("qnn", "diverged"))
    for seed in seeds
  ]


@pytest.fixture
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(records.logging, "warning", lambda text, *values: told.append(text % values))
  return told


def record_files(workdir):
  return sorted((workdir / "records").iterdir())


def test_what_is_written_is_read(tmp_path, warnings):
  assert records.read_records(tmp_path) == []
  written = [*runs(5), *runs(10), *runs(5, seeds=(2,))]
  for part in (written[:4], written[4:8], written[8:]):
    records.write_record(tmp_path, part)
  found = records.read_records(tmp_path)
  assert len(record_files(tmp_path)) == 3
  assert sorted(found) == sorted(written)
  assert isinstance(found[0], Run) and warnings == []


def test_a_run_that_was_done_twice_is_read_once(tmp_path):
  records.write_record(tmp_path, runs(seeds=(0, 1)))
  records.write_record(tmp_path, runs(seeds=(0, 1)))
  assert len(record_files(tmp_path)) == 1  # the same content has the same name
  records.write_record(tmp_path, runs(seeds=(0,)))
  assert len(record_files(tmp_path)) == 2
  assert sorted(records.read_records(tmp_path)) == sorted(runs(seeds=(0, 1)))


def test_seeds_are_gathered_from_the_checkpoints_of_other_companies(tmp_path):
  one, two = parameters(1.0), parameters(2.0)
  one[0]["layers"][0]["kernel"][1] = 7.0
  records.write_checkpoint(tmp_path, 600, (0, 1), 5, one)
  records.write_checkpoint(tmp_path, 600, (2, 3), 5, two)
  epochs, (found,) = records.read_checkpoint(tmp_path, 600, (3, 1))
  assert epochs == 5
  np.testing.assert_array_equal(found["layers"][0]["kernel"][:, 0, 0], (2.0, 7.0))
  assert records.read_checkpoint(tmp_path, 600, (3, 4)) is None


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: content.replace(b'"accuracy"', b'"\xff\xfe"'),
    lambda content: content.replace(b"model", b"modal"),
    lambda content: b"17",
  ],
  ids=("cut off", "empty", "no text", "other fields", "a number"),
)
def test_a_damaged_record_is_left_and_named_and_counts_for_none(tmp_path, warnings, damage):
  records.write_record(tmp_path, runs(5))
  (path,) = record_files(tmp_path)
  records.write_record(tmp_path, runs(10))
  damaged = damage(path.read_bytes())
  path.write_bytes(damaged)
  assert sorted(records.read_records(tmp_path)) == sorted(runs(10))
  assert path.read_bytes() == damaged
  (warning,) = warnings
  assert str(path) in warning and "is damaged" in warning
  # Done again, it stands beside what was damaged.
  records.write_record(tmp_path, runs(5, accuracy=90.0))
  assert path.read_bytes() == damaged
  assert sorted(records.read_records(tmp_path)) == sorted([*runs(5, accuracy=90.0), *runs(10)])


def test_other_files_among_the_records_do_not_count(tmp_path):
  records.write_record(tmp_path, runs())
  (tmp_path / "records" / ".tmp-0123").write_text('[{"model": ')  # of a writer that was stopped
  assert sorted(records.read_records(tmp_path)) == sorted(runs())


def parameters(value):
  return [{"layers": {0: {"kernel": np.full((2, 3, 4), value)}, 1: {"q": np.ones((2, 6), "f4")}}}]


def test_a_checkpoint_is_read_for_its_own_size_and_seeds(tmp_path, warnings):
  assert records.read_checkpoint(tmp_path, 600, (0, 1)) is None
  records.write_checkpoint(tmp_path, 600, (0, 1), 5, parameters(1.0))
  records.write_checkpoint(tmp_path, 600, (0, 1), 10, parameters(2.0))
  records.write_checkpoint(tmp_path, 600, (0, 2), 3, parameters(3.0))
  records.write_checkpoint(tmp_path, 1200, (0, 1), 4, parameters(4.0))
  for size, seeds, epochs, value in (600, (0, 1), 10, 2), (600, (0, 2), 3, 3), (1200, (0, 1), 4, 4):
    found_epochs, (found,) = records.read_checkpoint(tmp_path, size, seeds)
    assert found_epochs == epochs
    assert set(found["layers"]) == {0, 1}
    np.testing.assert_array_equal(found["layers"][0]["kernel"], np.full((2, 3, 4), value))
    assert found["layers"][1]["q"].dtype == np.float32
  assert records.read_checkpoint(tmp_path, 600, (0, 1), most=9)[0] == 5
  assert records.read_checkpoint(tmp_path, 600, (0, 1), most=4) is None
  assert records.read_checkpoint(tmp_path, 600, (1, 2)) is None  # not equally far
  records.remove_checkpoints(tmp_path, 600, (0, 1, 3), before=10)
  assert records.read_checkpoint(tmp_path, 600, (0, 1), most=9) is None
  assert records.read_checkpoint(tmp_path, 600, (0, 1))[0] == 10
  records.remove_checkpoints(tmp_path, 600, (0, 1))
  records.remove_checkpoints(tmp_path, 600, (0, 1))  # two workers may both be done
  assert records.read_checkpoint(tmp_path, 600, (0, 1)) is None
  assert records.read_checkpoint(tmp_path, 600, (0, 2)) is not None
  assert warnings == []


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: content[:-10],
    lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    lambda content: b"",
    lambda content: bytes(4),
    lambda content: bytes(len(content)),
  ],
  ids=("cut off", "one bit", "empty", "four zeros", "all zeros"),
)
def test_a_damaged_checkpoint_counts_as_none(tmp_path, warnings, damage):
  records.write_checkpoint(tmp_path, 600, (0, 1), 5, parameters(1.0))
  (path,) = (tmp_path / "checkpoints").iterdir()
  path.write_bytes(damage(path.read_bytes()))
  assert records.read_checkpoint(tmp_path, 600, (0, 1)) is None
  (warning,) = warnings
  assert str(path) in warning and "is damaged" in warning
  records.write_checkpoint(tmp_path, 600, (0, 1), 7, parameters(2.0))
  assert records.read_checkpoint(tmp_path, 600, (0, 1))[0] == 7


def test_finished_are_the_runs_on_disk(tmp_path):
  assert records.finished(tmp_path) == set()
  records.write_record(tmp_path, runs(5, seeds=(0, 1)))
  records.write_record(tmp_path, runs(10, seeds=(1,)))
  assert records.finished(tmp_path) == {
    (Cell(600, epochs, 10, model), seed)
    for model in ("ann", "qnn")
    for epochs, seed in ((5, 0), (5, 1), (10, 1))
  }
