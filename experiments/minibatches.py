"""Minibatch training of all points of a group side by side, with progress and checkpoints."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax
import numpy as np

from qnn_jax.sweeps import compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Group, Worked
from qnn_jax.training import devices, minibatch
from qnn_jax.training.minibatch import Trained, Trainer

# The epochs of a group are run in this many stretches. If the epochs do not divide evenly, the last stretch is
# shorter and needs a program of its own.
_STRETCHES = 20

# Seconds between two checkpoints.
_SECONDS = 2.0


class Program:
  """Compiled programs for lanes that differ in their seeds and in some numbers, such as learning rates.

  Args:
    make_trainer: a lane's numbers -> `Trainer`; the numbers are traced.
  """

  def __init__(self, make_trainer: Callable[..., Trainer]):
    def start(seed, numbers):
      # The key of a seed does not depend on the number of seeds.
      return make_trainer(*numbers).start(jax.random.fold_in(jax.random.key(0), seed))

    def run(states, numbers, inputs, targets, epochs):
      lane = lambda state, of, x, y: make_trainer(*of).run(state, x, y, epochs)
      lanes = jax.vmap(lane, (0, 0, None, None))
      return devices.over_runs(lanes, (0, 0, None, None))(states, numbers, inputs, targets)

    self._start = jax.jit(devices.over_runs(jax.vmap(start), (0, 0)))
    self._run = jax.jit(run, static_argnums=4)
    self._finish = jax.jit(devices.over_runs(jax.vmap(minibatch.finish), (0, 0)))

  def train(
    self, group: Group, job: Job, numbers: Sequence[Sequence[float]], data: tuple, epochs: int
  ) -> Generator[Compiled | Worked, None, Trained]:
    """Trains a lane for each point of the group, from the last checkpoint if there is one.

    Args:
      group: the points; the axis `seed` of a point gives the key of its lane.
      job: the group's job.
      numbers: for each point, the arguments of `make_trainer`.
      data: (inputs [N, ...], targets [N, ...]), the same for all lanes.
      epochs: at least 1.

    Returns:
      The trained state of every lane, leaves [lanes, ...], for `yield from`. On several devices there may be
      more lanes than points; the additional ones are copies of the last.
    """
    seeds = np.array([point["seed"] for point in group.points], np.uint32)
    columns = tuple(np.array(column, np.float32) for column in zip(*numbers, strict=True))
    seeds, columns = devices.put((seeds, columns), 0)
    data = devices.put(data, None)
    first = yield from compiling.call(self._start, seeds, columns)
    done, states, losses = self._load(group, job, epochs, first)
    a_pass, stretch = group.cost / epochs, -(-epochs // _STRETCHES)
    yield Worked(done * a_pass, resumed=True)
    saved = time.monotonic()
    while done < epochs:
      ahead = min(stretch, epochs - done)
      states, loss = yield from compiling.call(self._run, states, columns, *data, ahead)
      losses.append(np.asarray(loss))
      done += ahead
      yield Worked(ahead * a_pass)
      if done < epochs and (job.stopping or time.monotonic() - saved > _SECONDS):
        tree = {"state": jax.tree.leaves(states), "losses": np.concatenate(losses, axis=1)}
        job.save(group.points, done, jax.tree.map(lambda leaf: leaf[: len(group.points)], tree))
        job.drop(group.points, before=done)
        saved = time.monotonic()
    return (yield from compiling.call(self._finish, states, np.concatenate(losses, axis=1)))

  def _load(self, group, job, epochs, first) -> tuple[int, Any, list[np.ndarray]]:
    found = job.load(group.points, most=epochs)
    if found is None:
      return 0, first, []
    done, tree = found
    tree = devices.padded(tree, 0)
    states = jax.tree.unflatten(jax.tree.structure(first), tree["state"])
    return done, states, [tree["losses"]]
