"""Disks that are full, or cannot be written: one sentence with the reason and the path, and nothing is lost."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from command_line import TOYS, Ended, contents, run_all

LINE = str(TOYS / "line.py")


def line(tmp_path, *arguments):
  folder = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
  folder.mkdir()
  (done,) = run_all([(LINE, arguments, TOYS)], folder)
  return done


@pytest.fixture
def disk(tmp_path):
  """A small disk of its own, and a function that mounts it anew with other options."""
  place = tmp_path / "disk"
  place.mkdir()
  mount = lambda *options: subprocess.run(
    ["mount", *options, str(place)], check=True, capture_output=True
  )
  try:
    mount("-t", "tmpfs", "-o", "size=256k", "none")
  except (OSError, subprocess.CalledProcessError):
    pytest.skip("needs a mount, which root may make")
  yield place, lambda how: mount("-o", f"remount,{how}")
  subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place, left):
  """Leaves so many bytes on a disk."""
  with open(place / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
    while True:
      file.write(bytes(4096))
  size = (place / "filler").stat().st_size
  os.truncate(place / "filler", max(0, size - size % 4096 - left))


def one_sentence(done, *told):
  assert done.returncode == 1, done
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  for what in told:
    assert what in done.stderr, done.stderr


def rows(workdir):
  return (workdir / "results.csv").read_text().splitlines()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp("line")
  done = line(folder, f"--workdir={folder / 'run'}", "--workers=1")
  assert done.returncode == 0, done
  return folder / "run"


@pytest.mark.parametrize("left, workers", ((0, 1), (8192, 1), (16384, 2)))
def test_a_full_disk_is_one_sentence_and_the_same_command_carries_on(
  tmp_path, disk, undisturbed, left, workers
):
  place, _ = disk
  command = (f"--workdir={place / 'run'}", f"--workers={workers}")
  fill(place, left)
  done = line(tmp_path, *command)
  one_sentence(done, "No space left on device", str(place / "run"))
  finished = contents(place / "run" / "records") if (place / "run").exists() else {}
  (place / "filler").unlink()
  done = line(tmp_path, *command)
  assert done.returncode == 0 and done.stderr == "", done
  assert rows(place / "run") == rows(undisturbed)
  assert finished.items() <= contents(place / "run" / "records").items()  # nothing was lost
  assert not list((place / "run").glob("**/.tmp-*"))


def test_a_finished_workdir_that_cannot_be_written_shows_its_table(tmp_path, disk, undisturbed):
  place, remount = disk
  shutil.copytree(undisturbed, place / "run")
  command = (f"--workdir={place / 'run'}", "--workers=1")
  (place / "other").mkdir()
  remount("ro")
  before = contents(place)
  table = (undisturbed / "line.md").read_text().splitlines()[-1]
  for arguments in (), ("--report_only",), ("--list",), ("--config.seeds=2",):
    done = line(tmp_path, *command, *arguments)
    assert done.returncode == 0 and done.stderr.count("\n") <= 1, (arguments, done)
    assert (table in done.stdout) == (arguments in ((), ("--report_only",))), (arguments, done)
    # Fewer seeds make other files: that they are not those that are there, is said.
    told = "cannot write" in done.stdout and "Read-only file system" in done.stdout
    assert told == (arguments == ("--config.seeds=2",)), (arguments, done)
  assert contents(place) == before
  one_sentence(line(tmp_path, *command, "--config.seeds=4"), "Read-only file system", "run/leases")
  one_sentence(
    line(tmp_path, f"--workdir={place / 'other'}"), "Read-only file system", "other as a workdir"
  )
  assert contents(place) == before
  remount("rw")
  assert line(tmp_path, *command, "--config.seeds=4").returncode == 0


def test_a_damaged_record_on_a_disk_that_cannot_be_written_is_only_named(
  tmp_path, disk, undisturbed
):
  place, remount = disk
  shutil.copytree(undisturbed, place / "run")
  path = min((place / "run" / "records").iterdir())
  path.write_text("{}")
  remount("ro")
  for mode in "--list", "--report_only":
    done = line(tmp_path, f"--workdir={place / 'run'}", mode, "--workers=1")
    assert done.returncode == 0, done
    assert done.stderr.count(f"{path} is damaged") == 1, done.stderr
  done = line(tmp_path, f"--workdir={place / 'run'}", "--workers=1")
  assert done.returncode == 1
  assert "Read-only file system" in done.stderr.splitlines()[-1]
  remount("rw")
  done = line(tmp_path, f"--workdir={place / 'run'}", "--workers=1")
  assert done.returncode == 0 and done.stderr.count("\n") == 1, done
  assert rows(place / "run") == rows(undisturbed)


NO_ROOM = """
import errno, os, pathlib, sys
import racing
from qnn_jax import atomic
fill = atomic._fill
def full(file, data, sync):
  if sys.argv[2] in file.name:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  fill(file, data, sync)
atomic._fill = full
events = racing.run_sweep(pathlib.Path(sys.argv[1]), 4, keep_params=True)
print(sorted({type(event).__name__ for event in events}))
"""


def no_room(workdir, where):
  done = subprocess.run(
    [sys.executable, "-c", NO_ROOM, str(workdir), where],
    check=False, capture_output=True, text=True,
    env=os.environ | {"PYTHONPATH": os.pathsep.join(["tests", ".", *filter(None, sys.path)])},
    cwd=TOYS.parents[1],
  )  # fmt: skip
  return Ended(done.returncode, done.stdout, done.stderr)


def test_a_checkpoint_that_has_no_room_stops_nothing_and_is_named_once(tmp_path):
  done = no_room(tmp_path / "run", "/checkpoints/")
  assert done.returncode == 0, done
  assert done.stderr.count("checkpoints cannot be written (No space left on device)") == 1, done
  assert len(list((tmp_path / "run" / "records").iterdir())) == 4
  assert "Failed" not in done.stdout


@pytest.mark.parametrize("where", ("/records/", "/params/", "/leases/"))
def test_anything_else_that_has_no_room_ends_the_sweep(tmp_path, where):
  done = no_room(tmp_path / "run", where)
  assert done.returncode == 1
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("qnn_jax.errors.WorkdirError: cannot write ") and where in last, done
  assert "No space left on device" in last and "Failed" not in done.stdout
