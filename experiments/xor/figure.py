"""Fig. 1: the boundaries of neurons that learned XOR, the four points of (20)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax.reports import boundaries


class Neuron(NamedTuple):
  """One quadratic neuron of two inputs, to be drawn in a panel.

  Attributes:
    theta: [6] its parameters when all points were first right, in the order of `training.logistic.join`:
      b, w1, w2, q11, q12, q22.
    final_theta: [6] its parameters at the end of training.
    title: the title of its panel.
  """

  theta: np.ndarray
  final_theta: np.ndarray
  title: str


def xor_figure(x: np.ndarray, targets: np.ndarray, neurons: Sequence[Neuron]) -> Figure:
  """Fig. 1: one panel per neuron with the four points, the boundary and the side that is 'true'.

  Args:
    x: [4, 2].
    targets: [4] in {0, 1}.
    neurons: one for each panel.
  """
  width, height = 0.3 + 3.7 * len(neurons), 5.2
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  axes = figure.subplots(
    1, len(neurons), squeeze=False, sharey=True,
    gridspec_kw={
      "left": 0.75 / width, "right": 1 - 0.2 / width, "bottom": 1.25 / height,
      "top": 1 - 0.85 / height, "wspace": 0.1,
    },
  )[0]  # fmt: skip
  figure.text(
    0.25 / width, 1 - 0.15 / height, "XOR by a single quadratic neuron", fontsize=14,
    weight="bold", va="top",
  )  # fmt: skip
  styles = {0: ("#0072B2", "o"), 1: ("#D55E00", "s")}
  for ax, neuron in zip(axes, neurons, strict=True):
    boundaries.plane(ax, (-2.25, 2.25), (-2.25, 2.25))
    boundaries.draw_boundary(ax, neuron.theta, boundaries.GREY, shade=styles[1][0])
    boundaries.draw_boundary(ax, neuron.final_theta, boundaries.GREY, dashed=True)
    for value, (colour, marker) in styles.items():
      points = x[targets == value]
      ax.scatter(*points.T, s=110, c=colour, marker=marker, zorder=6, edgecolors="white")
    ax.set_title(neuron.title, fontsize=10.5)
    ax.set_xticks([-2, -1, 0, 1, 2])
    ax.set_yticks([-2, -1, 0, 1, 2])
    ax.set_xlabel("$x_1$")
  axes[0].set_ylabel("$x_2$")
  handles = [
    Line2D([], [], color=styles[1][0], marker="s", markersize=8, linestyle="none"),
    Line2D([], [], color=boundaries.GREY, linewidth=1.8),
    Line2D([], [], color=styles[0][0], marker="o", markersize=8, linestyle="none"),
    Line2D([], [], color=boundaries.GREY, linewidth=1.2, linestyle=boundaries.DASHES),
  ]
  labels = ["true", "boundary when first right, true side tinted", "false"]
  labels += ["boundary at the end of training"]
  figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=10)
  return figure
