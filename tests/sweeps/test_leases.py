"""Leases: a unit is one launcher's, until it gives it back or gives no sign any more."""

import json
import multiprocessing
import os
import threading

import pytest
from toy import point

from qnn_jax import living
from qnn_jax.sweeps import leases
from qnn_jax.sweeps.leases import Leases, unit_name

SECONDS = 30.0


class Clock:
  """In the place of `time.monotonic`, so that nobody has to wait."""

  def __init__(self):
    self.now = 100.0

  def monotonic(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(leases, "time", clock)
  return clock


@pytest.fixture
def start(tmp_path, monkeypatch):
  """Makes launchers; their counters only rise where a test says so."""
  monkeypatch.setattr(Leases, "_tick", lambda self: self._ended.wait())
  started = []

  def start():
    started.append(Leases(tmp_path, SECONDS).__enter__())
    return started[-1]

  yield start
  for launcher in started:
    launcher.__exit__(None, None, None)
  assert not (tmp_path / "leases").exists()  # nothing is left behind


def files(workdir):
  return sorted(path.name for path in (workdir / "leases").iterdir())


def raise_counter(launcher):
  """What its thread does every few seconds."""
  waits = iter((False, True))
  launcher._ended, ended = threading.Event(), launcher._ended
  launcher._ended.wait = lambda seconds: next(waits)
  real_tick(launcher)
  launcher._ended = ended


real_tick = Leases._tick


def test_a_unit_has_one_owner(tmp_path, start):
  one, two = start(), start()
  assert one.acquire({"aa", "bb"}) == {"aa", "bb"}
  assert two.acquire({"aa", "cc"}) == {"cc"}
  assert one.acquire({"aa", "cc"}) == set()  # nor twice to the same
  assert one.live() == {"cc"} and two.live() == {"aa", "bb"}
  assert files(tmp_path) == ["aa-0.json", "bb-0.json", "cc-0.json"]
  one.release({"aa"})
  assert two.acquire({"aa", "bb"}) == {"aa"}


def test_what_is_held_is_given_back_in_the_end(tmp_path):
  with Leases(tmp_path, SECONDS) as one:
    one.acquire({"aa"})
    assert Leases(tmp_path, SECONDS).live() == {"aa"}
  assert Leases(tmp_path, SECONDS).live() == set()
  assert not (tmp_path / "leases").exists()


def test_a_counter_that_rises_keeps_its_units(tmp_path, start, clock):
  one, two = start(), start()
  one.acquire({"aa"})
  for _ in range(4):
    assert two.acquire({"aa"}) == set()
    clock.now += SECONDS * 0.9
    raise_counter(one)
  assert two.acquire({"aa"}) == set()


def test_a_counter_that_stands_still_is_taken_over_by_one_of_those_who_try(tmp_path, start, clock):
  lost, *others = (start() for _ in range(5))
  assert lost.acquire({"aa"}) == {"aa"}
  assert [other.acquire({"aa"}) for other in others] == [set()] * 4  # they have seen it now
  clock.now += SECONDS - 1
  assert [other.acquire({"aa"}) for other in others] == [set()] * 4
  clock.now += 1
  barrier, won = threading.Barrier(4), []

  def take(other):
    barrier.wait()
    won.extend(other.acquire({"aa"}))

  threads = [threading.Thread(target=take, args=(other,)) for other in others]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert won == ["aa"]
  assert files(tmp_path) == ["aa-0.json", "aa-1.json"]
  # The former owner finds out, leaves it alone, and gives nothing back that is another's.
  raise_counter(lost)
  lost.release({"aa"})
  assert files(tmp_path) == ["aa-0.json", "aa-1.json"]
  assert lost.live() == {"aa"} and lost.acquire({"aa"}) == set()


def test_an_owner_that_never_found_out_takes_nothing_back_either(tmp_path, start, clock):
  lost, taker = start(), start()
  lost.acquire({"aa"})
  taker.acquire({"aa"})
  clock.now += SECONDS
  assert taker.acquire({"aa"}) == {"aa"}
  lost.release({"aa"})  # its own generation is its own to remove; the taker's is not
  assert "aa-1.json" in files(tmp_path)
  assert start().acquire({"aa"}) == set()
  taker.release({"aa"})
  assert start().acquire({"aa"}) == {"aa"}


def hold(workdir, told):
  Leases(workdir, 1000.0).__enter__().acquire({"aa"})
  told.send(None)
  os.kill(os.getpid(), 9)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are told by /proc")
def test_a_process_of_this_machine_that_is_no_more_is_not_waited_for(tmp_path, start):
  context = multiprocessing.get_context("spawn")
  here, there = context.Pipe()
  process = context.Process(target=hold, args=(tmp_path, there))
  process.start()
  here.recv()
  process.join()
  assert files(tmp_path) == ["aa-0.json"]
  assert start().acquire({"aa"}) == {"aa"}


@pytest.mark.parametrize(
  "change",
  [
    {"machine": "another", "pid": 2**22 + 1},
    {"machine": ""},
    {"started": None},
    {"pid": None},
  ],
)
def test_nothing_is_concluded_of_processes_that_cannot_be_seen(tmp_path, start, change):
  one, two = start(), start()
  one.acquire({"aa"})
  path = tmp_path / "leases" / "aa-0.json"
  content = json.loads(path.read_text())
  process = content["process"] | change
  if "pid" in change and change["pid"] is None:
    del process["pid"]
  path.write_text(json.dumps(content | {"process": process}))
  assert two.acquire({"aa"}) == set()
  path.write_text(json.dumps(content))  # so that its owner gives it back


@pytest.mark.parametrize("content", ("", "{", "[]", "17", '{"owner": 3}'))
def test_a_damaged_lease_is_waited_for_like_any_other(tmp_path, start, clock, content):
  (tmp_path / "leases").mkdir()
  (tmp_path / "leases" / "aa-0.json").write_text(content)
  one = start()
  assert one.acquire({"aa"}) == set()
  clock.now += SECONDS
  assert one.acquire({"aa"}) == {"aa"}


def test_leases_of_finished_units_are_forgotten(tmp_path, start):
  one = start()
  one.acquire({"aa", "bb"})
  two = Leases(tmp_path, SECONDS)
  two.forget(lambda: ["aa", "cc"])
  assert files(tmp_path) == ["bb-0.json"]
  assert two.live() == {"bb"}


@pytest.mark.skipif(not living.machine(), reason="processes are told by /proc")
def test_leases_of_the_dead_go_though_no_configuration_knows_their_units_now(tmp_path, start):
  one = start()
  one.acquire({"living", "stopped"})  # which is of this machine, however long it stands still
  mine = json.loads((tmp_path / "leases" / "living-0.json").read_text())
  others = {
    "dead": mine["process"] | {"pid": 2**22 + 1},
    "elsewhere": mine["process"] | {"machine": "another"},
    "silent": mine["process"] | {"machine": "another"},
  }
  for unit, process in others.items():
    (tmp_path / "leases" / f"{unit}-0.json").write_text(json.dumps(mine | {"process": process}))
  for unit in ("silent", "stopped"):
    path = tmp_path / "leases" / f"{unit}-0.json"
    then = path.stat().st_mtime - SECONDS - 1
    os.utime(path, (then, then))
  Leases(tmp_path, SECONDS).forget(lambda: ["aa"])
  assert files(tmp_path) == ["elsewhere-0.json", "living-0.json", "stopped-0.json"]
  (tmp_path / "leases" / "elsewhere-0.json").unlink()


def test_a_unit_has_a_name_whatever_the_order_of_its_points():
  points = [point(seed=seed) for seed in range(3)]
  assert unit_name(points) == unit_name(points[::-1]) != unit_name(points[:2])
  assert unit_name(points) != unit_name([point(seed=seed, scale=1.0) for seed in range(3)])
