"""heavy_curve's table and figure, made from its rows."""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from experiments.heavy_curve.task import GRID, shown_steps, training_points
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row, csv_text, markdown_table

COLOURS = (panels.BLUE, panels.PURPLE, panels.YELLOW, panels.GREEN, panels.ORANGE, panels.SKY)
MARKERS = "oD^sPv"


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """The table, and the figure of fits, losses and errors."""
  summary = summarize(rows)
  text = table(summary)
  lines = csv_text([list(summary[0]), *(line.values() for line in summary)])
  files = {"heavy_curve.md": text, "heavy_curve.csv": lines}
  return Report(files, lambda: draw(config, rows, summary), text)


def summarize(rows: Sequence[RunRow]) -> list[Row]:
  """One row per network and rate, over the seeds that did not diverge."""
  summary = []
  for model, size, rate in dict.fromkeys((r["model"], r["parameters"], r["rate"]) for r in rows):
    mine = of(rows, model, rate)
    good = [row for row in mine if row["status"] == "ok"]
    errors = [row["test_rmse"] for row in good]
    summary.append(
      {
        "model": model,
        "parameters": size,
        "rate": rate,
        "train_rmse_median": _median([row["train_rmse"] for row in good]),
        "test_rmse_median": _median(errors),
        "test_rmse_best": min(errors, default=None),
        "test_rmse_worst": max(errors, default=None),
        "seeds": len(mine),
        "diverged": len(mine) - len(good),
      }
    )
  return summary


def of(rows: Sequence[RunRow], model: str, rate: float) -> list[RunRow]:
  """The rows of a network at a rate."""
  return [row for row in rows if (row["model"], row["rate"]) == (model, rate)]


def _median(values):
  return float(np.median(values)) if values else None


def table(summary: Sequence[Row]) -> str:
  """The table in markdown."""
  heads = {key: key.replace("_", " ").replace("rmse", "error") for key in summary[0]}
  formats = {key: ".4f" for key in heads if "rmse" in key}
  return f"""\
# Heavy and Dense layers fitted to a curve

Root-mean-square errors: training against the noisy points, test against the clean curve.

{markdown_table(summary, heads, formats)}"""


def draw(
  config: ml_collections.ConfigDict, rows: Sequence[RunRow], summary: Sequence[Row]
) -> Figure:
  """The fits, the losses over steps, and every seed's error at every rate."""
  names = list(dict.fromkeys(row["model"] for row in summary))
  rates = list(dict.fromkeys(row["rate"] for row in rows))
  best = {name: best_rate(name, summary) for name in names}
  sizes = {row["model"]: row["parameters"] for row in summary}
  alike = max(sizes.values()) <= 1.05 * min(sizes.values())
  figure, axes = panels.figure_with_panels(
    "Heavy layers fit a curve",
    f"{'Networks of equal size, ' * alike}{config.points} points with noise {config.noise:g}, "
    f"{config.seeds} seeds. Left and middle: each network at the rate with its lowest training error.",
    [
      "fit of the median seed",
      "loss over steps, median and 80 % of seeds",
      "test error, one dot per seed",
    ],
    width=3.9,
  )
  axes[0].scatter(
    *training_points(config.points, config.noise, config.data_seed), s=9, color="#bbbbbb", zorder=1
  )
  steps = shown_steps(config.epochs)
  for i, name in enumerate(names):
    style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linewidth": 1.6}
    at_best = of(rows, name, best[name])
    axes[0].plot(GRID, _numbers(median_run(at_best)["fit"]), **style)
    losses = _numbers([row["losses"] for row in at_best])
    low, middle, high = np.quantile(losses, (0.1, 0.5, 0.9), axis=0)
    axes[1].plot(steps, middle, **style)
    axes[1].fill_between(steps, low, high, color=style["color"], alpha=0.16, linewidth=0)
    for j, rate in enumerate(rates):
      errors = _numbers([row["test_rmse"] for row in of(rows, name, rate)])
      # Networks stand side by side at each rate, and seeds are spread a little, so that no dot hides another.
      place = j + 0.25 * (i - (len(names) - 1) / 2) + np.linspace(-0.07, 0.07, len(errors))
      marker = MARKERS[i % len(MARKERS)]
      axes[2].scatter(place, errors, s=16, color=style["color"], marker=marker, alpha=0.8)
  axes[0].set(xlabel="x", ylabel="y", xticks=(-1, -0.5, 0, 0.5, 1))
  axes[1].set(xlabel="step", ylabel="half squared error", xscale="log", yscale="log")
  axes[2].set(xlabel="rate", ylabel="root-mean-square error", yscale="log")
  axes[2].set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
  # Between two powers of ten only some labels fit, and these are easiest to read as decimals.
  axes[2].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axes[2].yaxis.set_minor_locator(NullLocator())
  axes[2].set_xlim(-0.6, len(rates) - 0.4)
  handles = [
    Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], markersize=5)
    for i in range(len(names))
  ]
  labels = [f"{name}, {sizes[name]} parameters, rate {best[name]:g}" for name in names]
  panels.legend_below(figure, handles, labels)
  return figure


def best_rate(name: str, summary: Sequence[Row]) -> float:
  """The rate with the lowest median training error, chosen without using the clean curve."""
  rows = [row for row in summary if row["model"] == name]
  error = lambda row: np.inf if row["train_rmse_median"] is None else row["train_rmse_median"]
  return min(rows, key=error)["rate"]


def median_run(rows: Sequence[RunRow]) -> RunRow:
  """The run whose test error is the median; with an even number of runs, the lower of the middle two."""
  order = np.argsort(_numbers([row["test_rmse"] for row in rows]))  # missing values come last
  return rows[order[(len(rows) - 1) // 2]]


def _numbers(values) -> np.ndarray:
  """The values with None, which records hold for what is not finite, replaced by NaN."""
  return np.array(values, float)
