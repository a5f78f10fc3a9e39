"""A write is whole or did not happen."""

import os
import threading

import pytest

from qnn_jax.atomic import atomic_write_bytes, atomic_write_text


def test_replaces_the_file_and_leaves_nothing_else(tmp_path):
  path = tmp_path / "a.txt"
  atomic_write_text(path, "old")
  atomic_write_text(path, "new: μ ± σ\n")
  assert path.read_bytes() == "new: μ ± σ\n".encode()
  assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, failing):
  path = tmp_path / "a.bin"
  path.write_bytes(b"old")

  def fail(*_):
    raise OSError("No space left on device")

  monkeypatch.setattr(os, failing, fail)
  with pytest.raises(OSError, match="No space"):
    atomic_write_bytes(path, b"new")
  assert path.read_bytes() == b"old"
  assert os.listdir(tmp_path) == ["a.bin"]


def test_a_missing_directory_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError):
    atomic_write_bytes(tmp_path / "none" / "a", b"")


def test_new_files_are_as_readable_as_any_other(tmp_path):
  (tmp_path / "plain").write_bytes(b"")
  atomic_write_bytes(tmp_path / "ours", b"")
  assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_many_writers_leave_one_whole_file(tmp_path):
  path = tmp_path / "a.bin"
  contents = [bytes([i]) * 50_000 for i in range(8)]

  def write(data):
    for _ in range(10):
      atomic_write_bytes(path, data)

  threads = [threading.Thread(target=write, args=(data,)) for data in contents]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert path.read_bytes() in contents
  assert os.listdir(tmp_path) == ["a.bin"]
