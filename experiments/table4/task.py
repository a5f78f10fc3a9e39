"""Table 4's runs: lanes trained side by side, tested after each number of epochs in the table."""

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from experiments.table4 import check
from experiments.table4.groups import (
  AXES,
  default_workers,
  groups,
  lane_of,
  net_order,
  points,
  program_text,
)  # fmt: skip
from experiments.table4.program import Program
from qnn_jax.datasets import load_dataset
from qnn_jax.errors import InputError
from qnn_jax.sweeps.compiling import call
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Group, Point, Row, Worked
from qnn_jax.sweeps.possible import PERCENT, SEED, Possible, text, whole
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training.fleet import Fleet, Net

# Samples of a lane between two checkpoints, if evaluations are further apart than this: three epochs of 60,000
# samples, which take 20 s on two cores.
_A_CHECKPOINT = 180_000

MakeProgram = Callable[[tuple[Net, ...], dict[str, Any]], Program]


@functools.lru_cache(maxsize=1)
def program_of(make: MakeProgram, nets: tuple[Net, ...], text: str) -> Program:
  """The program of these nets and fields (as JSON), cached for the next group of the process."""
  return make(nets, json.loads(text))


def run(group: Group, job: Job, make: MakeProgram = Program) -> Iterator[Event]:
  """Trains a group, from its last checkpoint if there is one, and tests it after each number of epochs asked for."""
  values = group.points[0].fields.values
  config: Any = jax.config  # before JAX 0.12 the types of jax.config do not list its options
  float64 = values.get("dtype") == "float64" or config.jax_enable_x64
  with jax.enable_x64(float64):
    pairs = sorted({(p["hidden"], p["model"]) for p in group.points}, key=net_order)
    nets = tuple(Net(model, hidden) for hidden, model in pairs)
    yield from _run(group, job, program_of(make, nets, program_text(values)))


def _run(group, job, program):
  trainer, nets = program.trainer, program.fleet.nets
  wanted = set(group.points)
  eval_epochs = sorted({p["epochs"] for p in group.points})
  lanes = list(dict.fromkeys(lane_of(point) for point in group.points))
  padded = [*lanes, *[lanes[-1]] * (program.width(len(lanes)) - len(lanes))]
  size = lanes[0]["train_size"]
  a_sample = len(lanes) * sum(net.hidden for net in nets)  # the cost of a sample

  begin = time.perf_counter()
  done, params = 0, jax.block_until_ready(program.params(padded))
  test = lambda: _test(program, lanes, wanted, done, params, job.keep_params)
  yield Compiled(time.perf_counter() - begin)
  # A checkpoint is valid for exactly these nets.
  names = " ".join(f"{net.head}-{net.hidden}" for net in nets)
  kept = [Point(p.fields, (*p.names, "nets"), (*p.values, names)) for p in lanes]
  checkpoint = job.load(kept, most=eval_epochs[0])
  if checkpoint:
    done, params = checkpoint
    params = jax.tree.map(lambda leaf: _pad(leaf, len(padded)), params)
  yield Worked(done * size * a_sample, resumed=True)

  if done in eval_epochs:
    yield from test()
  chunks = program.chunks(padded, size, done, eval_epochs[-1])
  for stop in stops(done, eval_epochs, size):
    start = program.starting(padded, params), program.rates(padded)
    state = yield from call(trainer.start, *start)
    left = (stop - done) * size
    while left:
      chunk, count = next(chunks)
      state = yield from call(trainer.run, state, *program.data, chunk)
      left -= count
      yield Worked(count * a_sample)
      if job.stopping and left % size == 0:
        break  # the epoch is finished, and is saved below
    params = yield from call(trainer.finish, state)
    done, params = stop - left // size, jax.tree.map(np.asarray, params)
    job.save(kept, done, jax.tree.map(lambda leaf: leaf[: len(lanes)], params))
    if done in eval_epochs:
      yield from test()
    job.drop(kept, before=done)


def _test(program, lanes, wanted, epoch, params, keep_params):
  """The rows of all lanes after an epoch.

  Each device tests one lane at a time, so that one program serves any number of lanes.
  """
  fleet, rows, names = program.fleet, [], tuple(wanted)[0].names
  for i, lane in enumerate(lanes):
    of_lane = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], params)
    j = i % program.lanes_a_test
    if j == 0:
      several = jax.tree.map(lambda leaf, i=i: leaf[i : i + program.lanes_a_test], params)
      found = yield from call(program.evaluate, several, *program.test_data)
      accuracy, finite = np.asarray(found.accuracy, float), np.asarray(found.finite)
    for k, net in enumerate(fleet.nets):
      axes = lane.axes() | {"epochs": epoch, "hidden": net.hidden, "model": net.head}
      point = Point(lane.fields, names, tuple(axes[name] for name in names))
      if point not in wanted:
        continue
      # A hundredth of a percent is one test image; further digits are rounding errors.
      metrics = {"accuracy": round(float(accuracy[k, j]), 4)}
      row = Row(point, metrics, "ok" if finite[k, j] else "diverged")
      if keep_params:
        kept = jax.tree.map(lambda leaf: np.asarray(leaf[0]), of_lane[k])
        row = row._replace(params=kept, network=network(fleet, net))
      rows.append(row)
  # Sorted net by net, not lane by lane, as in the table.
  yield sorted(rows, key=lambda row: net_order((row.point["hidden"], row.point["model"])))


def network(fleet: Fleet, net: Net) -> dict[str, Any]:
  """The description from which a net's module is made, see `sweeps.trained`."""
  return {
    "in_features": fleet.in_features,
    "hidden": net.hidden,
    "classes": fleet.classes,
    "head": net.head,
    "hidden_kind": net.hidden_kind,
    "dtype": fleet.dtype,
  }


def _pad(leaf, lanes):
  return np.concatenate([leaf, np.repeat(leaf[-1:], lanes - len(leaf), 0)])


def stops(done: int, eval_epochs: Sequence[int], size: int) -> Iterator[int]:
  """The epochs after which there is a checkpoint: those of the evaluations, and some in between.

  They are the same whether a run is stopped or not. Packing and unpacking the state at a checkpoint changes its last
  bits, so that other checkpoints would give other results.
  """
  every = max(1, _A_CHECKPOINT // size)
  for epoch in eval_epochs:
    if epoch > done:
      yield from range(done + every, epoch, every)
      yield epoch
      done = epoch


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data set cannot be read, or has too few samples for a training size, or if a net does not fit into memory."""
  data = load_dataset(config.dataset, config.data_dir or None)
  check.memory(max(config.hidden), config.models, data.train_images.shape[1], data.classes)
  for size in config.train_sizes:
    if size > len(data.train_images):
      raise InputError(
        f"train_sizes holds {size}, but the data set has {len(data.train_images)} training samples"
      )


POSSIBLE = Possible(
  metrics={"accuracy": PERCENT},
  axes={
    "train_size": whole(1),
    "epochs": whole(1),
    "hidden": whole(1),
    "model": text(),
    "seed": SEED,
  },
  statuses=("ok", "diverged"),
)
TASK = Task("table4", AXES, run, groups, points, workers=default_workers, possible=POSSIBLE)
