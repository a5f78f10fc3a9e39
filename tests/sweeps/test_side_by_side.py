"""Launchers of one configuration that run at once share the work, and none is in another's way."""

import collections
import os
import signal
import subprocess
import sys
import time

import pytest
import racing

from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.store import Store

TRIES = 15


def rows(workdir):
  found = Store(workdir, "racing", racing.AXES, racing.TASK.possible).read().found
  return {point["seed"]: row.metrics["value"] for point, row in found.items()}


def whole(count=12):
  return {seed: seed / 4 for seed in range(count)}


def test_neither_crashes_when_another_finishes(tmp_path):
  doubled = 0
  for folder, _ in racing.race(tmp_path, "launcher", count=3, tries=TRIES):
    assert rows(folder / "run") == whole()
    ran = collections.Counter((folder / "log").read_text().split())
    doubled += sum(ran.values()) - len(ran)
    # Nothing is left of what was only for the time being.
    assert {path.name for path in (folder / "run").iterdir()} <= {"records", "params"}
    assert not list(folder.glob("run/*/.tmp-*"))
    records = list((folder / "run" / "records").iterdir())
    assert len(records) == len(list((folder / "run" / "params").iterdir())) == 12
  assert doubled == 0


SLOW = """
import pathlib, sys, time
import racing
from qnn_jax.sweeps import launch
launch._WAIT = 0.05
run = racing.run
def slow(group, job):
  for event in run(group, job):
    time.sleep(float(sys.argv[3]))
    yield event
import dataclasses
racing.TASK = dataclasses.replace(racing.TASK, run=slow)
racing.run_sweep(pathlib.Path(sys.argv[1]), lease_seconds=float(sys.argv[2]))
"""


def start(workdir, lease_seconds, pause, before=()):
  environment = os.environ | {"PYTHONPATH": racing._path()}
  command = [*before, sys.executable, "-c", SLOW, str(workdir), str(lease_seconds), str(pause)]
  return subprocess.Popen(
    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


def ended(process):
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 0, out
  return out


def until(condition):
  for _ in range(6000):
    if condition():
      return
    time.sleep(0.01)
  raise AssertionError("it has not come to that in a minute")


def log(workdir):
  path = workdir.parent / "log"
  return path.read_text().split() if path.exists() else []


def test_an_owner_that_was_stopped_and_woken_after_its_lease_was_taken(tmp_path):
  workdir = tmp_path / "run"
  first = start(workdir, 1.0, 0.3)
  until(lambda: log(workdir))
  first.send_signal(signal.SIGSTOP)
  second = start(workdir, 1.0, 0.0)
  ended(second)
  assert rows(workdir) == whole()
  first.send_signal(signal.SIGCONT)
  ended(first)
  assert rows(workdir) == whole()
  # Both wrote the rows of the group that was taken over: the same, in the same files.
  assert len(list((workdir / "records").iterdir())) == 12
  assert {path.name for path in workdir.iterdir()} == {"records"}


@pytest.mark.parametrize("hours", (-5, 5))
def test_a_clock_that_is_wrong_by_hours(tmp_path, hours):
  """What another machine wrote: its records and leases, and files that it was writing when it was lost."""
  workdir = tmp_path / "run"
  for of in (0, 6):  # two kinds of records: done here, and by the machine of the wrong clock
    racing.run_sweep(workdir, of + 2)
  then = time.time() + 3600 * hours
  for path in (workdir / "records").iterdir():
    os.utime(path, (then, then))
    text = path.read_text()
    number = text[text.index('"finished": ') + 12 :].partition(",")[0]
    path.write_text(text.replace(number, str(then)))
  (workdir / "leases").mkdir()
  lost = workdir / "leases" / f"{unit_name(racing.points(12)[-2:])}-0.json"
  lost.write_text(
    '{"owner": "another", "count": 7, "process": {"machine": "x", "pid": 1, "started": "2"}}'
  )
  os.utime(lost, (then, then))
  process = start(workdir, 1.0, 0.0)
  ended(process)
  assert rows(workdir) == whole() and sorted(log(workdir), key=int) == [str(i) for i in range(12)]
  assert {path.name for path in workdir.iterdir()} == {"records"}


def _can_unshare():
  try:
    done = subprocess.run([*HOST, "a", "true"], capture_output=True, timeout=20, check=False)
  except OSError:
    return False
  return done.returncode == 0


HOST = [
  "unshare", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
  'hostname "$0" && exec "$@"',
]  # fmt: skip


@pytest.fixture
def hosts():
  if not _can_unshare():
    pytest.skip("needs unshare of UTS, network and process namespaces, which root has")


def test_two_hosts_on_one_folder_share_the_work(tmp_path, hosts):
  workdir = tmp_path / "run"
  every = [start(workdir, 30.0, 0.05, [*HOST, name]) for name in ("one", "two")]
  for process in every:
    ended(process)
  assert rows(workdir) == whole()
  assert sorted(log(workdir), key=int) == [str(i) for i in range(12)]  # each once
  names = {text.split('"host": "')[1].partition('"')[0] for text in texts(workdir / "records")}
  assert names == {"one", "two"}
  assert {path.name for path in workdir.iterdir()} == {"records"}


def texts(folder):
  return [path.read_text() for path in folder.iterdir()]


def test_what_a_killed_host_was_at_is_taken_over_when_its_time_is_over(tmp_path, hosts):
  workdir = tmp_path / "run"
  first = start(workdir, 3.0, 0.5, [*HOST, "one"])
  until(lambda: list(workdir.glob("records/*.json")))
  first.kill()  # and with it all of its namespace
  first.communicate()
  (workdir / "records" / f".tmp-{'0' * 8}-1-2-{'a' * 12}").write_text("half")
  begin = time.monotonic()
  ended(start(workdir, 3.0, 0.0, [*HOST, "two"]))
  assert 3.0 <= time.monotonic() - begin
  assert rows(workdir) == whole()
  assert {path.name for path in workdir.iterdir()} == {"records"}
  assert not list(workdir.glob("*/.tmp-*"))
