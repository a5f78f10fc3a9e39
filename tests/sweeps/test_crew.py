"""Worker processes that die, hang or are stopped: the sweep goes on, and what cannot be done is told of."""

import dataclasses
import multiprocessing
import os
import pathlib

import jax
import numpy as np
import pytest
from toy_tasks import TASK, points, sweep

from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import crew, failures, launch, processes, status, worker
from qnn_jax.sweeps.launch import Failed, Lost
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.store import Store


def store_of(of):
  return Store(of.workdir, of.task.name, of.task.axis_names).read()


def run(of):
  """All events of a sweep."""
  store = store_of(of)
  return list(launch.run(of, store, launch.plan(of, store)))


def of_kind(kind, events):
  return [event for event in events if isinstance(event, kind)]


def ran(log):
  """(size, seed) of every run in a log."""
  return [tuple(map(int, line.split()[:2])) for line in log.read_text().splitlines()]


def is_stopped(process):
  stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
  return stat.rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def patience(monkeypatch):
  """On a busy machine a worker that is at work may be silent for seconds: here only a stopped one counts."""
  end_the_silent = crew._Crew._end_the_silent

  def patient(self):
    for place in self._places:
      if place.worker and not is_stopped(place.worker.process):
        place.heard = self._clock
    yield from end_the_silent(self)

  if os.path.exists("/proc/self/stat"):
    monkeypatch.setattr(crew._Crew, "_end_the_silent", patient)


SILENT = "gave no sign for 2 s (see --silence_seconds) and was killed"


@pytest.mark.parametrize(
  "kind, options, why",
  [
    ("dies", {}, "died with exit code 3"),
    ("stops", {"silence_seconds": 2.0}, SILENT),
    # One worker that somebody watches is a process, too.
    ("stops", {"silence_seconds": 2.0, "workers": 1}, SILENT),
  ],
  ids=["dies", "stops", "stops alone"],
)
def test_a_lost_worker_is_started_again_and_its_group_with_it(
  tmp_path, patience, kind, options, why
):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(kind=kind, log=str(log)), **{"workers": 2, **options})
  events = run(of)
  (lost,) = of_kind(Lost, events)
  assert lost.why == why and lost.again and lost.who.startswith("worker ")
  assert {point["seed"] for point in lost.group.points} >= {1}
  assert not of_kind(Failed, events) and failures.read(of.workdir) == {}
  assert set(of.points) == store_of(of).found.keys()
  assert sorted(ran(log)) == sorted(set(ran(log)))  # what was on disk was not done again
  assert not (of.workdir / "leases").exists() and not multiprocessing.active_children()


def test_a_group_that_has_cost_two_workers_has_failed_and_the_others_go_on(tmp_path):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(sizes=(1,), kind="killed", log=str(log)), workers=3)
  events = run(of)
  assert [lost.again for lost in of_kind(Lost, events)] == [True, False]
  (failed,) = of_kind(Failed, events)
  assert failed.why == (
    "its worker was killed by the system (SIGKILL), most often for lack of memory, at each of 2 tries"
  )
  assert sorted(ran(log)) == [(1, 0), (1, 2)]
  assert failures.read(of.workdir) == {of.points[1].text(): failed.why}


def test_workers_that_cannot_begin_end_the_sweep(tmp_path, monkeypatch):
  monkeypatch.setattr(
    launch.worker, "work", os._exit
  )  # of a pipe: a TypeError, printed by the worker
  of = sweep(tmp_path / "run", workers=2)
  with pytest.raises(
    WorkerDied, match=r"^worker \d \(pid \d+\) died with exit code 1, and had not"
  ):
    run(of)
  assert not (of.workdir / "leases").exists() and not multiprocessing.active_children()


def test_only_a_place_where_one_after_another_cannot_begin_ends_the_sweep(tmp_path, monkeypatch):
  watch = crew._Crew(sweep(tmp_path / "run"), None, 3, False)
  monkeypatch.setattr(watch, "_are_left", lambda: False)

  def lose(place):
    place.ready, place.worker = (
      False,
      processes.Worker(place.number, multiprocessing.Process(), None),
    )
    return list(watch._lost(place, "died"))

  first, *others = watch._places
  for place in watch._places:  # many at once, which is more memory than there is for a moment
    assert [lost.again for lost in lose(place)] == [False]
  list(watch._take(first, worker.Idle()))  # it has begun
  assert lose(first)
  with pytest.raises(WorkerDied, match=r"^worker 1 \(pid None\) died, and had not begun"):
    lose(others[0])


def test_saving_and_loading_are_signs_of_life(tmp_path):
  def save_and_load(group, job):
    job.save(group.points, 1, {"x": np.zeros(1)})
    job.load(group.points)
    yield Row(group.points[0], {"value": 1.0})

  of = sweep(
    tmp_path / "run", points(sizes=(1,), seeds=1), dataclasses.replace(TASK, run=save_and_load)
  )
  (group,) = launch.plan(of, store_of(of)).groups
  signs = []
  list(worker.run_group(of.task, of.workdir, False, group, lambda: signs.append("alive")))
  assert signs == ["alive", "alive"]
  watch = crew._Crew(of, None, 1, False)
  watch._clock, place = 9.0, crew._Place(0, ())
  assert list(watch._take(place, worker.Alive())) == [] and place.heard == 9.0


def test_a_full_disk_of_the_task_s_own_is_a_failure_as_any_other(tmp_path):
  (failed,) = {
    event.why for event in of_kind(Failed, run(sweep(tmp_path / "run", points(kind="full"))))
  }
  assert failed == "OSError: [Errno 28] No space left on device: 'somewhere/records/a.json'"


def test_too_little_memory_is_a_plain_reason(tmp_path):
  of = sweep(tmp_path / "run", points(kind="memory"))
  (failed,) = of_kind(Failed, run(of))
  assert failed.why.startswith("out of memory: Unable to allocate")
  assert launch.worker._reason(RuntimeError("RESOURCE_EXHAUSTED: Out of memory: 8 GB\nmore")) == (
    "out of memory: Out of memory: 8 GB"
  )


def test_only_what_has_failed_is_tried_again(tmp_path):
  workdir = tmp_path / "run"
  run(sweep(workdir, points(kind="fails")))
  of = sweep(workdir, points(kind="fails", sizes=(1, 2, 3)), retry_failed=True)
  assert status.dry_run_lines(of, launch.plan(of, store_of(of))) == [
    "would run  size 2; seed 0, 1, 2  (3 runs)",
    "3 runs in 1 group (1 program) on 1 worker",
    "the time cannot be estimated: the measured run failed: ValueError: size 2 cannot be done",
  ]
  assert [[p["size"] for p in group.points] for group in launch.plan(of, store_of(of)).groups] == [
    [2, 2, 2]
  ]


def test_what_fails_in_another_launcher_meanwhile_is_not_tried_here(tmp_path):
  log = tmp_path / "log"
  of = sweep(tmp_path / "run", points(seeds=1, log=str(log)))
  failures.write(of.workdir, of.points[:1], "ValueError: of old", "")  # which is tried again
  store = store_of(of)
  events = launch.run(of, store, launch.plan(of, store))
  told = [next(events)]
  failures.write(of.workdir, of.points[1:], "ValueError: of another", "")
  told += list(events)
  (failed,) = of_kind(Failed, told)
  assert failed.why == "ValueError: of another (in another launcher)"
  assert ran(log) == [(1, 0)]


def test_nobody_is_watched_on_an_accelerator(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  of = sweep(tmp_path / "run", silence_seconds=60.0)
  with pytest.raises(InputError, match="^--silence_seconds watches worker processes, and on"):
    launch.plan(of, store_of(of))


@pytest.mark.parametrize(
  "code, told",
  [
    (0, "ended before its work was done"),
    (3, "died with exit code 3"),
    (-6, "was ended by SIGABRT"),
    (-9, "was killed by the system (SIGKILL), most often for lack of memory"),
    (-99, "was ended by signal 99"),
  ],
)
def test_how_a_process_ended(code, told):
  assert processes.how(code) == told
