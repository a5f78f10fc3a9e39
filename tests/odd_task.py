"""A task that says what its rows may hold, and notes what ran in `RAN`."""

import ml_collections

from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Group, Row
from qnn_jax.sweeps.possible import PERCENT, SEED, Possible, list_of
from qnn_jax.sweeps.task import Task

RAN = []


def run(group, job):
  RAN.extend(group.points)
  values = [10.5 * (1 + point["seed"]) + len(point["model"]) for point in group.points]
  yield [Row(p, {"accuracy": v, "curve": [v, v / 2]}) for p, v in zip(group.points, values)]


def groups(points, parts):
  of_model = {}
  for point in points:
    of_model.setdefault(point["model"], []).append(point)
  return [Group(tuple(of)) for of in of_model.values()]


POSSIBLE = Possible({"accuracy": PERCENT, "curve": list_of(PERCENT, 2)}, {"seed": SEED})
TASK = Task("odd", {"models": "model", "seeds": "seed"}, run, groups, possible=POSSIBLE)
EXPERIMENT = Experiment(TASK)
CONFIG = ml_collections.ConfigDict(
  {"models": ("a", "bb"), "seeds": 2, "rate": 0.5, "keep_params": False}
)
