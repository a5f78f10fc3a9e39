"""XOR with a single quadratic neuron: Fig. 1. What it does and costs: configs/xor.py.

  python -m experiments.xor [--config=configs/xor.py[:smoke]] [--workdir=DIR] [--config.key=value]

Writes DIR/results.csv (a line a start), xor.md and xor.csv (the counts) and xor.png.
"""

import collections
import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from qnn_jax import experiment
from qnn_jax.atomic import atomic_write_text
from qnn_jax.datasets.xor import make_xor
from qnn_jax.errors import InputError
from qnn_jax.reports.boundaries import Neuron, xor_figure
from qnn_jax.reports.conics import conic_kind
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import csv_text, markdown_row
from qnn_jax.training import logistic

POINTS = 4
COLUMNS = ("ellipse", "hyperbola", "other")  # of the kinds; results.csv has them in full


class Start(NamedTuple):
  """One neuron's training.

  Attributes:
    init: 'identity' or 'random'.
    start: its number among those of its init.
    correct: how many of the four points are right after the last epoch.
    solved_epoch: the first epoch after which all four are right; None if there is none.
    kind: of the boundary then (after the last epoch if it never is); see `conic_kind`.
    final_kind: of the boundary after the last epoch.
    theta: [6] the neuron whose kind is `kind`.
    final_theta: [6] the neuron after the last epoch.
  """

  init: str
  start: int
  correct: int
  solved_epoch: int | None
  kind: str
  final_kind: str
  theta: np.ndarray
  final_theta: np.ndarray


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains, writes the files and prints the counts."""
  starts = run_starts(config)
  atomic_write_text(workdir / "results.csv", results_csv(starts))
  rows = count(starts)
  atomic_write_text(workdir / "xor.csv", counts_csv(rows))
  table = counts_markdown(rows, config)
  atomic_write_text(workdir / "xor.md", table)
  data = make_xor()
  save_png(xor_figure(data.x, data.targets, shown(starts)), workdir / "xor.png")
  print(table)
  print(f"written to {workdir}: results.csv, xor.md, xor.csv, xor.png")


def run_starts(config: ml_collections.ConfigDict) -> list[Start]:
  """One start from Q = I with w = 0 and b = 0, and `config.starts` random ones, together."""
  rng = np.random.default_rng(config.seed)
  b, w, full = (
    rng.normal(0, config.scale, (config.starts, *shape)) for shape in ((), (2,), (2, 2))
  )
  q = np.concatenate([np.eye(2)[None], (full + full.swapaxes(1, 2)) / 2])
  theta = np.zeros((6, 1 + config.starts), np.float32)
  theta[0, 1:], theta[1:3, 1:] = b, w.T
  theta[3:] = q[:, *np.triu_indices(2)].T
  path = np.asarray(_path(jnp.asarray(theta), config.rate, config.epochs))
  inits = ["identity"] + ["random"] * config.starts
  numbers = [0, *range(config.starts)]
  return [_judge(i, n, path[..., k]) for k, (i, n) in enumerate(zip(inits, numbers, strict=True))]


@functools.partial(jax.jit, static_argnames="epochs")
def _path(theta, rate, epochs):
  """[epochs, 6, K]: the neurons after each epoch."""
  data = make_xor()
  phi = logistic.features(jnp.asarray(data.x))[..., None]

  def step(theta, _):
    theta = logistic.epoch(theta, phi, data.targets[:, None], rate)
    return theta, theta

  return jax.lax.scan(step, theta, length=epochs)[1]


def _judge(init: str, number: int, path: np.ndarray) -> Start:
  """path [epochs, 6] of one neuron -> what came of it."""
  data = make_xor()
  # In float64, and only finite neurons: what diverged has overflowed float32, and is never right.
  path = path.astype(np.float64)
  finite = np.where(np.isfinite(path).all(-1, keepdims=True), path, 0)
  z = finite @ np.asarray(logistic.features(jnp.asarray(data.x)), np.float64).T
  correct = (z * data.bipolar > 0).sum(-1)
  solved = np.flatnonzero(correct == POINTS)
  at = solved[0] if solved.size else -1
  first = int(at) + 1 if solved.size else None
  kind, final = _kind(path[at]), _kind(path[-1])
  return Start(init, number, int(correct[-1]), first, kind, final, path[at], path[-1])


def _kind(theta: np.ndarray) -> str:
  if not np.isfinite(theta).all():
    return "diverged"
  b, w1, w2, q11, q12, q22 = theta
  return conic_kind([[q11, q12], [q12, q22]], [w1, w2], b)


def count(starts: Sequence[Start]) -> list[dict[str, object]]:
  """A row an init: how many are solved, how soon, and how many are of each kind, then and last."""
  rows = []
  for init in ("identity", "random"):
    mine = [s for s in starts if s.init == init]
    epochs = [s.solved_epoch for s in mine if s.solved_epoch is not None]
    kinds = collections.Counter(_column(s.kind) for s in mine)
    last = collections.Counter(_column(s.final_kind) for s in mine)
    rows.append(
      {
        "init": init,
        "starts": len(mine),
        "solved": sum(s.correct == POINTS for s in mine),
        "median_epochs": float(np.median(epochs)) if epochs else "",
        **{kind: kinds[kind] for kind in COLUMNS},
        **{f"final_{kind}": last[kind] for kind in COLUMNS},
      }
    )
  return rows


def _column(kind: str) -> str:
  return kind if kind in COLUMNS else "other"


def shown(starts: Sequence[Start]) -> list[Neuron]:
  """Fig. 1's two: a random start that gives a hyperbola (the first start if none does), and I's."""
  random = [s for s in starts if s.init == "random"]
  hyperbola = next((s for s in random if s.kind == "hyperbola"), random[0])
  identity = next(s for s in starts if s.init == "identity")
  return [
    Neuron(
      start.theta, start.final_theta, f"({letter}) Q from {source}: {start.kind}\n{_when(start)}"
    )
    for letter, source, start in (
      ("a", "a random matrix", hyperbola),
      ("b", "the identity", identity),
    )
  ]


def _when(start: Start) -> str:
  if start.solved_epoch is None:
    return f"{start.correct} of 4 right"
  return f"4 of 4 right after epoch {start.solved_epoch}"


def results_csv(starts: Sequence[Start]) -> str:
  """A line a start: the neuron when it first was right, and what came of it."""
  fields = ("init", "start", "correct", "solved_epoch", "kind", "final_kind")
  lines = [(*fields, "b", "w1", "w2", "q11", "q12", "q22")]
  for start in starts:
    values = ["" if value is None else value for value in start[:-2]]
    lines.append((*values, *(f"{value:.6g}" for value in start.theta)))
  return csv_text(lines)


def counts_csv(rows: Sequence[dict[str, object]]) -> str:
  """`count`'s rows as they are."""
  return csv_text([rows[0].keys(), *(row.values() for row in rows)])


def counts_markdown(rows: Sequence[dict[str, object]], config: ml_collections.ConfigDict) -> str:
  """`count`'s rows, with what they mean."""
  lines = [
    "# XOR by a single quadratic neuron (Fig. 1)",
    "",
    "Per-sample SGD with (8), (11, its sign mended) and (19): "
    + f"{config.epochs} epochs at rate {config.rate:g}.",
    "The kind is that of the boundary at the first epoch after which 4 of 4 points are right, and",
    "in brackets after the last: on data that can be separated the loss has no minimum, q12 grows",
    "on and on, and given the time makes a hyperbola of every boundary. The ellipse is where",
    "training from the identity first succeeds.",
    "",
    markdown_row(["Q from", "starts", "4 of 4 right", "epochs to it (median)", *COLUMNS]),
    markdown_row(["---", *["---:"] * (3 + len(COLUMNS))]),
  ]
  for row in rows:
    counts = [f"{row[kind]} ({row[f'final_{kind}']})" for kind in COLUMNS]
    median = f"{row['median_epochs']:g}" if row["median_epochs"] else "-"
    lines.append(markdown_row([row["init"], row["starts"], row["solved"], median, *counts]))
  return "\n".join(lines) + "\n"


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first values that make no sense."""
  if config.starts < 1 or config.epochs < 1 or config.seed < 0:
    raise InputError(
      f"starts and epochs must be at least 1 and seed at least 0, got starts={config.starts}, "
      f"epochs={config.epochs}, seed={config.seed}"
    )
  if not (0 < config.rate < np.inf and 0 <= config.scale < np.inf):
    raise InputError(
      f"rate must be positive and scale at least 0, both finite, got rate={config.rate:g}, "
      f"scale={config.scale:g}"
    )


if __name__ == "__main__":
  experiment.run("xor", main, check)
