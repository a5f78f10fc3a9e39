"""heavy_curve's runs, one per network, rate and seed. The runs of a network train side by side."""

import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from flax import nnx

from experiments.minibatches import Program
from qnn_jax import losses, models
from qnn_jax.sweeps import compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, alike_in_parts
from qnn_jax.sweeps.possible import COUNT, NUMBER, POSITIVE, SEED, Possible, list_of, or_none, text
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import devices, minibatch

AXES = {"networks": "model", "learning_rates": "rate", "seeds": "seed"}

# The inputs at which fits are compared with the curve and drawn.
GRID = np.linspace(-1, 1, 401, dtype=np.float32)

# On a CPU more lanes per device in one program do not reduce the time per lane, and they delay the first rows,
# which are written when a group ends.
LANES_AT_ONCE = 32


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """Every run. A run holds only the description of its own network, so that networks may be added later."""
  networks = config.networks.to_dict()
  for name, rate, seed in itertools.product(networks, config.learning_rates, range(config.seeds)):
    yield {"model": name, "rate": rate, "seed": seed, "network": networks[name]}


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """Groups of rates and seeds of one network, about `parts` groups in all."""
  key = lambda point: (point.fields, point["model"])
  found = []
  for part in alike_in_parts(missing, parts, key, LANES_AT_ONCE * devices.count()):
    fields = part[0].fields
    cost = len(part) * fields.values["epochs"] * fields.values["points"]
    found.append(Group(part, cost=cost, program=f"{fields.text} {len(part)}"))
  return found


def workers(wanted: Sequence[Point], cores: int) -> int:
  """The fastest number of processes: one per core, if their work takes longer than starting them."""
  work = sum(p["epochs"] * p["points"] for p in wanted)
  return cores if work > _A_WORKER else 1


# Epochs times points that take as long as starting and compiling, a few seconds.
_A_WORKER = 10_000_000


def curve(x):
  """The curve: a wave whose frequency rises with |x + 1/2|; x [...] in [-1, 1]."""
  return np.sin(3.2 * np.pi * (x + 0.5) ** 2)


def training_points(count: int, noise: float, data_seed: int) -> tuple[np.ndarray, np.ndarray]:
  """x [count, 1] evenly spaced and y [count, 1] with noise, the same for all networks."""
  x = np.linspace(-1, 1, count)[:, None]
  drawn = np.random.default_rng(data_seed).normal(size=x.shape)
  return x.astype(np.float32), (curve(x) + noise * drawn).astype(np.float32)


def network_of(description: Mapping[str, Any]) -> dict[str, Any]:
  """The arguments of its `models.Classifier`: one input, the described layers, and one linear output."""
  *hidden_kinds, head = description["kinds"]
  hidden = tuple(description["hidden"])
  return {
    "in_features": 1, "hidden": hidden, "classes": 1, "head": head, "hidden_kind": tuple(hidden_kinds),
  }  # fmt: skip


def make_network(description: Mapping[str, Any], rngs: nnx.Rngs) -> nnx.Module:
  """The network with its initial parameters."""
  return models.Classifier(**network_of(description), rngs=rngs)


def parameters(description: Mapping[str, Any]) -> int:
  """The number of parameters of the network."""
  state = nnx.state(nnx.eval_shape(lambda: make_network(description, nnx.Rngs(0))), nnx.Param)
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))


@functools.lru_cache(maxsize=4)
def program_of(description: str, points: int) -> tuple[Program, Any]:
  """(training program, prediction) of a network described in JSON, cached for the next group of the process."""
  make_model = functools.partial(make_network, json.loads(description))

  def make_trainer(rate):
    adam = optax.adam(rate)
    return minibatch.make_trainer(make_model, losses.half_squared_error, adam, batch_size=points)

  predict = jax.vmap(minibatch.make_predict(make_model), (0, None))
  return Program(make_trainer), jax.jit(devices.over_runs(predict, (0, None)))


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a network at all rates and seeds of the group, one lane per run."""
  values = group.points[0].fields.values
  description = values["network"]
  x, y = training_points(values["points"], values["noise"], values["data_seed"])
  program, predict = program_of(json.dumps(description), values["points"])
  rates = [(point["rate"],) for point in group.points]
  trained = yield from program.train(group, job, rates, (x, y), values["epochs"])
  fitted = np.asarray((yield from compiling.call(predict, trained, GRID[:, None])))[..., 0]
  at_points = np.asarray((yield from compiling.call(predict, trained, x)))[..., 0]
  test = root_mean_square(fitted - curve(GRID))
  train = root_mean_square(at_points - y[:, 0])
  losses_shown = np.asarray(trained.loss)[:, shown_steps(values["epochs"]) - 1]
  size, kept = parameters(description), nnx.to_pure_dict(trained.params)
  rows = []
  for i, point in enumerate(group.points):
    metrics = {
      "parameters": size, "train_rmse": float(train[i]), "test_rmse": float(test[i]),
      "losses": short(losses_shown[i]), "fit": short(fitted[i]),
    }  # fmt: skip
    row = Row(point, metrics, "diverged" if trained.diverged[i] else "ok")
    if job.keep_params:
      params = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), kept)
      row = row._replace(params=params, network=network_of(description))
    rows.append(row)
  yield rows


def shown_steps(epochs: int) -> np.ndarray:
  """The steps, counted from 1, whose losses are kept: about 200, with growing distances."""
  return np.unique(np.geomspace(1, epochs, 200).astype(int))


def short(values: np.ndarray) -> list[float]:
  """float32 values in the shortest decimal form that keeps them exactly."""
  return [float(str(value)) for value in values]


def root_mean_square(values: np.ndarray) -> np.ndarray:
  """The root mean square over the last axis."""
  return np.sqrt((values**2).mean(-1))


def _fits(values, run):
  return len(run["losses"]) == len(shown_steps(values["epochs"]))


POSSIBLE = Possible(
  metrics={
    "parameters": COUNT,
    **dict.fromkeys(("train_rmse", "test_rmse"), POSITIVE),
    "losses": list_of(or_none(NUMBER)),
    "fit": list_of(or_none(NUMBER), len(GRID)),
  },
  axes={"model": text(), "rate": POSITIVE, "seed": SEED},
  statuses=("ok", "diverged"),
  fits=_fits,
)
TASK = Task("heavy_curve", AXES, run, groups, points, workers=workers, possible=POSSIBLE)
