"""A task for tests of the engine: it needs no data and takes no time."""

import ml_collections
import numpy as np

from qnn_jax.sweeps.points import Fields, Group, Point, Row, Worked
from qnn_jax.sweeps.task import Task

AXES = ("model", "seed")


def run(group, job):
  """A row a point, model 'b' diverges; model 'broken' fails with seed 1."""
  for point in group.points:
    if point["model"] == "broken" and point["seed"] == 1:
      raise ValueError("it broke")
    yield Worked(1)
    value = 10 * point["scale"] + point["seed"]
    status = "diverged" if point["model"] == "b" else "ok"
    params = {"w": np.full(2, value)} if job.keep_params else None
    yield Row(point, {"value": value, "curve": [1.0, value]}, status, params, {})


TASK = Task("toy", {"models": "model", "seeds": "seed"}, run)


def config(**changes):
  """Two models, three seeds, and a field that changes the numbers."""
  values = {"models": ("a", "b"), "seeds": 3, "scale": 0.5, "keep_params": False}
  return ml_collections.ConfigDict(values | changes)


def point(model="a", seed=0, **fields):
  """A point of the task, or of another configuration."""
  return Point(Fields({"scale": 0.5} | fields), AXES, (model, seed))


def group(*points):
  """A group of these points."""
  return Group(points or (point(),))
