"""What a log shows of a sweep: lines now and then, and what became of workers."""

import io
import re

import pytest
from rich.console import Console
from toy_tasks import points, sweep

from qnn_jax.sweeps import launch, progress
from qnn_jax.sweeps.launch import Lost
from qnn_jax.sweeps.points import Fields, Group, Point, Said
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.worker import Failed

pytestmark = pytest.mark.fast


def shown(of, monkeypatch, before=()):
  """The lines in a log of a sweep, with a line of progress a tenth of a second."""
  monkeypatch.setattr(progress, "_EVERY", 0.1)
  store, log = Store(of.workdir, of.task.name, of.task.axis_names).read(), io.StringIO()
  todo = launch.plan(of, store)
  events = (event for every in (before, launch.run(of, store, todo)) for event in every)
  progress.show(events, todo, Console(file=log, width=100))
  return log.getvalue().splitlines()


def test_a_log_has_lines_of_progress(tmp_path, monkeypatch):
  lines = shown(sweep(tmp_path / "run", points(sizes=(1,), seeds=8, kind="slow")), monkeypatch)
  told = [re.fullmatch(r"\d\d:\d\d:\d\d (.*) \((\d) of 8 runs\)", line) for line in lines[:-1]]
  assert all(told) and len(told) > 8
  stages = [match.group(1) for match in told]
  begun = next(i for i, stage in enumerate(stages) if "%" in stage)
  first = stages.index("compiling")
  assert stages[:begun] == ["starting"] * first + ["compiling"] * (begun - first) and first < begun
  assert any(re.fullmatch(r"\d+ % done, 0:0\d left", match.group(1)) for match in told)
  counts = [int(match.group(2)) for match in told]
  assert counts == sorted(counts) and counts[-1] > 4
  assert lines[-1].startswith("done")


def test_lines_of_groups_name_the_swept_values(tmp_path):
  of = [Fields({"rate": rate, "nested": {"kind": "a"}}) for rate in (0.1, 0.01)]
  groups = [Group((Point(each, ("head", "seed"), ("qnn", 0)),), title="a title") for each in of]
  events = [launch.Started(groups[0]), Said("half way", groups[0].points), Said("a line")]
  events += [Failed(groups[1], "ValueError: no"), Lost("worker 0", "died", groups[0], False)]
  log, swept = io.StringIO(), ("rate", "head", "nested.kind")
  progress.show(iter(events), launch.Plan(groups, 1), Console(file=log, width=200), swept=swept)
  assert log.getvalue().splitlines()[:4] == [
    "head qnn; seed 0; rate 0.1; nested.kind a: half way",
    "a line",
    "failed: a title; rate 0.01; nested.kind a: ValueError: no",
    "worker 0 died at a title; rate 0.1; nested.kind a",
  ]


def test_a_sweep_that_is_over_soon_has_none(tmp_path, monkeypatch):
  monkeypatch.setattr(progress, "_every", lambda call: pytest.fail("a thread for nothing"))
  of = sweep(tmp_path / "run")
  store = Store(of.workdir, of.task.name, of.task.axis_names)
  progress.show(iter(()), launch.Plan([], 1), Console(file=io.StringIO()))
  assert store.found == {}


def test_a_lost_worker_is_named(tmp_path, monkeypatch):
  of = sweep(tmp_path / "run")
  group = launch.plan(of, Store(of.workdir, "toy", of.task.axis_names)).groups[0]
  lost = [Lost("worker 1 (pid 42)", "gave no sign for 9 s and was killed", group, True)]
  lines = shown(of, monkeypatch, [launch.Started(group), *lost])
  assert (
    "worker 1 (pid 42) gave no sign for 9 s and was killed at size 1; seed 0, 1, 2; it is tried again"
    in lines
  )


@pytest.mark.parametrize(
  "seconds, told", [(7, "0:07"), (200, "3:20"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_minutes(seconds, told):
  assert progress._minutes(seconds) == told
