"""deep_quadratic's runs, one per variant and seed. The seeds of a variant train side by side."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.deep_quadratic.data import small_data
from experiments.minibatches import Program
from qnn_jax import losses, models
from qnn_jax.initializers import symmetrized
from qnn_jax.sweeps import compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, alike_in_parts
from qnn_jax.sweeps.possible import COUNT, PERCENT, POSITIVE, SEED, Possible, list_of, or_none, text
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import devices, minibatch

Ends = tuple[int, int]  # inputs and classes of a network

AXES = {"variants": "variant", "seeds": "seed"}


class Variant(NamedTuple):
  """How a network is initialised and trained.

  Attributes:
    kind: the kind of every layer.
    zero_start: whether Q starts at zero.
    own_rate: whether Q has a learning rate of its own.
  """

  kind: str
  zero_start: bool
  own_rate: bool


VARIANTS = {
  "naive": Variant("qnn", False, False),
  "own rate only": Variant("qnn", False, True),
  "zero start only": Variant("qnn", True, False),
  "stable": Variant("qnn", True, True),
  "plain network": Variant("ann", True, False),
}

# On a CPU more seeds per device in one program do not reduce the time per seed, and they delay the first rows,
# which are written when a group ends.
LANES_AT_ONCE = 8

# How many times as long one seed of a quadratic network takes as one seed of the plain network.
_QUADRATIC = 20


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """Groups of seeds of one variant, about `parts` groups in all."""
  key = lambda point: (point.fields, point["variant"])
  found = []
  for part in alike_in_parts(missing, parts, key, LANES_AT_ONCE * devices.count()):
    values, variant = part[0].fields.values, VARIANTS[part[0]["variant"]]
    cost = len(part) * values["epochs"] * values["train_size"]
    cost *= _QUADRATIC if variant.kind == "qnn" else 1
    program = f"{_shape(values)} {variant[:2]} {len(part)}"
    found.append(Group(part, cost=cost, program=program))
  return found


def workers(wanted: Sequence[Point], cores: int) -> int:
  """The fastest number of processes: one per core, if their work takes longer than starting them."""
  costs = [group.cost for group in groups(wanted, 1)]
  return min(cores, len(wanted)) if sum(costs) > _A_WORKER else 1


# In the unit of a group's cost: the few seconds that starting and compiling take.
_A_WORKER = 400_000


def network_of(values: Mapping[str, Any], kind: str, ends: Ends) -> dict[str, Any]:
  """The arguments of its `models.Classifier`; all layers are of one kind."""
  inputs, classes = ends
  hidden = tuple(values["hidden"])
  return {
    "in_features": inputs, "hidden": hidden, "classes": classes, "head": kind, "hidden_kind": kind,
  }  # fmt: skip


def make_network(
  values: Mapping[str, Any], kind: str, zero_start: bool, ends: Ends, rngs: nnx.Rngs
) -> models.Classifier:
  """A network with layers of one kind. Layers start with Q zero by default; the naive variant draws Q."""
  network: Any = models.Classifier(**network_of(values, kind, ends), rngs=rngs)
  if not zero_start:
    q_init = symmetrized(jax.nn.initializers.normal(values["init_scale"]))
    for layer in network.layers:
      layer.q[...] = q_init(rngs.params(), layer.q.shape, jnp.float32)
  return network


def _shape(values):
  """What a program depends on, besides the variant. Rates and momentum are arguments of a program."""
  return tuple(values["hidden"]), values["batch_size"], values["init_scale"]


@functools.lru_cache(maxsize=4)
def program_of(kind: str, zero_start: bool, shape: tuple, ends: Ends) -> tuple[Program, Any]:
  """(training program, output function), cached for the next group of the process."""
  hidden, batch_size, init_scale = shape
  values = {"hidden": hidden, "init_scale": init_scale}
  make_model = functools.partial(make_network, values, kind, zero_start, ends)

  def make_trainer(own_rate, rate, momentum):
    own, common = optax.sgd(own_rate, momentum), optax.sgd(rate, momentum)
    optimizer = minibatch.quadratic_partition(own, common)
    return minibatch.make_trainer(
      make_model, losses.half_squared_error, optimizer, batch_size=batch_size
    )

  predict = minibatch.make_predict(make_model)

  # One seed at a time, because V of (44) has 48 x 48 numbers for each of 10,000 images.
  def outputs(trained, x):
    return jax.lax.map(lambda of_lane: predict(of_lane, x), trained)

  return Program(make_trainer), jax.jit(devices.over_runs(outputs, (0, None)))


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a variant with the seeds of the group, one lane per seed."""
  values = group.points[0].fields.values
  kind, zero_start, own_rate = VARIANTS[group.points[0]["variant"]]
  data = small_data(*(values[k] for k in ("dataset", "data_dir", "train_size", "test_size")))
  ends = data.x.shape[1], data.y.shape[1]
  program, outputs = program_of(kind, zero_start, _shape(values), ends)
  rate = values["learning_rate"]
  rates = (values["quadratic_learning_rate"] if own_rate else rate, rate, values["momentum"])
  lanes = [rates] * len(group.points)
  trained = yield from program.train(group, job, lanes, (data.x, data.y), values["epochs"])
  answers = np.asarray((yield from compiling.call(outputs, trained, data.test_x)))
  accuracy = 100 * (answers.argmax(-1) == data.test_labels).mean(-1)
  params = jax.tree.map(np.asarray, nnx.to_pure_dict(trained.params))
  epoch = len(data.x) // values["batch_size"]
  rows = []
  for i, point in enumerate(group.points):
    of_lane = jax.tree.map(lambda leaf, i=i: leaf[i], params)
    diverged_at = int(trained.diverged_at[i]) if trained.diverged[i] else None
    of_run = metrics(np.asarray(trained.loss[i]), epoch, diverged_at)
    last = of_run["last_loss"]
    status = "diverged" if last is None else "ok" if last < data.constant else "stuck"
    of_run |= {
      "parameters": sum(leaf.size for leaf in jax.tree.leaves(of_lane)),
      "constant_loss": data.constant,
      "accuracy": None if last is None else float(accuracy[i]),
    }
    row = Row(point, of_run, status)
    if job.keep_params:
      row = row._replace(params=of_lane, network=network_of(values, kind, ends))
    rows.append(row)
  yield rows


def metrics(loss: np.ndarray, epoch: int, diverged_at: int | None) -> dict[str, Any]:
  """A run's metrics from its losses [steps], given the number of steps per epoch."""
  finite = loss[np.isfinite(loss)]
  line = thinned(loss)
  return {
    "first_loss": float(loss[0]),
    "largest_loss": float(finite.max()) if finite.size else None,
    "last_loss": float(loss[-epoch:].mean()) if diverged_at is None else None,
    "steps_until_diverged": diverged_at,
    "steps": [step for step, _ in line],
    "losses": [value for _, value in line],
  }


def thinned(loss: np.ndarray) -> list[tuple[float, float]]:
  """(step, mean loss) of about 60 stretches of increasing length, up to the first loss that is not finite."""
  finite = loss[: np.argmin(np.isfinite(loss))] if not np.isfinite(loss).all() else loss
  edges = np.unique(np.geomspace(1, len(loss) + 1, 60).astype(int))
  edges = np.unique(np.append(edges[edges <= len(finite)], len(finite) + 1))
  return [
    (float(np.sqrt(a * (b - 1))), float(finite[a - 1 : b - 1].astype(float).mean()))
    for a, b in itertools.pairwise(edges)
  ]


def _fits(values, run):
  of_the_end = (run["last_loss"], run["accuracy"], run["steps_until_diverged"])
  diverged = run["status"] == "diverged"
  return [value is None for value in of_the_end] == [diverged, diverged, not diverged] and (
    len(run["steps"]) == len(run["losses"])
  )


POSSIBLE = Possible(
  metrics={
    **dict.fromkeys(("first_loss", "largest_loss", "last_loss", "constant_loss"), POSITIVE),
    "accuracy": PERCENT,
    "steps_until_diverged": or_none(COUNT),
    "parameters": COUNT,
    "steps": list_of(POSITIVE),
    "losses": list_of(POSITIVE),
  },
  axes={"variant": text(*VARIANTS), "seed": SEED},
  fits=_fits,
)
TASK = Task("deep_quadratic", AXES, run, groups, workers=workers, possible=POSSIBLE)
