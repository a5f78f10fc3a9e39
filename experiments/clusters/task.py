"""Fig. 2's runs: a layer of six neurons on six clusters. All seeds of a model train side by side as lanes."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from qnn_jax import ops
from qnn_jax.datasets.clusters import CLASSES, Clusters, make_clusters
from qnn_jax.initializers import STARTS
from qnn_jax.inspect import CONICS, quadric_kind
from qnn_jax.sweeps import checks, compiling
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Group, Point, Row, Worked, alike_in_parts
from qnn_jax.sweeps.possible import NUMBER, PERCENT, SEED, Possible, list_of, or_none, text
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import devices, logistic

FEATURES = {
  "qnn": 6,
  "ann": 3,
}  # how many of `logistic.features` are used: an ordinary neuron has no M(x)

_STRETCHES = 10  # progress reports and checkpoints of a training
_MOST_SEEDS = 64  # in one program on a device; the features of a seed's samples take 20 MB

# A worker process of its own pays from this number of steps, some seconds of work.
_STEPS_A_WORKER = 10_000_000


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense."""
  checks.once(config, "models")
  for model in config.models:
    checks.choice("models", model, FEATURES)
  checks.whole(config, "seeds", "train_pairs", "test_pairs")
  checks.whole(config, "epochs", least=0)
  checks.number(config, "learning_rate", above=0)
  checks.number(config, "init_scale", least=0)
  checks.choice("init", config.init, STARTS)
  # For each pair: its draws in float64, its features and targets in float32, and a copy of each.
  for name in ("train_pairs", "test_pairs"):
    bytes_needed = 150.0 * CLASSES * config[name] * min(config.seeds, _MOST_SEEDS * devices.count())
    checks.memory(bytes_needed, f"{name} = {config[name]:,}")


def groups(missing: Sequence[Point], parts: int) -> list[Group]:
  """The seeds of a model together, quadratic layers first; divided if there are fewer models than `parts`."""
  key = lambda point: (point.fields, point["model"])
  found = [
    _group(part) for part in alike_in_parts(missing, parts, key, _MOST_SEEDS * devices.count())
  ]
  return sorted(found, key=lambda group: -group.cost)


def _group(part):
  program = f"{part[0]['model']} {len(part)} {part[0]['train_pairs']}"
  return Group(part, cost=_cost_of_epoch(part) * part[0]["epochs"] or 1.0, program=program)


def _cost_of_epoch(part):
  return 1.0 * FEATURES[part[0]["model"]] * len(part) * CLASSES * part[0]["train_pairs"]


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains a group from its last checkpoint, if there is one, and tests it."""
  first = group.points[0]
  epochs, features = first["epochs"], FEATURES[first["model"]]
  data = [make_clusters(p["seed"], p["train_pairs"], p["test_pairs"]) for p in group.points]
  # The sample axis comes first, then features, so that a step reads one short row: [N, F, seeds, 1].
  phi = np.stack([logistic.features(jnp.asarray(d.train_x))[:, :features] for d in data], axis=-1)
  labels = np.stack([d.train_y for d in data], axis=1)
  targets = devices.put(np.eye(CLASSES, dtype=np.float32)[labels], 1)
  inputs = devices.put(phi[..., None], 2)

  start, done = np.stack([start_of(point) for point in group.points]), 0  # [seeds, F, CLASSES]
  kept = job.load(group.points, most=epochs)
  if kept:
    done, start = kept
  cost = _cost_of_epoch(group.points)
  yield Worked(done * cost, resumed=True)
  theta = devices.put(start.swapaxes(0, 1), 1)
  for stop in sorted({epochs * i // _STRETCHES for i in range(1, _STRETCHES + 1)}):
    if stop <= done:
      continue
    theta = yield from compiling.call(
      _sgd, theta, inputs, targets, first["learning_rate"], stop - done
    )
    yield Worked((stop - done) * cost)
    done = stop
    job.save(group.points, done, np.asarray(theta).swapaxes(0, 1)[: len(data)])
    job.drop(group.points, before=done)
  trained = np.asarray(theta)
  yield [evaluate(point, trained[:, i], data[i], job) for i, point in enumerate(group.points)]


@jax.jit
def _sgd(theta, inputs, targets, rate, epochs):
  """`logistic.sgd` with the seed axis divided among all devices."""
  spread = devices.over_runs(logistic.sgd, (1, 2, 1, None, None), 1)
  return spread(theta, inputs, targets, rate, epochs)


def start_of(point: Point) -> np.ndarray:
  """The initial theta [F, CLASSES] of a point. Both models start from the same b and w."""
  drawn = logistic.start(point["seed"], 2, CLASSES, point["init"], point["init_scale"])
  return np.asarray(drawn)[: FEATURES[point["model"]]]


def evaluate(point: Point, theta: np.ndarray, data: Clusters, job: Job) -> Row:
  """The row of theta [F, CLASSES], measured on the test data.

  Its metrics are: `accuracy`, the percentage of test pairs for which the neuron of their class has the largest
  output; `all_right`, the percentage for which all six neurons are on the right side of 1/2; `kinds`, those of the
  six boundaries (see `quadric_kind`); and `theta`.
  """
  row = Row(point, _metrics(point["model"], theta, data) | {"theta": theta.tolist()})
  if not np.isfinite(theta).all():
    row = row._replace(status="diverged")
  if not job.keep_params:
    return row
  q, kernel, bias = logistic.split(theta, n=2)
  params = {"kernel": kernel, "bias": bias} | ({"q": q} if len(q) else {})
  network = {"layer": point["model"], "in_features": 2, "out_features": CLASSES}
  return row._replace(params=params, network=network)


def _metrics(model, theta, data):
  if not np.isfinite(theta).all():
    return {"accuracy": None, "all_right": None, "kinds": ["diverged"] * CLASSES}
  q, kernel, bias = logistic.split(theta, n=2)
  if model == "qnn":
    z = np.asarray(ops.quadratic(data.test_x, q, kernel, bias))
  else:
    z = np.asarray(ops.affine(data.test_x, kernel, bias))
    q = np.zeros((3, CLASSES))
  accuracy = (z.argmax(-1) == data.test_y).mean()
  all_right = ((z > 0) == (np.arange(CLASSES) == data.test_y[:, None])).all(-1).mean()
  return {
    "accuracy": round(100 * float(accuracy), 4),
    "all_right": round(100 * float(all_right), 4),
    "kinds": [
      quadric_kind([[a, b], [b, c]], w, b0)
      for (a, b, c), w, b0 in zip(q.T, kernel.T, bias, strict=True)
    ],
  }


def workers(wanted: Sequence[Point], cores: int) -> int:
  """One worker process per model, because one program keeps one core busy."""
  programs = {
    (point.fields, point["model"]): point["epochs"] * CLASSES * point["train_pairs"]
    for point in wanted
  }
  return max(1, min(cores, len(programs), sum(programs.values()) // _STEPS_A_WORKER))


def _fits(values, run):
  return len(run["theta"]) == FEATURES[values["model"]]


POSSIBLE = Possible(
  metrics={
    "accuracy": PERCENT,
    "all_right": PERCENT,
    "kinds": list_of(text(*CONICS, "diverged"), CLASSES),
    "theta": list_of(list_of(or_none(NUMBER), CLASSES)),
  },
  axes={"model": text(*FEATURES), "seed": SEED},
  statuses=("ok", "diverged"),
  fits=_fits,
)
TASK = Task(
  "clusters",
  {"models": "model", "seeds": "seed"},
  run,
  groups=groups,
  workers=workers,
  possible=POSSIBLE,
)
