"""An experiment of as many groups as runs, which take no time: what is left is what the engine itself takes."""

import ml_collections

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Group, Row
from qnn_jax.sweeps.task import Task


def run(group, job):
  for point in group.points:
    yield Row(point, {"value": float(point["seed"])})


def groups(points, parts):
  return [Group((point,), program=str(point["seed"])) for point in points]


def get_config(preset=""):
  return ml_collections.ConfigDict({"seeds": 2000, "keep_params": False})


TASK = Task("many", {"seeds": "seed"}, run, groups)

if __name__ == "__main__":
  command.main(Experiment(TASK, default_config=__file__))
