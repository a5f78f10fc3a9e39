"""Slices: disjoint, whole, equally heavy, and the same whatever is finished, on every machine."""

import dataclasses

import pytest
import toy

from qnn_jax.sweeps import launch
from qnn_jax.sweeps.launch import Sweep
from qnn_jax.sweeps.points import Group, in_slices
from qnn_jax.sweeps.store import Store


def make_sweep(workdir, part=None, of_task=toy.TASK, **changes):
  config = toy.config(**changes)
  return Sweep(of_task, of_task.points_of(config), workdir, part=part, workers=1)


def store(workdir):
  return Store(workdir, "toy", toy.AXES).read()


def sets(workdir, count, **options):
  return [set(launch.owed(make_sweep(workdir, (i, count), **options))) for i in range(count)]


@pytest.mark.parametrize("count", (1, 2, 3, 7, 20))
def test_slices_are_disjoint_and_whole(tmp_path, count):
  every = make_sweep(tmp_path, seeds=8).points
  parts = sets(tmp_path, count, seeds=8)
  assert set().union(*parts) == set(every)
  assert sum(map(len, parts)) == len(every) == 16
  assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_slices_keep_the_order_of_results(tmp_path):
  sweep = make_sweep(tmp_path, (1, 2), seeds=5)
  mine = launch.owed(sweep)
  assert mine == [point for point in sweep.points if point in set(mine)]


def test_slices_are_equally_heavy():
  """Groups of costs that differ a hundredfold: no slice is dearer than a fair share and one group more."""
  costs = [1.0, 100.0, 7.0, 7.0, 50.0, 50.0, 3.0, 30.0, 30.0, 22.0]
  groups = [Group((toy.point(seed=i),), cost=cost) for i, cost in enumerate(costs)]
  for count in (1, 2, 3, 4):
    slices = in_slices(groups, count)
    assert sorted(g.cost for part in slices for g in part) == sorted(costs)
    sums = [sum(group.cost for group in part) for part in slices]
    assert max(sums) <= sum(costs) / count * 4 / 3 or max(sums) == max(costs)
  assert in_slices(groups, 3) == in_slices(groups, 3)


def test_slices_go_by_the_cost_of_groups(tmp_path):
  def groups(points, parts):
    return [Group((p,), cost=6.0 if p["seed"] == 0 else 1.0) for p in points]

  heavy = dataclasses.replace(toy.TASK, groups=groups)
  parts = sets(tmp_path, 2, of_task=heavy, models=("a",), seeds=7)
  assert sorted(map(len, parts)) == [1, 6]


def test_slices_do_not_depend_on_what_is_finished_nor_on_the_machine(tmp_path, monkeypatch):
  before = sets(tmp_path, 3, seeds=5)
  sweep = make_sweep(tmp_path, seeds=2)
  (tmp_path / "records").mkdir()
  list(launch.run(sweep, store(tmp_path), launch.plan(sweep, store(tmp_path))))
  assert len(store(tmp_path).found) == 4
  for cores in (1, 64):
    monkeypatch.setattr("qnn_jax.sweeps.machine.cores", lambda cores=cores: cores)
    monkeypatch.setattr("qnn_jax.sweeps.plan.cores", lambda cores=cores: cores)
    assert sets(tmp_path, 3, seeds=5) == before


def test_slices_together_do_what_one_command_does(tmp_path):
  for i in range(3):
    sweep = make_sweep(tmp_path, (i, 3), seeds=4)
    todo = launch.plan(sweep, store(tmp_path))
    of_this = [e for e in launch.run(sweep, store(tmp_path), todo) if isinstance(e, launch.Rows)]
    assert {r.point for rows in of_this for r in rows.rows} == set(launch.owed(sweep))
  whole = make_sweep(tmp_path, seeds=4)
  assert launch.plan(whole, store(tmp_path)).groups == []
  assert set(store(tmp_path).found) == set(whole.points)
