"""Fig. 2: the six clusters and the decision boundary of each cluster's neuron."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax.reports import boundaries

# Okabe and Ito's colours, which readers with any colour vision can distinguish, and one marker each for grey print.
COLOURS = ("#D55E00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#0072B2")
MARKERS = ("o", "s", "^", "D", "v", "P")


def clusters_figure(
  x: np.ndarray, y: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], subtitle: str
) -> Figure:
  """Fig. 2: one panel per layer; each class and the boundary of its neuron have the same colour.

  Args:
    x: [N, 2].
    y: [N] the class of each, 0 to C - 1, C at most six.
    layers: (title, theta [F, C]) of each panel.
    subtitle: one line under the title.
  """
  width, height = 1.0 + 4.9 * len(layers), 5.65
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  axes = figure.subplots(
    1, len(layers), squeeze=False, sharey=True,
    gridspec_kw={
      "left": 0.65 / width, "right": 1 - 0.2 / width, "bottom": 0.9 / height,
      "top": 1 - 1.0 / height, "wspace": 0.06,
    },
  )[0]  # fmt: skip
  left = 0.25 / width
  figure.text(
    left, 1 - 0.15 / height, "Six clusters, one layer of six neurons", fontsize=14,
    weight="bold", va="top",
  )  # fmt: skip
  figure.text(left, 1 - 0.46 / height, subtitle, fontsize=10, color=boundaries.GREY, va="top")
  classes = range(int(y.max()) + 1)
  for ax, (title, theta) in zip(axes, layers, strict=True):
    boundaries.plane(ax, (-22, 6), (-7.5, 17.5))
    for c in classes:
      points = x[y == c]
      # Rasterised in every format, because thousands of markers make a vector file too large.
      ax.scatter(
        *points.T, s=5, c=COLOURS[c], marker=MARKERS[c], linewidths=0, alpha=0.55, rasterized=True
      )
      boundaries.draw_boundary(ax, theta[:, c], COLOURS[c])
      # Each class is labelled at its place, so that no reader needs the colour to find its boundary.
      ax.annotate(
        str(c + 1), points.mean(0), ha="center", va="center", fontsize=10, weight="bold",
        color=COLOURS[c], bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": COLOURS[c]},
        zorder=6,
      )  # fmt: skip
    ax.set_title(title, fontsize=10.5)
    ax.set_xlabel("$x_1$")
  axes[0].set_ylabel("$x_2$")
  handles = [
    Line2D([], [], color=COLOURS[c], marker=MARKERS[c], markersize=5.5, linewidth=1.8)
    for c in classes
  ]
  labels = [f"class {c + 1}" for c in classes]
  figure.legend(handles, labels, loc="lower center", ncols=6, frameon=False, fontsize=10)
  return figure
