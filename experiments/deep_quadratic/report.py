"""deep_quadratic's table and figure, made from its rows."""

from collections.abc import Sequence

import ml_collections
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.deep_quadratic.data import SIDE
from experiments.deep_quadratic.task import VARIANTS
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row, csv_text, markdown_table

COLOURS = dict(
  zip(VARIANTS, (panels.ORANGE, panels.YELLOW, panels.PURPLE, panels.GREEN, panels.BLUE))
)


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """The table, and the figure of losses and accuracies."""
  summary = summarize(rows)
  text = table(summary)
  lines = csv_text([list(summary[0]), *(line.values() for line in summary)])
  files = {"deep_quadratic.md": text, "deep_quadratic.csv": lines}
  return Report(files, lambda: draw(config, rows), text)


def summarize(rows: Sequence[RunRow]) -> list[Row]:
  """One row per variant, with loss and accuracy over the seeds that did not diverge."""
  summary = []
  for name in dict.fromkeys(row["variant"] for row in rows):
    mine = [row for row in rows if row["variant"] == name]
    left = [row for row in mine if row["status"] != "diverged"]
    steps = [row["steps_until_diverged"] for row in mine if row["status"] == "diverged"]
    first = [row["first_loss"] for row in mine if row["first_loss"] is not None]
    accuracy = [row["accuracy"] for row in left]
    summary.append(
      {
        "variant": name,
        "parameters": mine[0]["parameters"],
        "seeds": len(mine),
        "diverged": len(steps),
        "stuck": sum(row["status"] == "stuck" for row in mine),
        "steps_until_diverged": max(steps, default=None),
        "first_loss": float(np.median(first)) if first else None,
        "last_loss": float(np.median([row["last_loss"] for row in left])) if left else None,
        "accuracy": float(np.mean(accuracy)) if left else None,
        "accuracy_worst": min(accuracy, default=None),
      }
    )
  return summary


def table(summary: Sequence[Row]) -> str:
  """The table in markdown."""
  heads = {key: key.replace("_", " ") for key in summary[0]}
  formats = {"parameters": ",d", "first_loss": ".2f", "last_loss": ".3f"}
  formats |= dict.fromkeys(("accuracy", "accuracy_worst"), ".2f")
  return f"""\
# Quadratic layers at every depth

Diverged: a loss or parameter is not finite. Stuck: over the last epoch no better than the best
constant. Losses are medians, accuracy (percent, test set) is the mean over seeds not diverged.

{markdown_table(summary, heads, formats)}"""


def draw(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Figure:
  """Loss over steps, one line per seed, and the test accuracies."""
  sizes = "-".join(map(str, config.hidden))
  count = {1: "One quadratic layer", 2: "Two quadratic layers", 3: "Three quadratic layers"}
  depth = len(config.hidden) + 1
  figure, axes = panels.figure_with_panels(
    f"{count.get(depth, f'{depth} quadratic layers')}: the start and the learning rate decide",
    f"Hidden layers {sizes} on {config.dataset.upper()} at {SIDE} x {SIDE} pixels or fewer, {config.seeds} seeds. Naive: Q from N(0, "
    f"{config.init_scale**2:g}), learning rate {config.learning_rate:g} as for all parameters. Stable: Q from "
    f"zero, its own learning rate {config.quadratic_learning_rate:g}. A cross marks where a run diverged. Losses "
    "above 10⁶ are drawn at 10⁶.",
    ["training loss, one line per seed", "test accuracy, one dot per seed"],
    width=4.6,
    height=3.3,
  )
  _draw_losses(axes[0], rows)
  names = list(dict.fromkeys(row["variant"] for row in rows))
  _draw_accuracies(axes[1], rows, names)
  handles = [Line2D([], [], color=COLOURS[name], linewidth=2) for name in names]
  handles.append(Line2D([], [], color=panels.GREY, linewidth=1, linestyle=":"))
  panels.legend_below(figure, handles, [*names, "best constant output"])
  return figure


def _draw_losses(ax, rows):
  top = 1e6
  for row in rows:
    colour, steps = COLOURS[row["variant"]], row["steps"]
    loss = [min(value, top) for value in row["losses"]]
    ax.plot(steps, loss, color=colour, linewidth=1.2, alpha=0.85)
    if row["status"] == "diverged" and loss:
      ax.plot(steps[-1], loss[-1], "x", color=colour, markersize=8, clip_on=False, zorder=5)
  ax.axhline(rows[0]["constant_loss"], color=panels.GREY, linewidth=1, linestyle=":")
  ax.set(xlabel="step", ylabel="half squared error", xscale="log", yscale="log")
  ax.set_ylim(0.05, top)


def _draw_accuracies(ax, rows, names):
  for place, name in enumerate(names):
    mine = [row for row in rows if row["variant"] == name]
    values = [row["accuracy"] for row in mine if row["accuracy"] is not None]
    spread = place + np.linspace(-0.15, 0.15, len(values))
    ax.scatter(spread, values, s=24, color=COLOURS[name], clip_on=False, zorder=3)
    lost = len(mine) - len(values)
    if lost:
      note = f"{lost} of {len(mine)}\ndiverged"
      ax.text(place, 40, note, color=panels.BLACK, fontsize=9, ha="center", va="center")
  ax.axhline(10, color=panels.GREY, linewidth=1, linestyle=":")
  ax.set(ylabel="accuracy (%)", ylim=(0, 100), xlim=(-0.6, len(names) - 0.4))
  ax.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
