"""An experiment whose runs wait to be stopped, and then save; each makes a file there-SEED first.

With the file `go` in the workdir they end by themselves.
"""

import time

import jax.numpy as jnp

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Row, Worked
from qnn_jax.sweeps.task import Task

SECONDS = 120.0


def run(group, job):
  for point in group.points:
    (job.workdir / f"there-{point['seed']}").touch()
    end = time.monotonic() + SECONDS
    while not (job.workdir / "go").exists() and time.monotonic() < end:
      if job.stopping:
        job.save([point], 1, {"x": jnp.zeros((1, 2))})
      time.sleep(0.01)
    yield Worked(1)
    yield Row(point, {"value": 1.0})


TASK = Task("patient", {"seeds": "seed"}, run)

if __name__ == "__main__":
  command.main(Experiment(TASK))
