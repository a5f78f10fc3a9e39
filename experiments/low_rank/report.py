"""low_rank's table, and its figure of accuracy over rank."""

import dataclasses
from collections.abc import Sequence

import ml_collections
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels, summary
from qnn_jax.reports.report import Report


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """Means and standard deviations over the seeds, and the figure."""
  table = summary.report("low_rank", ("rank", "seed"), "seed", rows)
  return dataclasses.replace(table, figure=lambda: draw(config, rows))


def draw(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Figure:
  """One dot per seed and rank; horizontal lines show the accuracies with the full Q."""
  good = [row for row in rows if row["status"] != "diverged"]
  network = f"{config.hidden} hidden neurons and a quadratic head" if config.hidden else "One layer"
  figure, (ax,) = panels.figure_with_panels(
    "How many directions a trained Q needs",
    f"{network} on {config.dataset.upper()}, {config.seeds} seeds: every Q is replaced by its nearest "
    "matrix of rank r, without further training. Lines: accuracy with the full Q, one line per seed.",
    ["test accuracy, one dot per seed"],
    width=6.0,
  )
  for row in good:
    ax.axhline(row["full_accuracy"], color=panels.ORANGE, linewidth=0.8)
  ranks, accuracies = ([row[name] for row in good] for name in ("rank", "accuracy"))
  ax.scatter(ranks, accuracies, s=24, color=panels.SKY, zorder=3)
  ax.set(xlabel="rank", ylabel="accuracy (%)", xscale="log")
  shown = sorted(set(config.ranks))
  ax.set_xticks(shown, [str(rank) for rank in shown])
  ax.minorticks_off()
  handles = [
    Line2D([], [], color=panels.SKY, marker="o", linestyle=""),
    Line2D([], [], color=panels.ORANGE),
  ]
  panels.legend_below(figure, handles, ["nearest matrix of that rank", "full Q"])
  return figure
