"""Submissions to a cluster on disk: damage to them, copies of a workdir, and who may submit. Without any Slurm."""

import json
import os
import shutil

import pytest
import racing
from absl import logging

from qnn_jax.errors import InputError
from qnn_jax.sweeps import damage, leftovers, submissions
from qnn_jax.sweeps.submissions import Submission

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
  monkeypatch.setattr(damage, "_named", set())
  return told


@pytest.fixture
def workdir(tmp_path):
  """A workdir with one submission, `toy-0`."""
  folder = tmp_path / "w"
  folder.mkdir()
  made = Submission("toy-0", [["a", "b"], ["c"]], ["python"], {}, str(folder.resolve()), "7", 1.5)
  submissions.write(folder, made)
  assert submissions.read(folder) == [made]
  return folder


def put(path, kind):
  """Something that is no file of ours in the place of one."""
  path.unlink()
  match kind:
    case "a folder":
      path.mkdir()
    case "a pipe":
      os.mkfifo(path)
    case "a link to nothing":
      path.symlink_to("nowhere")
    case _:
      path.write_bytes(kind)


KINDS = ("a folder", "a pipe", "a link to nothing", b"", b"null", b"5", b"[" * 100_000, bytes(1000))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind[:9]))
def test_what_is_no_submission_is_named_and_set_aside_once(workdir, warnings, kind):
  path = submissions.path_of(workdir, "toy-0")
  put(path, kind)
  with pytest.raises(InputError, match="names no task of a submission"):
    submissions.units(f"{path}:0")
  assert warnings == []
  assert submissions.read(workdir) == submissions.read(workdir) == []
  assert len(warnings) == 1 and str(path) in warnings[0] and "is damaged" in warnings[0]
  assert os.path.lexists(workdir / "damaged" / path.name) and not os.path.lexists(path)


CHANGES = {
  "a name of number": {"name": 5},
  "another's name": {"name": "toy-1"},
  "a time of text": {"submitted": "x"},
  "a time of none": {"submitted": float("nan")},
  "tasks of text": {"tasks": "abc"},
  "a task of text": {"tasks": ["abc"]},
  "a unit of number": {"tasks": [["a", 1]]},
  "a command of numbers": {"command": [1]},
  "options of a list": {"options": []},
  "a job of number": {"job": 7},
  "no place": {"workdir": None},
  "what is unknown": {"more": 1},
  "a format of text": {"format": "1"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_submission_with_impossible_values_is_set_aside(workdir, warnings, name):
  path = submissions.path_of(workdir, "toy-0")
  path.write_text(json.dumps(json.loads(path.read_text()) | CHANGES[name]))
  assert submissions.read(workdir) == submissions.read(workdir) == []
  assert len(warnings) == 1 and str(path) in warnings[0]
  assert (workdir / "damaged" / path.name).exists()


def test_a_later_version_s_submission_is_left_alone(workdir, warnings):
  path = submissions.path_of(workdir, "toy-0")
  path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 10**6}))
  assert submissions.read(workdir) == [] and path.exists()
  assert len(warnings) == 1 and "later version" in warnings[0]


def test_where_it_cannot_be_moved_it_is_named_once(workdir, warnings, monkeypatch):
  """As on a disk that is read-only, which root does not notice otherwise."""
  path = submissions.path_of(workdir, "toy-0")
  path.write_text("{")
  monkeypatch.setattr(damage, "_moved", lambda *_: None)
  assert submissions.read(workdir) == submissions.read(workdir) == []
  assert len(warnings) == 1 and path.exists()


def test_a_copy_of_a_workdir_does_not_own_the_original_s_jobs(workdir, warnings):
  copy = workdir.parent / "copy"
  shutil.copytree(workdir, copy)
  assert submissions.read(copy) == []
  (told,) = warnings
  assert str(copy / "slurm") in told and str(workdir.resolve()) in told
  # A link, or another way to it, is no copy.
  (workdir.parent / "link").symlink_to(workdir)
  assert len(submissions.read(workdir.parent / "link")) == 1


def test_a_killed_launcher_s_half_written_file_goes(workdir):
  (workdir / "slurm" / ".tmp-0123").write_text("half")
  os.utime(workdir / "slurm" / ".tmp-0123", (1e9, 1e9))
  leftovers.remove(workdir, 60.0)
  assert os.listdir(workdir / "slurm") == ["toy-0.json"]


def test_a_submission_s_lease_of_a_killed_launcher_goes_with_the_sweep(tmp_path):
  (tmp_path / "run" / "leases").mkdir(parents=True)
  (tmp_path / "run" / "leases" / f"{submissions.CLAIM}-0.json").write_text("{}")
  racing.run_sweep(tmp_path / "run", 2)
  assert not (tmp_path / "run" / "leases").exists()
