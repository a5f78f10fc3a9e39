"""The slope of a line through noisy points, by gradient descent: a new experiment in two files."""

import jax
import jax.numpy as jnp

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.points import Row, Worked
from qnn_jax.sweeps.possible import POSITIVE, SEED, Possible
from qnn_jax.sweeps.task import Task


def check(config):
  checks.whole(config, "seeds", "epochs")
  checks.number(config, "learning_rate", above=0)


def run(group, job):
  for point in group.points:
    x, noise = jax.random.normal(jax.random.key(point["seed"]), (2, 20))
    slope, y = jnp.zeros(()), point["slope"] * x + 0.1 * noise
    for _ in range(point["epochs"]):
      slope -= point["learning_rate"] * ((slope * x - y) * x).mean()
    yield Worked(1)
    finite = bool(jnp.isfinite(slope))
    error = abs(float(slope) - point["slope"])
    yield Row(point, {"error": error}, "ok" if finite else "diverged")


POSSIBLE = Possible({"error": POSITIVE}, {"seed": SEED})
TASK = Task("line", {"slopes": "slope", "seeds": "seed"}, run, possible=POSSIBLE)

if __name__ == "__main__":
  command.main(Experiment(TASK, check=check))
