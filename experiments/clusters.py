"""Six clusters with a single layer: Table 3, Fig. 2. What it does and costs: configs/clusters.py.

  python -m experiments.clusters [--config=configs/clusters.py[:smoke]] [--workdir=DIR]
    [--config.key=value]

Writes DIR/results.csv (a line a layer and seed), clusters.md and clusters.csv (the table) and
clusters.png; the trained neurons are in DIR/neurons.npz, and a rerun that finds them trains
nothing.
"""

import collections
import io
import math
import pathlib
import statistics
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from qnn_jax import experiment, initializers, ops
from qnn_jax.atomic import atomic_write_bytes, atomic_write_text
from qnn_jax.datasets.clusters import CLASSES, Clusters, make_clusters
from qnn_jax.errors import InputError
from qnn_jax.reports.boundaries import clusters_figure
from qnn_jax.reports.conics import conic_kind
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import csv_text, markdown_row
from qnn_jax.training import logistic

PAPER_ACCURACY = 99.97  # Section 6.1, percent; a single training
FEATURES = {"qnn": 6, "ann": 3}  # of `logistic.features`: an ordinary neuron has no M(x)
RULES = ("largest output", "all six right")  # of `Result`: accuracy and all_right
CHUNKS = 10  # how often a training says how far it is


class Result(NamedTuple):
  """One layer of one seed on its test data.

  Attributes:
    model: 'qnn' or 'ann'.
    seed: of the data, their order and the start.
    accuracy: percent of test pairs whose own neuron has the largest output.
    all_right: percent of test pairs on which all six neurons are on the right side of 1/2.
    kinds: of the six boundaries, see `conic_kind`.
  """

  model: str
  seed: int
  accuracy: float
  all_right: float
  kinds: tuple[str, ...]


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, or finds the neurons trained; writes the files and prints the table."""
  data = [make_clusters(seed, config.train, config.test) for seed in range(config.seeds)]
  neurons, seconds = _load(workdir / "neurons.npz", config.seeds)
  if neurons is None:
    neurons, seconds = train(config, data)
    _save(workdir / "neurons.npz", neurons, seconds)
  results = [
    evaluate(model, seed, theta[:, seed], data[seed])
    for model, theta in neurons.items()
    for seed in range(config.seeds)
  ]
  atomic_write_text(workdir / "results.csv", results_csv(results))
  atomic_write_text(workdir / "clusters.csv", summary_csv(results))
  table = markdown(results, config, seconds)
  atomic_write_text(workdir / "clusters.md", table)
  save_png(_figure(results, neurons, data[0]), workdir / "clusters.png")
  print(table)
  print(f"written to {workdir}: results.csv, clusters.md, clusters.csv, clusters.png")


def train(
  config: ml_collections.ConfigDict, data: Sequence[Clusters]
) -> tuple[dict[str, np.ndarray], float]:
  """All seeds at once, the quadratic layer and the ordinary one on the same samples.

  Returns:
    theta [F, seeds, 6] a model, and the seconds it took.
  """
  began = time.perf_counter()
  # Samples first, then features, so that a step reads one short row: [N, F, seeds, 1].
  phi = np.stack([logistic.features(jnp.asarray(d.train_x)) for d in data], axis=-1)[..., None]
  labels = np.stack([d.train_y for d in data], axis=1)
  targets = jnp.asarray(np.eye(CLASSES, dtype=np.float32)[labels])
  theta = {
    model: jnp.stack([start(seed, config.init)[:size] for seed in range(len(data))], axis=1)
    for model, size in FEATURES.items()
  }
  inputs = {model: jnp.asarray(phi[:, :size]) for model, size in FEATURES.items()}
  done = 0
  for chunk in range(1, CHUNKS + 1):
    epochs = config.epochs * chunk // CHUNKS - done
    # Both are dispatched before either is waited for, and run side by side, each on a core.
    theta = {m: logistic.sgd(theta[m], inputs[m], targets, config.rate, epochs) for m in theta}
    jax.block_until_ready(theta)
    done += epochs
    elapsed = time.perf_counter() - began
    print(f"{done} of {config.epochs} epochs, {elapsed:.1f} s", flush=True)
  return {model: np.asarray(values) for model, values in theta.items()}, elapsed


def start(seed: int, scale: float) -> jax.Array:
  """theta [6, CLASSES] of U[0, scale), Q symmetrised; both models share b and w."""
  draw = jax.nn.initializers.uniform(scale)
  q, kernel, bias = jax.random.split(jax.random.key(seed), 3)
  return logistic.join(
    initializers.symmetrized(draw)(q, (3, CLASSES)),
    draw(kernel, (2, CLASSES)),
    draw(bias, (CLASSES,)),
  )


def evaluate(model: str, seed: int, theta: np.ndarray, data: Clusters) -> Result:
  """theta [F, 6] -> its result on the test data."""
  if not np.isfinite(theta).all():
    return Result(model, seed, math.nan, math.nan, ("diverged",) * CLASSES)
  q, kernel, bias = logistic.split(theta, n=2)
  if model == "qnn":
    z = ops.quadratic(data.test_x, q, kernel, bias)
  else:
    z = ops.affine(data.test_x, kernel, bias)
    q = np.zeros((3, CLASSES))
  z = np.asarray(z)
  accuracy = (z.argmax(-1) == data.test_y).mean()
  all_right = ((z > 0) == (np.arange(CLASSES) == data.test_y[:, None])).all(-1).mean()
  kinds = tuple(
    conic_kind([[a, b], [b, c]], w, b0)
    for (a, b, c), w, b0 in zip(q.T, kernel.T, bias, strict=True)
  )
  return Result(model, seed, 100 * float(accuracy), 100 * float(all_right), kinds)


def results_csv(results: Sequence[Result]) -> str:
  """A line a layer and seed; accuracies in percent, empty for a layer that diverged."""
  lines = [("model", "seed", "accuracy", "all_right", "status")]
  for r in results:
    diverged = math.isnan(r.accuracy)
    numbers = ("", "") if diverged else (round(r.accuracy, 4), round(r.all_right, 4))
    lines.append((r.model, r.seed, *numbers, "diverged" if diverged else "ok"))
  return csv_text(lines)


def summary_csv(results: Sequence[Result]) -> str:
  """A line a model: its seeds, and mean and worst of both measures, beside the paper's figure."""
  lines = [
    ("model", "seeds", "accuracy", "worst", "all_right", "all_right_worst", "paper_accuracy")
  ]
  for model in FEATURES:
    mine = [r for r in results if r.model == model and not math.isnan(r.accuracy)]
    columns = ([r.accuracy for r in mine], [r.all_right for r in mine])
    numbers = [
      round(f(values), 4) if values else "" for values in columns for f in (statistics.mean, min)
    ]
    lines.append((model, len(mine), *numbers, PAPER_ACCURACY if model == "qnn" else ""))
  return csv_text(lines)


def markdown(results: Sequence[Result], config: ml_collections.ConfigDict, seconds: float) -> str:
  """The table: a row a seed, both layers, both measures; and what it means."""
  by_key = {(r.model, r.seed): r for r in results}
  kinds = collections.Counter(k for r in results if r.model == "qnn" for k in r.kinds)
  lines = [
    "# Six clusters, one layer of six neurons (Table 3, Fig. 2)",
    "",
    f"{config.train} training and {config.test} test pairs a class, per-sample SGD in a fixed",
    f"order, rate {config.rate:g}, {config.epochs} epochs; trained in {seconds:.0f} s.",
    "Test accuracy in percent:",
    "",
    markdown_row(["seed", *(f"{m}, {rule}" for m in ("QNN", "ANN") for rule in RULES)]),
    "| ---: | ---: | ---: | ---: | ---: |",
  ]
  for seed in range(config.seeds):
    pair = [by_key[model, seed] for model in FEATURES]
    lines.append(
      markdown_row([seed, *(_percent(v) for r in pair for v in (r.accuracy, r.all_right))])
    )
  lines += [
    f"| *the paper* | *{PAPER_ACCURACY}* | | | |",
    "",
    "'Largest output' takes the class of the neuron with the largest output. 'All six right' asks",
    "every neuron: its own class inside its boundary, all others outside. An ordinary neuron has a",
    "straight line for that, and none has a middle cluster alone on one side. The largest",
    "of six linear outputs, though, does separate these clusters (their means' Voronoi cells are",
    "such a rule): a single layer cannot learn six boundaries, but it can learn the classes.",
    "",
    "Boundaries of the quadratic neurons, by kind: "
    + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()),
  ]
  return "\n".join(lines) + "\n"


def _figure(results: Sequence[Result], neurons: Mapping[str, np.ndarray], data: Clusters):
  """Fig. 2 of seed 0."""
  first = {r.model: r for r in results if r.seed == 0}
  names = {"qnn": "quadratic neurons", "ann": "ordinary neurons"}
  layers = [
    (f"{names[m].capitalize()}: all six right on {_percent(first[m].all_right)} %", theta[:, 0])
    for m, theta in neurons.items()
  ]
  return clusters_figure(
    data.test_x, data.test_y, layers,
    "Test pairs of seed 0; each class and the boundary of its neuron in one colour",
  )  # fmt: skip


def _percent(value: float) -> str:
  return "diverged" if math.isnan(value) else f"{value:.2f}"


def _save(path: pathlib.Path, neurons: Mapping[str, np.ndarray], seconds: float) -> None:
  buffer = io.BytesIO()
  np.savez(buffer, seconds=seconds, **neurons)
  atomic_write_bytes(path, buffer.getvalue())


def _load(path: pathlib.Path, seeds: int) -> tuple[dict[str, np.ndarray] | None, float]:
  """What `_save` wrote; None if there is nothing yet."""
  if not path.exists():
    return None, 0.0
  try:
    # From bytes: of a damaged file that it opened itself, np.load leaves the handle open.
    with np.load(io.BytesIO(path.read_bytes())) as file:
      neurons = {model: file[model] for model in FEATURES}
      seconds = float(file["seconds"])
    whole = all(neurons[m].shape == (size, seeds, CLASSES) for m, size in FEATURES.items())
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    whole = False
  if not whole:
    raise InputError(f"{path} is damaged; remove it to train again, or name another --workdir")
  return neurons, seconds


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first values that make no sense."""
  if config.seeds < 1 or config.epochs < 0:
    raise InputError(
      f"seeds must be at least 1 and epochs at least 0, got seeds={config.seeds}, "
      f"epochs={config.epochs}"
    )
  if not (0 < config.rate < math.inf and 0 <= config.init < math.inf):
    raise InputError(
      f"rate must be positive and init at least 0, both finite, got rate={config.rate:g}, "
      f"init={config.init:g}"
    )


if __name__ == "__main__":
  experiment.run("clusters", main, check)
