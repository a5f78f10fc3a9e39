"""Draws a neuron's decision boundary in the plane, for Figs. 1 and 2."""

import numpy as np
from matplotlib.axes import Axes

GREY = "#555555"
"""The grey of secondary lines."""
DASHES = (0, (4, 2.5))
"""matplotlib's line style of dashed lines."""
_GRID = 401  # points on each side of the grid that traces a boundary


def plane(ax: Axes, xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
  """Sets the axes `ax` to the part of the plane from xlim and ylim, with the same scale for both."""
  ax.set_xlim(xlim)
  ax.set_ylim(ylim)
  ax.set_aspect("equal")
  ax.grid(color="#e9e9e9", linewidth=0.7)
  ax.set_axisbelow(True)
  ax.spines[["top", "right"]].set_visible(False)
  ax.tick_params(labelsize=9, color=GREY)


def draw_boundary(
  ax: Axes, theta: np.ndarray, colour: str, shade: str | None = None, dashed: bool = False
) -> None:
  """Draws the curve z = 0 over the whole panel, and with `shade` a tint where z > 0.

  Args:
    ax: axes from `plane`.
    theta: [F] in `training.logistic.join`'s order, F 6 or, for an ordinary neuron, 3.
    colour: of the curve.
    shade: the colour of the tint.
    dashed: whether the curve is dashed.
  """
  u, v = np.meshgrid(np.linspace(*ax.get_xlim(), _GRID), np.linspace(*ax.get_ylim(), _GRID))
  terms = (np.ones_like(u), u, v, u * u, 2 * u * v, v * v)
  z = np.asarray(sum(float(value) * term for value, term in zip(theta, terms)))
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
    linestyles=[DASHES if dashed else "solid"],
    zorder=5,
  )
