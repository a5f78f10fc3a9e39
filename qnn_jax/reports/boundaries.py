"""Pictures of neurons in the plane: the data and each neuron's decision boundary, Figs. 1 and 2."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe and Ito's colours, told apart with any colour vision, and a marker each for grey print.
COLOURS = ("#D55E00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#0072B2")
MARKERS = ("o", "s", "^", "D", "v", "P")
_GREY = "#555555"
_DASHES = (0, (4, 2.5))
_GRID = 401  # points a side on which a boundary is traced


class Neuron(NamedTuple):
  """One quadratic neuron of two inputs, as often as it is drawn.

  Attributes:
    theta: [6] when it first was right, in `training.logistic.join`'s order: b, w1, w2, q11, q12,
      q22.
    final_theta: [6] at the end of its training.
    title: what its panel says above.
  """

  theta: np.ndarray
  final_theta: np.ndarray
  title: str


def xor_figure(x: np.ndarray, targets: np.ndarray, neurons: Sequence[Neuron]) -> Figure:
  """Fig. 1: a panel a neuron with the four points, the boundary and the side that is 'true'.

  Args:
    x: [4, 2].
    targets: [4] in {0, 1}.
    neurons: one a panel.
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
    _axes(ax, (-2.25, 2.25), (-2.25, 2.25))
    _boundary(ax, neuron.theta, _GREY, shade=styles[1][0])
    _boundary(ax, neuron.final_theta, _GREY, dashed=True)
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
    Line2D([], [], color=_GREY, linewidth=1.8),
    Line2D([], [], color=styles[0][0], marker="o", markersize=8, linestyle="none"),
    Line2D([], [], color=_GREY, linewidth=1.2, linestyle=_DASHES),
  ]
  labels = ["true", "boundary when first right, true side tinted", "false"]
  labels += ["boundary at the end of training"]
  figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=10)
  return figure


def clusters_figure(
  x: np.ndarray, y: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], subtitle: str
) -> Figure:
  """Fig. 2: a panel a layer; each class and its neuron's boundary in one colour.

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
  figure.text(left, 1 - 0.46 / height, subtitle, fontsize=10, color=_GREY, va="top")
  classes = range(int(y.max()) + 1)
  for ax, (title, theta) in zip(axes, layers, strict=True):
    _axes(ax, (-22, 6), (-7.5, 17.5))
    for c in classes:
      points = x[y == c]
      # Drawn as part of the image, whatever the format: thousands of markers make no good vectors.
      ax.scatter(
        *points.T, s=5, c=COLOURS[c], marker=MARKERS[c], linewidths=0, alpha=0.55, rasterized=True
      )
      _boundary(ax, theta[:, c], COLOURS[c])
      # Each class is named where it lies: no reader needs the colour to match it to its curve.
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


def _axes(ax: Axes, xlim, ylim) -> None:
  ax.set_xlim(xlim)
  ax.set_ylim(ylim)
  ax.set_aspect("equal")
  ax.grid(color="#e9e9e9", linewidth=0.7)
  ax.set_axisbelow(True)
  ax.spines[["top", "right"]].set_visible(False)
  ax.tick_params(labelsize=9, color=_GREY)


def _boundary(
  ax: Axes, theta: np.ndarray, colour: str, shade: str | None = None, dashed: bool = False
) -> None:
  """The curve z = 0 over the whole panel, and with `shade` a tint where z > 0."""
  u, v = np.meshgrid(np.linspace(*ax.get_xlim(), _GRID), np.linspace(*ax.get_ylim(), _GRID))
  terms = (np.ones_like(u), u, v, u * u, 2 * u * v, v * v)
  z = sum(float(value) * term for value, term in zip(theta, terms))
  if not z.min() < 0 < z.max():
    return  # the boundary lies outside the panel (or diverged): matplotlib would warn of it
  if shade:
    ax.contourf(u, v, z, levels=[0, z.max()], colors=[shade], alpha=0.13, zorder=1)
  ax.contour(
    u,
    v,
    z,
    levels=[0],
    colors=[colour],
    linewidths=1.2 if dashed else 1.8,
    linestyles=[_DASHES if dashed else "solid"],
    zorder=5,
  )
