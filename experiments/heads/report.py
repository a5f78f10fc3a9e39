"""heads' table and figure: accuracies, and differences to the first head, seed by seed."""

from collections.abc import Sequence

import ml_collections
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.heads.differences import Line, lines
from qnn_jax import heads
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text, markdown_table

_TITLES = {"mlp": "MLP", "cnn": "CNN"}


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """One table per network, and the figure."""
  found = lines(rows, config.heads[0])
  text = _markdown(config, found)
  table = csv_text([Line._fields, *found])
  return Report({"heads.md": text, "heads.csv": table}, lambda: draw(config, found), said=text)


def _markdown(config, found):
  first = heads.title(config.heads[0])
  parts = [
    f"# Final layers of equal size on {config.dataset}",
    "",
    f"Every network has {config.parameters:,} parameters to 2 %, and is trained for {config.steps:,} steps of "
    f"{config.batch_size} images; {config.seeds} seeds. `+-` is the half width of a 95 % interval "
    f"of the mean. The difference is to {first}, seed by seed, in points of accuracy; a star is one that "
    "stays at 5 % by Holm's procedure over all of them.",
  ]
  columns = {
    "head": "head",
    "size": "images",
    "accuracy": "accuracy, %",
    "difference": f"less {first}",
    "parameters": "parameters",
    "step_ms": "ms a step",
    "step_mb": "MB a step",
    "diverged": "diverged",
  }
  for network in config.networks:
    mine = [_cells(line) for line in found if line.network == network]
    if mine:
      formats = {"parameters": ",", "size": ",", "step_ms": ".2f", "step_mb": ".1f"}
      parts += ["", f"## {_TITLES[network]}", "", markdown_table(mine, columns, formats).rstrip()]
  return "\n".join(parts) + "\n"


def _cells(line: Line):
  star = "" if line.adjusted is None or line.adjusted > 0.05 else " *"
  return {
    "head": heads.title(line.head),
    "size": line.train_size,
    "accuracy": _with_interval(line.accuracy, line.interval, ""),
    "difference": _with_interval(line.difference, line.difference_interval, "+") + star,
    "parameters": line.parameters,
    "step_ms": line.step_ms,
    "step_mb": line.step_mb,
    "diverged": line.diverged,
  }


def _with_interval(value, interval, sign):
  if value is None:
    return "-"
  return f"{value:{sign}.2f}" + ("" if interval is None else f" +- {interval:.2f}")


def draw(config: ml_collections.ConfigDict, found: Sequence[Line]) -> Figure:
  """Differences to the first head over the number of images, one panel per network."""
  first = heads.title(config.heads[0])
  networks = [n for n in config.networks if any(line.network == n for line in found)]
  figure, axes = panels.figure_with_panels(
    "What a quadratic final layer changes, at equal size",
    f"Test accuracy on {config.dataset.upper()} less that of the same network with a dense head ({first}), "
    f"seed by seed, {config.seeds} seeds; bars: 95 % intervals. All networks have about "
    f"{config.parameters:,} parameters.",
    [f"{_TITLES[n]}: points more than {first}" for n in networks],
    width=4.6,
  )
  others = [head for head in config.heads if head != config.heads[0]]
  sizes = sorted(set(config.train_sizes))
  for ax, network in zip(axes, networks):
    ax.axhline(0, color=panels.BLACK, linewidth=1)
    for place, head in enumerate(others):
      mine = [line for line in found if line.network == network and line.head == head]
      mine = [line for line in mine if line.difference is not None]
      shift = 0.16 * (place - (len(others) - 1) / 2)
      look = heads.get(head)
      ax.errorbar(
        [sizes.index(line.train_size) + shift for line in mine],
        [line.difference or 0.0 for line in mine],
        [line.difference_interval or 0.0 for line in mine],
        fmt=look.marker,
        color=look.colour,
        markersize=6,
        capsize=3,
        linewidth=1.4,
      )
    ax.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set(xlabel="training images", ylabel="points of accuracy")
  looks = [heads.get(head) for head in others]
  handles = [Line2D([], [], color=look.colour, marker=look.marker, linestyle="") for look in looks]
  panels.legend_below(figure, handles, [look.title for look in looks])
  return figure
