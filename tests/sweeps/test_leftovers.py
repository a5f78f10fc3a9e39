"""What a killed writer leaves behind is removed, and nothing of a living one's."""

import multiprocessing
import os
import time

import pytest
import racing

from qnn_jax import atomic, living
from qnn_jax.sweeps import leftovers
from qnn_jax.sweeps.store import Store

TRIES = 5


def test_twenty_kills_at_random_moments_lose_nothing_and_leave_nothing(tmp_path):
  left = 0
  for folder, ((said),) in racing.race(tmp_path, "killed", count=1, tries=TRIES):
    assert said["kills"] == 20
    left += said["left"]
    workdir = folder / "run"
    found = Store(workdir, "racing", racing.AXES, racing.TASK.possible).read().found
    assert {p["seed"]: row.metrics["value"] for p, row in found.items()} == {
      seed: seed / 4 for seed in range(12)
    }
    assert all(row.params for row in found.values())
    assert {path.name for path in workdir.iterdir()} == {"records", "params"}
    assert len(list((workdir / "records").iterdir())) == 12
    assert not list(workdir.glob("**/.tmp-*"))
  assert left > 0  # some were killed while they wrote, or this has shown nothing


def write_forever(path, told):
  atomic._fill, fill = lambda *args: (fill(*args), told.send(None), time.sleep(3600)), atomic._fill
  atomic.atomic_write_bytes(path, b"half")


@pytest.fixture
def writer(tmp_path):
  """A process that is in the middle of writing a file."""
  context = multiprocessing.get_context("spawn")
  here, there = context.Pipe()
  process = context.Process(target=write_forever, args=(tmp_path / "records" / "a", there))
  (tmp_path / "records").mkdir()
  process.start()
  here.recv()
  yield process
  process.kill()
  process.join()


def temporary(workdir):
  return [path.name for path in (workdir / "records").iterdir() if path.name.startswith(".tmp-")]


@pytest.mark.skipif(not living.machine(), reason="processes are told by /proc")
def test_a_living_writer_s_file_stays_and_a_dead_one_s_goes_at_once(tmp_path, writer):
  assert len(temporary(tmp_path)) == 1
  leftovers.remove(tmp_path, -1e9)
  assert len(temporary(tmp_path)) == 1  # however long it takes
  writer.kill()
  # Dead already, though nobody has asked how it ended.
  for _ in range(1000):
    leftovers.remove(tmp_path, 1e9)
    if not temporary(tmp_path):
      break
    time.sleep(0.01)
  assert temporary(tmp_path) == []


@pytest.mark.parametrize("hours", (-30, 0, 30))
def test_another_machine_s_file_goes_when_nobody_has_written_it_for_a_time(
  tmp_path, monkeypatch, hours
):
  """By the file system's clock: what this machine's says is not asked."""
  folder = tmp_path / "checkpoints"
  folder.mkdir()
  monkeypatch.setattr(time, "time", lambda real=time.time: real() + 3600 * hours)
  for name, age in ((".tmp-00000000-1-2-aaaaaaaaaaaa", 50), (".tmp-0123", 70), (".nfs0001", 1000)):
    (folder / name).write_text("half")
    then = (folder / name).stat().st_mtime - age
    os.utime(folder / name, (then, then))
  leftovers.remove(tmp_path, 60.0)
  assert {path.name for path in folder.iterdir()} == {".tmp-00000000-1-2-aaaaaaaaaaaa", ".nfs0001"}


def test_a_writer_whose_file_was_taken_away_writes_again(tmp_path, monkeypatch):
  """A machine that stood still for longer than the others wait."""
  taken, replace = [], os.replace

  def taking(source, target):
    if len(taken) < 2:
      taken.append(source)
      os.unlink(source)
    return replace(source, target)

  monkeypatch.setattr(os, "replace", taking)
  atomic.atomic_write_bytes(tmp_path / "a", b"whole")
  assert len(taken) == 2 and (tmp_path / "a").read_bytes() == b"whole"
  assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_removed_again_and_again(tmp_path, monkeypatch):
  made, replace = [], os.replace

  def removing(source, target):
    if len(made) < 3:
      made.append(target)
      os.unlink(source)
      os.rmdir(os.path.dirname(target))
    return replace(source, target)

  monkeypatch.setattr(os, "replace", removing)
  atomic.atomic_write_bytes(tmp_path / "below" / "a", b"whole", make_folder=True)
  assert len(made) == 3 and (tmp_path / "below" / "a").read_bytes() == b"whole"


@pytest.mark.skipif(not living.machine(), reason="processes are told by /proc")
def test_nothing_is_concluded_of_processes_of_other_namespaces(monkeypatch):
  tag = living.tag()
  assert not living.is_dead(living.of_tag(tag)) and living.of_tag("00000000-1-2") is None
  gone = living.this()._replace(pid=2**22 + 1)
  assert living.is_dead(gone)
  assert not living.is_dead(gone._replace(machine="another")) and not living.is_dead(
    gone._replace(started=None)
  )
  # A container that shares our boot, but not our processes.
  other = living.machine().replace("pid:[", "pid:[9")
  monkeypatch.setattr(living, "machine", lambda: other)
  assert not living.is_dead(gone) and living.of_tag(tag) is None
