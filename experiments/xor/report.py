"""Fig. 1's files: how many starts learn XOR, how soon, with which kind of boundary; two starts are drawn."""

import collections
import statistics
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from experiments.xor.figure import Neuron, xor_figure
from experiments.xor.task import POINTS, THETA
from qnn_jax.datasets.xor import make_xor
from qnn_jax.experiment import RunRow
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text, markdown_row

COLUMNS = ("ellipse", "hyperbola", "other")  # kinds of boundaries; results.csv has all of them


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """xor.md and xor.csv, the counts, and the figure."""
  counts = count(rows)
  table = counts_markdown(counts, config)
  data = make_xor()
  figure = lambda: xor_figure(data.x, data.targets, shown(rows))
  return Report({"xor.md": table, "xor.csv": counts_csv(counts)}, figure, said=table)


def count(rows: Sequence[RunRow]) -> list[dict[str, Any]]:
  """One row per init: how many starts are solved, how soon, and how many boundaries are of each kind.

  The kind is counted when all points were first right, and again at the end of training.
  """
  counts = []
  for init in dict.fromkeys(row["init"] for row in rows):
    mine = [row for row in rows if row["init"] == init]
    epochs = [row["solved_epoch"] for row in mine if row["solved_epoch"] is not None]
    kinds = collections.Counter(_column(row["kind"]) for row in mine)
    last = collections.Counter(_column(row["final_kind"]) for row in mine)
    counts.append(
      {
        "init": init,
        "starts": len(mine),
        "solved": sum(row["correct"] == POINTS for row in mine),
        "median_epochs": float(statistics.median(epochs)) if epochs else "",
        **{kind: kinds[kind] for kind in COLUMNS},
        **{f"final_{kind}": last[kind] for kind in COLUMNS},
      }
    )
  return counts


def _column(kind: str) -> str:
  return kind if kind in COLUMNS else "other"


def shown(rows: Sequence[RunRow]) -> list[Neuron]:
  """The two neurons of Fig. 1, as far as they are finished: a random start that gives a hyperbola (the first
  start if none does), and the start from I."""
  random = [row for row in rows if row["init"] != "identity"]
  hyperbola = [row for row in random if row["kind"] == "hyperbola"]
  identity = [row for row in rows if row["init"] == "identity"]
  panels = (("a", "a random matrix", hyperbola or random), ("b", "the identity", identity))
  return [
    _neuron(found[0], f"({letter}) Q from {source}") for letter, source, found in panels if found
  ]


def _neuron(row: RunRow, what: str) -> Neuron:
  solved = row["solved_epoch"]
  right = f"{row['correct']} of 4 right"
  when = right if solved is None else f"4 of 4 right after epoch {solved}"
  # A record holds None for what was not finite.
  found = ([row[name] for name in THETA], row["final_theta"])
  theta, final = (np.array(values, np.float64) for values in found)
  return Neuron(theta, final, f"{what}: {row['kind']}\n{when}")


def counts_csv(counts: Sequence[dict[str, Any]]) -> str:
  """The rows of `count` as CSV."""
  return csv_text([counts[0].keys(), *(row.values() for row in counts)])


def counts_markdown(counts: Sequence[dict[str, Any]], config: ml_collections.ConfigDict) -> str:
  """The rows of `count` in markdown, with an explanation."""
  lines = [
    "# XOR by a single quadratic neuron (Fig. 1)",
    "",
    "Per-sample SGD with (8), (11, its sign mended) and (19): "
    + f"{config.epochs} epochs at rate {config.learning_rate:g}.",
    "The kind is that of the boundary at the first epoch after which 4 of 4 points are right, and",
    "in brackets after the last: on data that can be separated the loss has no minimum, q12 grows",
    "on and on, and given the time makes a hyperbola of every boundary. The ellipse is where",
    "training from the identity first succeeds.",
    "",
    markdown_row(["Q from", "starts", "4 of 4 right", "epochs to it (median)", *COLUMNS]),
    markdown_row(["---", *["---:"] * (3 + len(COLUMNS))]),
  ]
  for row in counts:
    kinds = [f"{row[kind]} ({row[f'final_{kind}']})" for kind in COLUMNS]
    median = f"{row['median_epochs']:g}" if row["median_epochs"] else "-"
    lines.append(markdown_row([row["init"], row["starts"], row["solved"], median, *kinds]))
  return "\n".join(lines) + "\n"
