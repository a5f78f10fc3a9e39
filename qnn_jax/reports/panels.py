"""The look that the experiments' figures share: a heading, a row of panels, a legend below."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, which differ for any colour vision.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
YELLOW, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#555555"

# Inches; set by hand, so that no text is clipped or moved whatever the number of panels.
_LEFT, _RIGHT, _GAP, _LEGEND, _XLABEL, _HEADING, _LINE = 1.05, 0.25, 1.1, 0.42, 0.62, 0.85, 0.21


def figure_with_panels(
  title: str, subtitle: str, panels: Sequence[str], *, width: float = 4.0, height: float = 3.0
) -> tuple[Figure, list[Axes]]:
  """A figure with one row of panels.

  Args:
    title: of the whole figure, one line.
    subtitle: a sentence below it, broken into lines as needed.
    panels: the heading of each panel.
    width, height: of a panel, inches.

  Returns:
    The figure, which belongs to no window and no global state, and its axes.
  """
  count = len(panels)
  total_width = _LEFT + count * width + (count - 1) * _GAP + _RIGHT
  lines = textwrap.wrap(subtitle, int(total_width * 12))
  top = _HEADING + len(lines) * _LINE
  bottom = _XLABEL + _LEGEND
  total_height = top + height + bottom
  figure = Figure(figsize=(total_width, total_height))
  FigureCanvasAgg(figure)
  axes = figure.subplots(
    1,
    count,
    squeeze=False,
    gridspec_kw={
      "left": _LEFT / total_width,
      "right": 1 - _RIGHT / total_width,
      "bottom": bottom / total_height,
      "top": 1 - top / total_height,
      "wspace": _GAP / width,
    },
  )[0]
  left = 0.25 / total_width
  figure.text(left, 1 - 0.18 / total_height, title, fontsize=15, weight="bold", va="top")
  figure.text(
    left,
    1 - 0.52 / total_height,
    "\n".join(lines),
    fontsize=10,
    color=GREY,
    va="top",
    linespacing=1.3,
  )
  for ax, heading in zip(axes, panels):
    ax.set_title(heading, fontsize=10.5, pad=10)
    ax.grid(color="#e4e4e4", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9, color=GREY)
  return figure, list(axes)


def legend_below(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
  """Adds one legend for all panels to the figure, in a line at the bottom.

  Args:
    figure: from `figure_with_panels`.
    handles: the drawn lines.
    labels: their texts.
  """
  figure.legend(
    handles,
    labels,
    loc="lower center",
    bbox_to_anchor=(0.5, 0.0),
    ncols=len(labels),
    frameon=False,
    fontsize=10,
    columnspacing=1.6,
    handlelength=2.2,
  )
