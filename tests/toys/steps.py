"""Runs of a few seconds in steps, with checkpoints and a log: to be stopped in the middle."""

import os
import time

import jax
import numpy as np

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Row, Worked
from qnn_jax.sweeps.task import Task


def run(group, job):
  for point in group.points:
    if point["seed"] == point["broken"]:
      raise ValueError("it broke")
    first, tree = job.load([point]) or (0, {"value": np.zeros(1)})
    _note(job, "begins", point, first)
    value = tree["value"][0]
    for step in range(first, point["steps"]):
      time.sleep(point["seconds"])
      value += (step + 1) * (point["seed"] + 1)
      if step + 1 < point["steps"]:
        job.save([point], step + 1, {"value": np.array([value])})
        job.drop([point], step + 1)
        _note(job, "saves", point, step + 1)
      yield Worked(1 / point["steps"])
    _note(job, "ends", point, first)
    yield Row(point, {"value": float(value), "processes": jax.process_count()})
    job.drop([point], point["steps"])  # the row is on disk


def _note(job, what, point, step):
  """Time, what, seed, step, process, and whether it is one that srun started."""
  with open(job.workdir / "log", "a") as log:
    mine = os.getpid(), os.environ.get("SLURM_ARRAY_TASK_ID", "-"), "SLURM_STEP_ID" in os.environ
    log.write(" ".join(map(str, (time.time(), what, point["seed"], step, *mine))) + "\n")


TASK = Task("steps", {"seeds": "seed"}, run)

if __name__ == "__main__":
  command.main(Experiment(TASK))
