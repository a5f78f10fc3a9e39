"""Table 4 as a figure: our means and the paper's, one panel per training size and number of epochs."""

import textwrap
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.table4.fidelity import fidelity, fidelity_line
from experiments.table4.paper import Cell, Stats, models_of
from experiments.table4.summary import CellSummary
from qnn_jax import heads
from qnn_jax.errors import InputError

# For unregistered models and heads of a given size: those of Okabe and Ito's colours that `heads` does not use.
_OTHER_STYLES = (("#E69F00", "v"), ("#000000", "X"), ("#999999", "<"))
_GREY = "#555555"

# Sizes in inches. Margins are set by hand, so that they hold the title, the legend and the labels for any
# number of panels, and no layout engine clips or moves text.
_PANEL_WIDTH, _PANEL_HEIGHT = 2.75, 2.05
_GAP_X, _GAP_Y = 0.5, 0.22
_LEFT, _RIGHT, _BOTTOM, _TOP = 1.0, 0.2, 0.95, 1.05
_MIN_WIDTH = 6.6
_LINE_HEIGHT = 0.2
_CHARACTERS = 11.5  # characters of the subtitle that fit into an inch, at least
_LEGEND_ENTRY = 1.2  # largest width of a legend entry
_MIN_SPAN = 4.0  # percentage points of a y-axis: a smaller range would exaggerate noise


def table_figure(
  summary: Mapping[Cell, CellSummary], paper: Mapping[Cell, Stats], dataset: str = "mnist"
) -> Figure:
  """Accuracy over hidden neurons: one row of panels per number of epochs, one column per training size.

  Our means are solid lines with filled markers, in a band of plus and minus one standard deviation. The paper's
  means are dashed lines with open markers. Every panel has its own y-axis, and the label says so: accuracies range
  over 80 points after little training and over 5 after much, and the figure compares our means with the paper's
  within each panel.

  Args:
    summary: our cells: any part of the table, or cells that the paper does not have.
    paper: the paper's cells; drawn in the panels for which we have cells.
    dataset: the name of the data set.

  Returns:
    A figure without a window or global state; `figures.save_png` writes it.

  Raises:
    InputError: no cell has a mean to draw.
  """
  ours = {cell: stats for cell, stats in summary.items() if stats.mean is not None}
  if not ours:
    raise InputError("There are 0 finished cells to draw; a picture needs at least one.")
  sizes = sorted({cell.train_size for cell in ours})
  epochs = sorted({cell.epochs for cell in ours})
  panels = {(cell.train_size, cell.epochs) for cell in ours}
  styles = _styles(models_of(ours))
  # Two entries more than models: the line styles of ours and of the paper's.
  subtitle = fidelity_line(fidelity(summary, paper))
  title = f"Table 4 reproduced: quadratic neurons on {dataset.upper()}"
  figure, axes = _grid(len(epochs), len(sizes), title, subtitle, len(styles) + 2)
  for i, epoch in enumerate(epochs):
    for j, size in enumerate(sizes):
      ax = axes[i][j]
      if (size, epoch) in panels:
        _draw_panel(ax, size, epoch, ours, paper, styles)
      else:
        ax.text(0.5, 0.5, "no runs", transform=ax.transAxes, ha="center", color=_GREY)
        ax.spines[:].set_visible(False)
        ax.set_yticks([])
        ax.tick_params(length=0)
      if i == 0:
        ax.set_title(f"{size:,} training images", fontsize=10.5)
      if j == 0:
        ax.set_ylabel("1 epoch" if epoch == 1 else f"{epoch} epochs", fontsize=10.5, labelpad=8)
      if i == len(epochs) - 1:
        ax.set_xlabel("hidden neurons")
  axes[0][0].set_xticks(sorted({cell.hidden for cell in ours}))
  with_spread = any(stats.std is not None for stats in ours.values())
  with_paper = any(cell in paper for cell in ours)
  _legend(figure, styles, "ours ± σ" if with_spread else "ours", with_paper)
  return figure


def _grid(rows: int, columns: int, title: str, subtitle: str, legend_entries: int):
  panels = columns * _PANEL_WIDTH + (columns - 1) * _GAP_X
  width = max(_LEFT + panels + _RIGHT, _MIN_WIDTH)
  lines = _wrap(subtitle, int((width - 0.45) * _CHARACTERS))
  top = _TOP + len(lines) * _LINE_HEIGHT
  legend_rows = -(-legend_entries // int(width / _LEGEND_ENTRY))
  bottom = _BOTTOM + (legend_rows - 1) * 0.25
  height = top + rows * _PANEL_HEIGHT + (rows - 1) * _GAP_Y + bottom
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  axes = figure.subplots(
    rows,
    columns,
    squeeze=False,
    sharex=True,
    gridspec_kw={
      "left": _LEFT / width,
      "right": 1 - _RIGHT / width,
      "bottom": bottom / height,
      "top": 1 - top / height,
      "wspace": _GAP_X / _PANEL_WIDTH,
      "hspace": _GAP_Y / _PANEL_HEIGHT,
    },
  )
  left = 0.25 / width
  figure.text(
    left,
    1 - 0.2 / height,
    title,
    fontsize=15,
    weight="bold",
    va="top",
  )
  figure.text(
    left,
    1 - 0.53 / height,
    "\n".join(lines),
    fontsize=10,
    color=_GREY,
    va="top",
    linespacing=1.3,
  )
  middle = (bottom + height - top) / 2 / height
  label = "test accuracy (%)"
  if rows * columns > 1:
    # With a single row of panels the figure is too low for the whole label in one line.
    label += ",\neach panel to its own scale" if rows == 1 else ", each panel to its own scale"
  figure.text(
    0.23 / width,
    middle,
    label,
    rotation=90,
    va="center",
    ha="center",
    multialignment="center",
    fontsize=9 if "\n" in label else 10.5,
  )
  return figure, axes


def _wrap(line: str, characters: int) -> list[str]:
  clauses = line.removeprefix("fidelity: ").split("; ")
  return [
    text for clause in clauses for text in textwrap.wrap(clause[0].upper() + clause[1:], characters)
  ]


def _styles(models) -> dict[str, tuple[str, str]]:
  others = iter(_OTHER_STYLES * len(models))
  known = {name: (heads.get(name).colour, heads.get(name).marker) for name in heads.names()}
  return {model: known[model] if model in known else next(others) for model in models}


def _draw_panel(ax, size, epochs, ours, paper, styles) -> None:
  drawn = {cell.hidden for cell in ours}
  for model, (colour, marker) in styles.items():
    theirs = [(h, stats) for h, stats in _series(paper, size, epochs, model) if h in drawn]
    if theirs:
      hidden, stats = zip(*theirs)
      ax.plot(
        hidden,
        [s.mean for s in stats],
        color=colour,
        linestyle=(0, (3, 2)),
        linewidth=1,
        marker=marker,
        markersize=8,
        markerfacecolor="none",
        markeredgewidth=1,
        zorder=3,
      )
    mine = _series(ours, size, epochs, model)
    if mine:
      hidden, stats = zip(*mine)
      mean, std = [s.mean for s in stats], [s.std or 0.0 for s in stats]
      if len(mine) == 1:
        # A band needs two points; a single point has an error bar.
        ax.errorbar(hidden, mean, std, color=colour, linewidth=1.2, capsize=3, zorder=4)
      low, high = zip(*((m - s, m + s) for m, s in zip(mean, std)))
      ax.fill_between(hidden, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
      ax.plot(hidden, mean, color=colour, linewidth=1.6, marker=marker, markersize=4, zorder=4)
  ax.margins(x=0.08)
  low, high = ax.get_ylim()
  widen = max(0.0, _MIN_SPAN - (high - low)) / 2
  ax.set_ylim(low - widen, high + widen)
  ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
  ax.grid(color="#e4e4e4", linewidth=0.7)
  ax.set_axisbelow(True)
  ax.spines[["top", "right"]].set_visible(False)
  ax.tick_params(labelsize=9, color=_GREY)


def _series(table, size, epochs, model):
  cells = [c for c in table if (c.train_size, c.epochs, c.model) == (size, epochs, model)]
  return [(cell.hidden, table[cell]) for cell in sorted(cells)]


def _legend(figure, styles, ours_label: str, with_paper: bool) -> None:
  handles: list[Line2D | tuple[Patch, Line2D]] = [
    Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.6)
    for colour, marker in styles.values()
  ]
  labels = [heads.title(model) for model in styles]
  # A line over a band, drawn as one entry of the legend.
  band = Patch(color=_GREY, alpha=0.25, linewidth=0)
  handles.append((band, Line2D([], [], color=_GREY, marker="o", markersize=4, linewidth=1.6)))
  labels.append(ours_label)
  if with_paper:
    handles.append(
      Line2D(
        [],
        [],
        color=_GREY,
        linestyle=(0, (3, 2)),
        linewidth=1,
        marker="o",
        markersize=8,
        markerfacecolor="none",
      )
    )
    labels.append("the paper's")
  columns = int(figure.get_figwidth() / _LEGEND_ENTRY)
  figure.legend(
    handles,
    labels,
    loc="lower center",
    bbox_to_anchor=(0.5, 0.0),
    ncols=min(columns, len(handles)),
    frameon=False,
    fontsize=10,
    columnspacing=1.6,
    handlelength=2.2,
  )
