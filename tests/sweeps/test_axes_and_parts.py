"""Points that belong together, and axes of one text."""

import ml_collections
import pytest

from qnn_jax.errors import InputError
from qnn_jax.sweeps.points import Fields, Point, alike_in_parts
from qnn_jax.sweeps.task import Task


def points(**seeds):
  fields = Fields({})
  return [
    Point(fields, ("model", "seed"), (m, seed)) for m, n in seeds.items() for seed in range(n)
  ]


@pytest.mark.parametrize(
  ("parts", "most", "sizes"),
  [(1, 99, [5, 2]), (2, 99, [2, 3, 2]), (7, 99, [1] * 7), (1, 2, [1, 2, 2, 2]), (99, 99, [1] * 7)],
)
def test_points_of_a_key_in_equal_parts(parts, most, sizes):
  every = points(a=5, b=2)
  found = alike_in_parts(every, parts, lambda point: point["model"], most)
  assert sorted(map(len, found)) == sorted(sizes)
  assert [point for part in found for point in part] == every
  assert all(len({point["model"] for point in part}) == 1 for part in found)
  assert alike_in_parts([], 3, lambda point: point["model"]) == []


def test_an_axis_may_be_a_text():
  config = ml_collections.ConfigDict({"init": "normal", "seeds": 2, "rate": 0.1})
  task = Task("any", {"init": "init", "seeds": "seed"}, run=lambda group, job: iter(()))
  assert [point.values for point in task.points_of(config)] == [("normal", 0), ("normal", 1)]
  config.seeds = 10**12
  with pytest.raises(InputError, match=r"asks for 1e\+12 runs \(seeds = 1,000,000,000,000\)"):
    task.points_of(config)
