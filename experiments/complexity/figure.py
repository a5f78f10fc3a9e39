"""Multiplications and bytes of a training step, by the size of the layer: counts and formulas."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.complexity.task import OPS
from qnn_jax import heads
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels


def allocated(row: RunRow) -> int:
  """The bytes that XLA allocates for the program of a row."""
  return row["bytes_kept"] + row["bytes_scratch"]


def square_steps(rows: Sequence[RunRow]) -> list[RunRow]:
  """The training steps of square layers, small layers first. These are what `draw` shows."""
  steps = [row for row in rows if row["phase"] == "step" and row["n"] == row["m"]]
  return sorted(steps, key=lambda row: row["n"])


def draw(rows: Sequence[RunRow]) -> Figure:
  """Multiplications and bytes of a training step of square layers over n, with the paper's orders.

  Every model must have at least one square layer.
  """
  steps = square_steps(rows)
  n = list(dict.fromkeys(row["n"] for row in steps))
  figure, axes = panels.figure_with_panels(
    "What a quadratic layer costs",
    "One training step of a layer with n inputs and n neurons on one sample: counts from the program "
    "that XLA compiles, and the paper's formulas",
    ["multiplications", "bytes"],
  )
  for ax, formula, count in zip(axes, ("formula", "bytes_formula"), (None, allocated)):
    for kind, marker in zip(OPS, "os^"):
      series = [row for row in steps if row["model"] == kind]
      at, colour = [row["n"] for row in series], heads.get(kind).colour
      expected = [row[formula] for row in series]
      ax.plot(at, expected, color=colour, linestyle=(0, (3, 2)), linewidth=1)
      counted = [row["counted"] if count is None else count(row) for row in series]
      ax.plot(at, counted, color=colour, marker=marker, markersize=5, linewidth=1.6)
    _orders(ax, n, steps, formula)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(n, [str(size) for size in n])
    ax.set_xlabel("n")
  colours = [heads.get(kind).colour for kind in OPS]
  handles = [Line2D([], [], color=c, marker=m, markersize=5) for c, m in zip(colours, "os^")]
  handles.append(Line2D([], [], color=panels.GREY, linestyle=(0, (3, 2)), linewidth=1))
  handles.append(Line2D([], [], color="#bbbbbb", linewidth=2))
  labels = [*(heads.title(kind) for kind in OPS), "formula", "slope of n², n³"]
  panels.legend_below(figure, handles, labels)
  return figure


def _orders(ax, n, steps, formula) -> None:
  # Pure powers through the first points of the formulas, shifted by a factor so that they hide no line.
  for kind, order, factor in (("ann", 2, 0.4), ("qnn", 3, 6.0)):
    start = factor * next(row[formula] for row in steps if row["model"] == kind)
    ends = [start * (size / n[0]) ** order for size in n]
    ax.plot(n, ends, color="#bbbbbb", linewidth=2, zorder=1)
    ax.annotate(
      f"n{'²' if order == 2 else '³'}",
      (n[-1], ends[-1]),
      xytext=(4, 0),
      textcoords="offset points",
      color=panels.GREY,
      va="center",
    )
