"""The engine: what is missing runs once, whoever runs it, however it was stopped."""

import multiprocessing
import time

import jax
import pytest
import toy_tasks
from toy_tasks import points, sweep

from qnn_jax.errors import InputError
from qnn_jax.sweeps import failures, launch, status
from qnn_jax.sweeps.launch import Over, Waiting
from qnn_jax.sweeps.leases import Leases, unit_name
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Failed, Rows

pytestmark = pytest.mark.fast


def store_of(of):
  return Store(of.workdir, of.task.name, of.task.axis_names).read()


def run(of):
  """All events of a sweep."""
  store = store_of(of)
  return list(launch.run(of, store, launch.plan(of, store)))


def ran(log):
  """(size, seed) of every run in a log, in order."""
  if not log.exists():
    return []
  return [tuple(map(int, line.split()[:2])) for line in log.read_text().splitlines()]


def test_every_point_runs_once_and_is_on_disk_when_it_is_told_of(tmp_path):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(log=str(log)))
  store, told = store_of(of), []
  for event in launch.run(of, store, launch.plan(of, store)):
    if isinstance(event, Rows):
      told += [row.point for row in event.rows]
      assert set(told) <= store_of(of).found.keys()
  assert sorted(ran(log)) == [(size, seed) for size in (1, 2) for seed in range(3)]
  assert set(told) == set(of.points) == store_of(of).found.keys()
  assert store_of(of).found[of.points[4]].metrics == {"value": 2.1}


def test_a_rerun_runs_nothing_and_leaves_everything_as_it_is(tmp_path):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(log=str(log)))
  run(of)
  before = {path: path.read_bytes() for path in of.workdir.rglob("*") if path.is_file()}
  assert run(of) == [] and len(ran(log)) == 6
  assert {path: path.read_bytes() for path in of.workdir.rglob("*") if path.is_file()} == before
  assert not (of.workdir / "leases").exists()


def test_a_growing_sweep_runs_only_what_is_new(tmp_path):
  log = tmp_path / "log"
  run(sweep(tmp_path / "run", points(log=str(log))))
  log.unlink()
  run(sweep(tmp_path / "run", points(sizes=(1, 2, 3), seeds=4, log=str(log))))
  assert sorted(ran(log)) == [(1, 3), (2, 3), (3, 0), (3, 1), (3, 2), (3, 3)]


def test_another_configuration_has_results_of_its_own_in_the_same_workdir(tmp_path):
  run(sweep(tmp_path / "run", points(rate=0.1)))
  of = sweep(tmp_path / "run", points(rate=0.2))
  assert len(launch.plan(of, store_of(of)).groups) == 2
  assert not any(launch.is_done(of, store_of(of), point) for point in of.points)


def test_kept_parameters_are_part_of_what_is_owed(tmp_path):
  run(sweep(tmp_path / "run"))
  assert not (tmp_path / "run" / "params").exists()
  of = sweep(tmp_path / "run", keep_params=True)
  run(of)
  assert all(found.params for found in store_of(of).found.values())
  assert len(list((tmp_path / "run" / "params").glob("*.npz"))) == 6
  assert run(of) == []


def test_a_group_that_fails_is_told_of_and_the_others_go_on(tmp_path):
  of = sweep(tmp_path / "run", points(kind="fails"))
  (failed,) = [event for event in run(of) if isinstance(event, Failed)]
  assert failed.why == "ValueError: size 2 cannot be done"
  assert {point["size"] for point in store_of(of).found} == {1}
  assert set(failures.read(of.workdir)) == {p.text() for p in of.points if p["size"] == 2}
  states = {state.group.points[0]["size"]: state.state for state in status.states(of, store_of(of))}
  assert states == {1: "done", 2: "failed"}


def test_a_failure_is_forgotten_when_the_group_is_done(tmp_path):
  of = sweep(tmp_path / "run")
  failures.write(tmp_path / "run", of.points[3:], "ValueError: once", "...")
  run(of)
  assert failures.read(of.workdir) == {}


def test_two_workers_share_the_groups_and_find_the_same(tmp_path):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(sizes=(1, 2, 3), kind="slow", log=str(log)), workers=2)
  run(of)
  assert len(ran(log)) == 9 and len({line.split()[2] for line in log.read_text().splitlines()}) == 2
  assert set(of.points) == store_of(of).found.keys()
  assert not multiprocessing.active_children()


def test_timings_run_alone_and_whole(tmp_path):
  log = tmp_path / "log"
  wanted = points(log=str(log))
  of = sweep(tmp_path / "run", wanted, toy_tasks.ALONE, workers=2)
  run(of)
  assert len(ran(log)) == 6 and len({line.split()[2] for line in log.read_text().splitlines()}) == 1
  min((of.workdir / "records").iterdir()).unlink()
  time.sleep(0.01)
  run(of)
  assert len(ran(log)) == 12  # all of it again, not only what was missing


def _launch(workdir, log, kind, seconds):
  run(sweep(workdir, points(seeds=4, kind=kind, log=str(log)), lease_seconds=seconds))


def test_launchers_that_share_a_workdir_divide_the_groups(tmp_path):
  log, workdir = tmp_path / "log", tmp_path / "run"
  workdir.mkdir()
  context = multiprocessing.get_context("spawn")
  every = [context.Process(target=_launch, args=(workdir, log, "slow", 30.0)) for _ in range(2)]
  for process in every:
    process.start()
  for process in every:
    process.join()
    assert process.exitcode == 0
  assert sorted(ran(log)) == [(size, seed) for size in (1, 2) for seed in range(4)]
  assert not (workdir / "leases").exists()


def test_a_killed_launcher_s_groups_are_taken_over_at_once_on_its_machine(tmp_path):
  log, workdir = tmp_path / "log", tmp_path / "run"
  workdir.mkdir()
  process = multiprocessing.get_context("spawn").Process(
    target=_launch, args=(workdir, log, "slow", 3600.0)
  )
  process.start()
  while not ran(log):
    time.sleep(0.02)
  process.kill()
  process.join()
  assert list((workdir / "leases").iterdir())
  _launch(workdir, log, "slow", 3600.0)
  found = store_of(sweep(workdir, points(seeds=4, kind="slow", log=str(log)))).found
  assert len(found) == 8 and not (workdir / "leases").exists()


def test_a_group_of_another_launcher_is_waited_for_and_taken_over(tmp_path, monkeypatch):
  of = sweep(tmp_path / "run", points(seeds=1), lease_seconds=0.4)
  other = Leases(of.workdir, 0.4)
  monkeypatch.setattr(launch, "_WAIT", 0.05)
  with other:
    other.acquire([unit_name([of.points[1]])])
    other._ended.set()  # from now on it gives no sign, as if its machine were gone
    (of.workdir / "leases" / f"{unit_name([of.points[1]])}-0.json").write_text("{}")
    events = run(of)
    assert any(isinstance(event, Waiting) for event in events)
    assert set(of.points) == store_of(of).found.keys()


def test_what_another_launcher_finishes_is_not_done_again(tmp_path, monkeypatch):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(seeds=1, log=str(log)), lease_seconds=60.0)
  monkeypatch.setattr(launch, "_WAIT", 0.01)
  store, other = store_of(of), Leases(of.workdir)
  with other:
    other.acquire([unit_name([of.points[1]])])
    events = launch.run(of, store, launch.plan(of, store))
    for event in events:
      if isinstance(event, Waiting):
        break
    list(toy_tasks.run(toy_tasks.groups(of.points[1:], 1)[0], None))
    one = sweep(tmp_path / "other", of.points[1:])
    run(one)
    for path in (one.workdir / "records").iterdir():
      path.rename(of.workdir / "records" / path.name)
    log.unlink()
    assert [type(event) for event in events] == [Over]
  assert ran(log) == []


def test_an_accelerator_is_not_shared(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  of = sweep(tmp_path / "run", workers=2)
  with pytest.raises(InputError, match="--workers must be 1 on an accelerator, .* got 2$"):
    launch.plan(of, store_of(of))
  assert launch.plan(sweep(tmp_path / "run", workers=None), store_of(of)).workers == 1


@pytest.mark.parametrize("workers", (0, -1))
def test_fewer_than_one_worker(tmp_path, workers):
  of = sweep(tmp_path / "run", workers=workers)
  with pytest.raises(InputError, match=f"--workers must be at least 1, got {workers}$"):
    launch.plan(of, store_of(of))
