"""What the engine plans: workers, programs, and what ends a sweep."""

import dataclasses

import jax
import ml_collections
import pytest
import toy

from qnn_jax.errors import InputError
from qnn_jax.sweeps import launch
from qnn_jax.sweeps.launch import Ended, Rows, Sweep
from qnn_jax.sweeps.points import Group
from qnn_jax.sweeps.store import Store


def make_sweep(workdir, of_task=toy.TASK, workers=1, **changes):
  config = toy.config(**changes)
  (workdir / "records").mkdir(parents=True, exist_ok=True)
  points, keep = of_task.points_of(config), config.keep_params
  return Sweep(of_task, points, workdir, keep_params=keep, workers=workers)


def store(workdir):
  return Store(workdir, "toy", toy.AXES).read()


def run(sweep):
  known = store(sweep.workdir)
  return launch.run(sweep, known, launch.plan(sweep, known))


def points_of(events):
  """The points that were told to be finished, each once."""
  found = [row.point for event in events if isinstance(event, Rows) for row in event.rows]
  assert len(found) == len(set(found))
  return set(found)


def values(workdir):
  return {point.values: row.metrics["value"] for point, row in store(workdir).found.items()}


def test_a_stopped_sweep_carries_on(tmp_path):
  events = run(make_sweep(tmp_path))
  for _ in events:
    if len(store(tmp_path).found) == 2:
      break
  events.close()
  assert not (tmp_path / "leases").exists()
  assert len(points_of(run(make_sweep(tmp_path)))) == 4
  assert len(values(tmp_path)) == 6


def test_wrong_input_ends_the_sweep(tmp_path):
  def wrong(group, job):
    raise InputError("no such file")
    yield

  sweep = make_sweep(tmp_path, dataclasses.replace(toy.TASK, run=wrong))
  with pytest.raises(InputError, match="no such file"):
    list(run(sweep))
  assert not (tmp_path / "leases").exists() and not (tmp_path / "failures").exists()


def test_groups_of_one_program_stay_with_the_worker_that_compiled_it(tmp_path):
  def groups(points, parts):
    return [Group((p,), program=str(p["seed"])) for p in points]

  by_seed = dataclasses.replace(toy.TASK, groups=groups)
  events = run(make_sweep(tmp_path, by_seed))
  programs = [event.group.program for event in events if isinstance(event, Ended)]
  assert programs == ["0", "0", "1", "1", "2", "2"]


def test_the_number_of_workers(tmp_path, monkeypatch):
  for workers in (0, -1):
    with pytest.raises(InputError, match=f"--workers must be at least 1, got {workers}$"):
      launch.plan(make_sweep(tmp_path, workers=workers), store(tmp_path))
  monkeypatch.setattr("qnn_jax.sweeps.plan.cores", lambda: 3)
  assert launch.plan(make_sweep(tmp_path, workers=None), store(tmp_path)).workers == 3
  assert launch.plan(make_sweep(tmp_path, workers=None, seeds=1), store(tmp_path)).workers == 2
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  with pytest.raises(InputError, match="--workers must be 1 on an accelerator, .* got 2$"):
    launch.plan(make_sweep(tmp_path, workers=2), store(tmp_path))
  assert launch.plan(make_sweep(tmp_path, workers=None), store(tmp_path)).workers == 1


def test_more_runs_than_anybody_waits_for_are_refused_at_once():
  with pytest.raises(InputError, match=r"asks for 2e\+09 runs \(models = 2 values, seeds = 1,000"):
    toy.TASK.points_of(toy.config(seeds=10**9))


def test_a_changed_field_is_a_point_s_own(tmp_path):
  """Other values of what `points` gives to a point leave the points of the rest as they are."""

  def points(config):
    for name, of_model in config.models.to_dict().items():
      yield {"model": name, "seed": 0, "size": of_model}

  own = dataclasses.replace(toy.TASK, points=points)
  models = lambda **sizes: toy.config(models=ml_collections.ConfigDict(sizes))
  one, two = (set(own.points_of(models(**m))) for m in ({"x": 1, "y": 2}, {"x": 1, "y": 3}))
  assert {p.values for p in one & two} == {("x", 0)} and len(one | two) == 3
  assert {p["size"] for p in one} == {1, 2}
