"""low_rank's runs, one per rank and seed. A seed is trained once with a full Q, then truncated to every rank."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import optax
from flax import nnx

from experiments.minibatches import Program
from qnn_jax import losses, models
from qnn_jax.datasets import load_dataset
from qnn_jax.errors import InputError
from qnn_jax.layers import LowRankQuadraticLinear
from qnn_jax.ops import packed_size, unpack
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row
from qnn_jax.sweeps.possible import NUMBER, PERCENT, SEED, Possible, number, whole
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.sweeps.trained import module_of
from qnn_jax.training import minibatch

AXES = {"ranks": "rank", "seeds": "seed"}

_TESTED_AT_ONCE = 500  # images


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value of a configs/low_rank.py that makes no sense."""
  checks.once(config, "ranks")
  checks.whole(config, "ranks", "seeds", "epochs", "batch_size", "train_size")
  checks.whole(config, "hidden", least=0)
  checks.number(config, "learning_rate", "quadratic_learning_rate", above=0)
  if config.train_size < config.batch_size:
    raise InputError(
      f"train_size must be at least batch_size, {config.batch_size}, got {config.train_size}"
    )


def check_data(config: ml_collections.ConfigDict) -> None:
  """InputError if the data set cannot be read or is too small, or a rank or a Q is too large for it."""
  data = load_dataset(config.dataset, config.data_dir or None)
  if config.train_size > len(data.train_images):
    raise InputError(
      f"train_size is {config.train_size}, but the data set has {len(data.train_images)} training samples"
    )
  n = config.hidden or data.train_images.shape[1]
  if max(config.ranks) > n:
    raise InputError(f"ranks must be at most {n}, the inputs of the last layer, got {config.ranks}")
  # The full Q, V of a batch, and in packed form Q, its gradient and Adam's two moments.
  numbers = data.classes * (n * n + config.batch_size * n + 4 * packed_size(n))
  checks.memory(2.0 * 4 * numbers, f"Q of {n} inputs and {data.classes} neurons")


def shape_of(values: Mapping[str, Any]) -> tuple[int, int, int]:
  """(height, width, channels) of the data set's images."""
  return load_dataset(values["dataset"], values["data_dir"] or None).shape


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """One group per seed, with all its ranks."""
  together: dict[tuple, list[Point]] = {}
  for point in missing:
    together.setdefault((point.fields, point["seed"]), []).append(point)
  cost = lambda values: values["epochs"] * values["train_size"]
  return [
    Group(tuple(mine), cost=cost(mine[0].fields.values), program=str(_shape(mine[0].fields.values)))
    for mine in together.values()
  ]


def network_of(values: Mapping[str, Any], head: str, inputs: int, classes: int) -> dict[str, Any]:
  """The description from which `sweeps.trained` makes the module: one layer, or a hidden layer and a head."""
  if not values["hidden"]:
    return {"layer": head, "in_features": inputs, "out_features": classes}
  hidden = values["hidden"]
  return {"in_features": inputs, "hidden": hidden, "classes": classes, "head": head}


def _shape(values):
  """What the program depends on. The learning rates are its arguments."""
  return values["hidden"], values["batch_size"]


@functools.lru_cache(maxsize=2)
def program_of(hidden: int, batch_size: int, inputs: int, classes: int) -> Program:
  """The training program, cached for the next group of the process."""

  def make_model(rngs):
    if not hidden:
      return models.make_layer("qnn", inputs, classes, rngs=rngs)
    return models.Classifier(inputs, hidden, classes, "qnn", rngs=rngs)

  def make_trainer(own_rate, rate):
    optimizer = minibatch.quadratic_partition(optax.adam(own_rate), optax.adam(rate))
    loss = losses.sigmoid_cross_entropy
    return minibatch.make_trainer(make_model, loss, optimizer, batch_size=batch_size)

  return Program(make_trainer)


class Trained(NamedTuple):
  """A trained network, and the functions to test it.

  Attributes:
    model: the network with the full Q.
    diverged: whether a parameter or the loss is not finite.
    test: a network -> its test accuracy in percent.
    network: a head's name -> the description from which `sweeps.trained` makes such a network.
  """

  model: Any
  diverged: bool
  test: Callable[[Any], float]
  network: Callable[[str], dict[str, Any]]


def train(group: Group, job: Job) -> Generator[Event, None, Trained]:
  """Trains the seed of a group's first point: a single layer if there is no field `hidden`."""
  values = {"hidden": 0} | group.points[0].fields.values
  data = load_dataset(values["dataset"], values["data_dir"] or None)
  pixels = lambda images: images.astype(np.float32) / 255
  size, inputs = values["train_size"], data.train_images.shape[1]
  y = np.eye(data.classes, dtype=np.float32)[data.train_labels[:size]]
  program = program_of(*_shape(values), inputs, data.classes)
  one = dataclasses.replace(
    group, points=group.points[:1]
  )  # one lane, because all ranks share one training
  rates = [(values["quadratic_learning_rate"], values["learning_rate"])]
  samples = pixels(data.train_images[:size]), y
  trained = yield from program.train(one, job, rates, samples, values["epochs"])
  network = lambda head: network_of(values, head, inputs, data.classes)
  model = module_of(network("qnn"), jax.tree.map(lambda leaf: leaf[0], trained.params))
  test = functools.partial(_accuracy, images=pixels(data.test_images), labels=data.test_labels)
  return Trained(model, bool(trained.diverged[0]), test, network)


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a seed, and tests it with every rank of the group."""
  model, diverged, test, network = yield from train(group, job)
  full, errors = test(model), _errors(model, diverged)
  # Computed once: eigenvalues are sorted by magnitude, so that a lower rank is the beginning of a higher one.
  highest = LowRankQuadraticLinear.from_quadratic(
    _last(model), max(point["rank"] for point in group.points)
  )
  rows = []
  for point in group.points:
    rank = point["rank"]
    low = module_of(network(f"lowrank:{rank}"), truncated(model, highest, rank))
    accuracy = test(low)
    metrics = {
      "accuracy": accuracy,
      "full_accuracy": full,
      "change": round(accuracy - full, 4),
      "error": errors[rank - 1],
    }
    row = Row(point, metrics, "diverged" if diverged else "ok")
    if job.keep_params:
      kept = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(low)))
      row = row._replace(params=kept, network=network(f"lowrank:{rank}"))
    rows.append(row)
  yield rows


def _last(model: Any) -> Any:
  """The layer with Q: the last layer of the network, or the network itself."""
  return model.layers[-1] if isinstance(model, models.Classifier) else model


def truncated(model: nnx.Module, highest: LowRankQuadraticLinear, rank: int) -> dict[str, Any]:
  """The network's parameters with Q replaced by its nearest matrix of that rank, taken from `highest`."""
  low = nnx.to_pure_dict(nnx.state(highest))
  low |= {"v": low["v"][:, :rank], "s": low["s"][:rank]}
  if not isinstance(model, models.Classifier):
    return low
  params = nnx.to_pure_dict(nnx.state(model))
  params["layers"][len(model.layers) - 1] = low
  return params


def _errors(model: nnx.Module, diverged: bool) -> list[float | None]:
  """[n], for ranks from 1: the norm of the part of all Q that the rank leaves out, over the norm of all Q."""
  q = np.asarray(unpack(_last(model).q[...]), np.float64)
  if diverged:
    return [None] * q.shape[-1]
  by_size = np.sort(np.linalg.eigvalsh(q) ** 2, -1)[:, ::-1]
  squares = by_size.sum(0)  # for each place, summed over the neurons
  left_out = squares[::-1].cumsum()[::-1] - squares
  return np.sqrt(left_out / squares.sum()).tolist()


def _accuracy(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
  """The percentage of the images whose largest output is that of their label."""
  predict = nnx.jit(lambda model, x: model(x).argmax(-1))
  parts = np.split(images, range(_TESTED_AT_ONCE, len(images), _TESTED_AT_ONCE))
  found = np.concatenate([predict(model, part) for part in parts])
  return round(100 * float((found == labels).mean()), 4)


POSSIBLE = Possible(
  metrics={
    "accuracy": PERCENT,
    "full_accuracy": PERCENT,
    "change": NUMBER,
    "error": number(0, 1),
  },
  axes={"rank": whole(1), "seed": SEED},
)
TASK = Task("low_rank", AXES, run, groups, possible=POSSIBLE)
