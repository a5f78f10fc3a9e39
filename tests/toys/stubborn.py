"""An experiment that is at something which a signal's handler cannot interrupt: where, its config says.

When it has come there it makes the file `there` in its workdir.
"""

import gc
import pathlib
import sys
import time

import jax
import jax.numpy as jnp

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.reports.report import Report
from qnn_jax.sweeps.points import Row, Worked
from qnn_jax.sweeps.task import Task

SECONDS = 60.0


def busy():
  end = time.monotonic() + SECONDS
  while time.monotonic() < end:
    pass


class Destroyed:
  def __del__(self):
    busy()


def compiled():
  """A call of minutes: nothing of Python runs in the main thread before it returns."""
  x = jnp.ones((64, 64))
  loop = jax.jit(lambda x: jax.lax.fori_loop(0, 10**9, lambda _, x: jnp.tanh(x @ x), x))
  jax.block_until_ready(loop(x))


def run(group, job):
  there = job.workdir / "there"
  for point in group.points:
    match point["at"]:
      case "collector":
        gc.callbacks.append(lambda *_: busy())
        there.touch()
        gc.collect()
      case "destructor":
        thing = Destroyed()
        there.touch()
        del thing
      case "compiled":
        there.touch()
        compiled()
      case "step":
        there.touch()
        busy()
      case "saving":
        found = job.load([point])
        waits = not there.exists()
        there.touch()
        while waits and not job.stopping:
          time.sleep(0.01)
        time.sleep(0.6 * waits)  # the step that it is at
        for step in range(found[0] if found else 0, 3):
          job.save([point], step + 1, {"x": jnp.zeros((1, 2))})
    yield Worked(1)
    yield Row(point, {"value": 1.0})


def report(config, rows):
  if config.at == "report":
    pathlib.Path(sys.argv[-1].partition("=")[2], "there").touch()
    busy()
  return Report({}, said="done")


TASK = Task("stubborn", {"seeds": "seed"}, run)

if __name__ == "__main__":
  command.main(Experiment(TASK, report=report))
