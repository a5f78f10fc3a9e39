"""Table 5: measures the training time of the models, which take turns epoch by epoch."""

import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from experiments.table4 import check as table4
from experiments.table4.program import Program
from experiments.table4.task import network
from qnn_jax.datasets import load_dataset
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.compiling import call
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, Worked
from qnn_jax.sweeps.possible import PERCENT, POSITIVE, Possible, list_of, text, whole
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Net

AXES = {"runs_at_once": "seeds", "models": "model"}


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/table5.py that makes no sense."""
  table4.models(config)
  if "ann" not in config.models:
    raise InputError(
      f"models must hold 'ann', to which the others are compared, got {config.models}"
    )
  checks.once(config, "models", "runs_at_once")
  checks.whole(config, "train_size", "epochs", "hidden", "runs_at_once")
  table4.learning(config)
  table4.block(config, config.train_size)
  per_sample.Method(block=config.block, sub_block=config.sub_block)


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data set cannot be read or is too small, or a net fits no memory."""
  data = load_dataset(config.dataset, config.data_dir or None)
  available, inputs = data.train_images.shape
  table4.memory(config.hidden, config.models, inputs, data.classes)
  runs = max(config.runs_at_once)
  checks.memory(12.0 * inputs * config.hidden * runs, f"{runs} runs at once")
  if config.train_size > available:
    raise InputError(
      f"train_size is {config.train_size}, but the data set has {available} training samples"
    )


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """One group per number of runs at once, with all its models. It runs alone, because times are compared."""
  together: dict[Point, list[Point]] = {}
  for point in missing:
    together.setdefault(point.without("model"), []).append(point)
  return [
    Group(
      tuple(mine),
      cost=shared["train_size"] * shared["epochs"] * len(mine) * (3 + shared["seeds"]),
      program=shared.text(),
      alone=True,
      title=f"{', '.join(p['model'] for p in mine)}, {shared['seeds']} at once",
    )
    for shared, mine in together.items()
  ]


@dataclasses.dataclass
class _Course:
  """The training of a model, with its current state."""

  point: Point
  program: Program
  state: Any
  chunks: Iterator[tuple[per_sample.Chunk, int]]
  seconds: list[float] = dataclasses.field(default_factory=list)  # of each epoch


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains every model of the group, with the number of runs at once that the points give.

  The models take turns, one epoch each, so that other load on the machine affects all of them equally.
  """
  first = group.points[0]
  epochs, size = first["epochs"], first["train_size"]
  share = group.cost / (epochs * len(group.points))
  courses = []
  for point in group.points:
    courses.append((yield from _start(point, size, epochs)))
  for _ in range(epochs):
    for course in courses:
      trainer, data = course.program.trainer, course.program.data
      begin, left = time.perf_counter(), size
      while left:
        chunk, count = next(course.chunks)
        course.state = trainer.run(course.state, *data, chunk)
        left -= count
      jax.block_until_ready(course.state)
      course.seconds.append(time.perf_counter() - begin)
      yield Worked(share)
  rows = []
  for course in courses:
    rows.append((yield from _row(course, epochs, job.keep_params)))
  yield rows  # together, because times that were measured at different moments must not be compared


def _start(point, size, epochs):
  program = Program((Net(point["model"], point["hidden"]),), point.fields.values)
  trainer = program.trainer
  lanes = _lanes(point)
  start, rates = program.params(lanes), program.rates(lanes)
  once, _ = next(program.chunks(lanes, size, 0, 1))
  state = yield from call(trainer.start, start, rates)
  yield from call(
    trainer.run, state, *program.data, once
  )  # compiles the program before its time is measured
  return _Course(
    point, program, trainer.start(start, rates), program.chunks(lanes, size, 0, epochs)
  )


def _lanes(point):
  """One point per seed, in the form that Table 4's program takes."""
  runs = range(point["seeds"])
  return [Point(point.fields, ("model", "seed"), (point["model"], seed)) for seed in runs]


def _row(course, epochs, keep_params):
  program = course.program
  params = program.trainer.finish(course.state)
  found = yield from call(program.evaluate, params, *program.test_data)
  # The first epoch also computes the products that later epochs use again.
  first, *later = course.seconds
  seconds = first + (epochs - 1) * statistics.median(later or [first])
  metrics = {
    "seconds": round(seconds, 6),
    "accuracy": round(float(found.accuracy.mean()), 2),
    "epoch_seconds": [round(s, 6) for s in course.seconds],
  }
  row = Row(course.point, metrics, "ok" if bool(found.finite.all()) else "diverged")
  if keep_params:  # the parameters of seed 0
    kept = jax.tree.map(lambda leaf: np.asarray(leaf[0]), params[0])
    row = row._replace(params=kept, network=network(program.fleet, program.fleet.nets[0]))
  return row


def _one(points: Sequence[Point], cores: int) -> int:
  """One worker: a group here runs alone."""
  return 1


def _fits(values, run):
  return len(run["epoch_seconds"]) == values["epochs"]


POSSIBLE = Possible(
  metrics={"seconds": POSITIVE, "accuracy": PERCENT, "epoch_seconds": list_of(POSITIVE)},
  axes={"seeds": whole(1), "model": text()},
  statuses=("ok", "diverged"),
  fits=_fits,
  measured=("seconds", "epoch_seconds"),
)
TASK = Task("table5", AXES, run, groups, workers=_one, possible=POSSIBLE)
