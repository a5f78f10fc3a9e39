"""Files of Table 3 and Fig. 2: accuracies by seed and the paper's, kinds of boundaries, and a figure of one seed."""

import collections
import statistics
from collections.abc import Sequence

import ml_collections
import numpy as np

from experiments.clusters.figure import clusters_figure
from qnn_jax import heads
from qnn_jax.datasets.clusters import CLASSES, make_clusters
from qnn_jax.experiment import RunRow
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text, markdown_row

PAPER_ACCURACY = 99.97  # Section 6.1, percent; a single training
RULES = {"accuracy": "largest output", "all_right": "all six right"}
NAMES = {"qnn": "quadratic neurons", "ann": "ordinary neurons"}


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """clusters.md and clusters.csv, the table, and the figure."""
  table = markdown(config, rows)
  files = {"clusters.md": table, "clusters.csv": summary_csv(config, rows)}
  return Report(files, lambda: figure(config, rows), said=table)


def summary_csv(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> str:
  """One line per model: the number of seeds, mean and worst of both measures, and the paper's figure."""
  lines = [
    ("model", "seeds", "accuracy", "worst", "all_right", "all_right_worst", "paper_accuracy")
  ]
  for model in config.models:
    mine = [row for row in rows if row["model"] == model and row["accuracy"] is not None]
    columns = [[_exact(config, row[measure]) for row in mine] for measure in RULES]
    numbers = [
      round(f(values), 4) if values else "" for values in columns for f in (statistics.mean, min)
    ]
    lines.append((model, len(mine), *numbers, PAPER_ACCURACY if model == "qnn" else ""))
  return csv_text(lines)


def _exact(config, percent):
  # Rows are rounded to 4 digits. We undo this with the number of pairs, so that means are rounded only once.
  pairs = CLASSES * config.test_pairs
  return 100 * round(percent * pairs / 100) / pairs


def markdown(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> str:
  """The table, with one row per seed and both measures of each layer, and its explanation."""
  by_key = {(row["model"], row["seed"]): row for row in rows}
  models = config.models
  kinds = collections.Counter(k for row in rows if row["model"] == "qnn" for k in row["kinds"])
  titles = [f"{heads.title(model)}, {rule}" for model in models for rule in RULES.values()]
  lines = [
    "# Six clusters, one layer of six neurons (Table 3, Fig. 2)",
    "",
    f"{config.train_pairs} training and {config.test_pairs} test pairs a class, per-sample SGD in a "
    "fixed",
    f"order, rate {config.learning_rate:g}, {config.epochs} epochs. Test accuracy in percent:",
    "",
    markdown_row(["seed", *titles]),
    markdown_row(["---:"] * (1 + len(titles))),
  ]
  for seed in dict.fromkeys(row["seed"] for row in rows):
    cells = [_cell(by_key.get((model, seed)), measure) for model in models for measure in RULES]
    lines.append(markdown_row([seed, *cells]))
  paper = [
    f"*{PAPER_ACCURACY}*" if (model, measure) == ("qnn", "accuracy") else ""
    for model in models for measure in RULES
  ]  # fmt: skip
  lines += [
    markdown_row(["*the paper*", *paper]),
    "",
    "'Largest output' takes the class of the neuron with the largest output. 'All six right' asks",
    "every neuron: its own class inside its boundary, all others outside. An ordinary neuron has a",
    "straight line for that, and none has a middle cluster alone on one side. The largest",
    "of six linear outputs, though, does separate these clusters (their means' Voronoi cells are",
    "such a rule): a single layer cannot learn six boundaries, but it can learn the classes.",
  ]
  if kinds:
    every = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    lines += ["", f"Boundaries of the quadratic neurons, by kind: {every}"]
  return "\n".join(lines) + "\n"


def figure(config: ml_collections.ConfigDict, rows: Sequence[RunRow]):
  """Fig. 2 for the first seed: the models that have finished it, side by side."""
  seed = min(row["seed"] for row in rows)
  data = make_clusters(seed, config.train_pairs, config.test_pairs)
  layers = [
    (
      f"{NAMES[row['model']].capitalize()}: all six right on {_cell(row, 'all_right')} %",
      np.array(row["theta"], np.float64),  # a record holds None for what was not finite
    )
    for row in rows
    if row["seed"] == seed
  ]
  return clusters_figure(
    data.test_x, data.test_y, layers,
    f"Test pairs of seed {seed}; each class and the boundary of its neuron in one colour",
  )  # fmt: skip


def _cell(row, measure):
  if row is None:
    return "-"
  return "diverged" if row[measure] is None else f"{row[measure]:.2f}"
