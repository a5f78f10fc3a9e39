"""In how many parts a fleet's nets are divided where it runs, as --net_parts asks."""

from qnn_jax import command
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps.points import Row, Worked
from qnn_jax.sweeps.task import Task
from qnn_jax.training import sharded
from qnn_jax.training.fleet import Net


def run(group, job):
  nets = [Net("ann", (8,)), Net("qnn", (8,)), Net("rpqnn", (8,))]
  parts = len(sharded.parts_of(nets, sharded.asked_parts()))
  if any(point["fails"] for point in group.points):
    raise ValueError(f"{parts} parts")
  yield Worked(1)
  yield from (Row(point, {"parts": parts}) for point in group.points)


TASK = Task("parts", {"seeds": "seed"}, run)

if __name__ == "__main__":
  command.main(Experiment(TASK))
