"""train's table, learning curves and confusion matrix."""

import statistics
from collections.abc import Sequence

import ml_collections
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.train.task import COLUMNS
from qnn_jax import heads
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text

_MOST_NAMED = 20  # the most classes whose names and counts fit into the figure


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """A table with a line for each seed, and the figure."""
  columns = [name for name in COLUMNS if name in rows[0]]
  text = _markdown(config, rows)
  lines = [columns, *([row[name] for name in columns] for row in rows)]
  files = {"train.md": text, "train.csv": csv_text(lines)}
  return Report(files, figure=lambda: draw(config, rows), said=_said(config, rows))


def _said(config, rows):
  good = [row for row in rows if row["status"] == "ok"]
  what = f"{config.network} with the head {config.head}, {rows[0]['parameters']:,} parameters"
  if not good:
    return f"{what}: {rows[0]['ended'] or 'diverged'}"
  accuracies = [row["accuracy"] for row in good]
  spread = f" +- {statistics.stdev(accuracies):.2f}, {len(good)} seeds" if len(good) > 1 else ""
  return f"{what}: {config.test_split} accuracy {statistics.mean(accuracies):.2f} %{spread}"


def _markdown(config, rows):
  lines = [
    f"# {config.network} with the head {config.head} on {config.dataset}",
    "",
    f"{_said(config, rows)}.",
    "",
    "| seed | accuracy, % | loss | epochs | ms a step | MB a step | ended |",
    "| --: | --: | --: | --: | --: | --: | :-- |",
  ]
  for row in rows:
    number = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    lines.append(
      f"| {row['seed']} | {number(row['accuracy'], 2)} | {number(row['loss'], 4)} "
      f"| {row['epochs_run']} | {number(row['step_ms'], 2)} | {number(row['step_mb'], 1)} "
      f"| {row['ended'] or 'after all epochs'} |"
    )
  return "\n".join(lines) + "\n"


def draw(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Figure:
  """Loss and accuracy by epoch, one line per seed, and the confusion matrix."""
  good = [row for row in rows if row["status"] == "ok" and row["confusion"]]
  watched = rows[0]["watched"]
  title = f"{config.network.upper()} with the head {heads.title(config.head)} on {config.dataset}"
  size = f"{config.train_size:,} images" if config.train_size else "all images"
  subtitle = f"{size} of {config.train_split}, {_seeds(len(rows))}. {_said(config, rows)}."
  names = ["loss by epoch", "accuracy by epoch, %"]
  names += [f"{config.test_split}: which class is taken for which"] if good else []
  figure, axes = panels.figure_with_panels(title, subtitle, names, width=3.6, height=3.4)
  for row in rows:
    for ax, name in zip(axes, ("loss", "accuracy")):
      for kind, colour, dash in (("train", panels.SKY, "-"), ("watched", panels.ORANGE, "o-")):
        values = row[f"curve_{kind}_{name}"]
        at = [i + 1 for i, value in enumerate(values) if value is not None]
        ax.plot(
          at,
          [values[i - 1] for i in at],
          dash if len(at) > 1 else "o",
          color=colour,
          linewidth=1.2,
          markersize=3,
          alpha=0.8,
        )
      ax.set_xlabel("epoch")
      ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
  if good:
    _draw_confusion(figure, axes[2], good)
  handles = [
    Line2D([], [], color=panels.SKY),
    Line2D([], [], color=panels.ORANGE, marker="o", markersize=3),
  ]
  panels.legend_below(figure, handles, ["training, mean of the epoch", f"{watched}, after it"])
  return figure


def _draw_confusion(figure, ax, rows):
  names = rows[0]["class_names"]
  count = len(names)
  sums = np.sum([row["confusion"] for row in rows], 0).reshape(count, count)
  shares = 100 * sums / np.maximum(sums.sum(1, keepdims=True), 1)
  ax.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
  ax.grid(False)
  ax.set(xlabel="predicted, % of the true class", ylabel="true class")
  if count > _MOST_NAMED:
    return
  ax.set_xticks(range(count), names, rotation=0 if max(map(len, names)) < 3 else 60, fontsize=7.5)
  ax.set_yticks(range(count), names, fontsize=7.5)
  for i, j in np.ndindex(count, count):
    if shares[i, j] >= 0.05:
      shown = f"{shares[i, j]:.0f}" if shares[i, j] >= 9.95 else f"{shares[i, j]:.1f}"
      colour = "white" if shares[i, j] > 50 else "#333333"
      ax.text(j, i, shown, ha="center", va="center", fontsize=6, color=colour)


def _seeds(count):
  return "1 seed" if count == 1 else f"{count} seeds"
