"""eigenimages' table and figure, made from its rows."""

import functools
from collections.abc import Sequence

import ml_collections
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row, csv_text, markdown_table

FOR, AGAINST = panels.ORANGE, panels.BLUE

# Sizes in inches.
_PICTURE, _GAP, _NAME, _BAR, _CURVE, _TOP, _MARGIN = 0.92, 0.16, 0.55, 0.3, 4.2, 1.15, 0.25

_READ = (
  "Orange, above zero: the more an image is like this\none, the more it is taken for the class.",
  "Blue, below zero: the more it is like this one,\nthe less it is taken for the class.",
  "Likeness is squared: an image's negative, green and\npurple exchanged, counts as much as the image. White\n"
  "pixels do not count. Each picture has its own scale;\nthe bars have one scale for all.",
)


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """The eigenvalues, the accuracies with only the leading eigenvectors, and the figure of the first seed."""
  good = [row for row in rows if row["status"] != "diverged"]
  lines = accuracies(good)
  columns = {name: name.replace("_", " ") for name in ("kept", "seed", "accuracy", "change")}
  text = "# eigenimages\n\n"
  text += (
    "Accuracy (percent, test images) with the leading eigenvectors of every Q alone, not trained any further; "
    "the last line of a seed is the full Q.\n\n"
    + markdown_table(lines, columns, {"accuracy": ".2f"})
    if lines
    else "No run is finished.\n"
  )
  heads: tuple[object, ...] = ("class", "place", "eigenvalue", "seed")
  files = {
    "eigenimages.md": text,
    "eigenimages.csv": csv_text([columns, *([line[key] for key in columns] for line in lines)]),
    "results.csv": csv_text([heads, *eigenvalues(good)]),
  }
  return Report(files, functools.partial(draw, config, good[0]) if good else None, text)


def eigenvalues(rows: Sequence[RunRow]) -> list[tuple[int, int, float, int]]:
  """(class, place from 1, eigenvalue, seed) for every leading eigenvector of every seed."""
  return [
    (k, place, value, row["seed"])
    for row in rows
    for k, values in enumerate(row["values"])
    for place, value in enumerate(values, 1)
  ]


def accuracies(rows: Sequence[RunRow]) -> list[Row]:
  """One line per seed and number of eigenvectors."""
  lines: list[Row] = []
  for row in rows:
    counts = [*zip(row["kept"], row["accuracies"]), ("all", row["accuracy"])]
    for count, accuracy in counts:
      change = round(accuracy - row["accuracy"], 2)
      lines.append({"kept": count, "seed": row["seed"], "accuracy": accuracy, "change": change})
  return lines


def draw(config: ml_collections.ConfigDict, row: RunRow) -> Figure:
  """One row of images per class; to the right, the accuracy by the number of eigenvectors."""
  values, vectors = np.asarray(row["values"]), np.asarray(row["vectors"])
  classes, places = values.shape
  line = _PICTURE + _BAR
  images = _NAME + places * (_PICTURE + _GAP)
  width, height = 2 * _MARGIN + images + 1.0 + _CURVE, _TOP + max(classes * line, 7.2) + _MARGIN
  figure = Figure(figsize=(width, height))
  FigureCanvasAgg(figure)
  text = lambda x, y, said, **style: figure.text(x / width, 1 - y / height, said, **style)
  axes = lambda x, y, w, h: figure.add_axes(
    (x / width, 1 - (y + h) / height, w / width, h / height)
  )
  text(_MARGIN, 0.18, "What a quadratic neuron looks for", fontsize=17, weight="bold", va="top")
  text(
    _MARGIN,
    0.55,
    f"A single quadratic layer, trained on {config.dataset.upper()}, has a neuron for each class. A row shows "
    "what the neuron of that class compares an image with:\nthe leading eigenvectors of its matrix Q, "
    "those with the largest eigenvalues first. Below each is its eigenvalue.",
    fontsize=10.5,
    color=panels.GREY,
    va="top",
    linespacing=1.35,
  )
  largest = np.abs(values).max()
  middle = np.outer(*(np.hanning(length + 2)[1:-1] for length in row["shape"][:2]))
  for k in range(classes):
    y = _TOP + k * line
    text(_MARGIN + 0.12, y + _PICTURE / 2, str(k), fontsize=20, weight="bold", va="center")
    for place in range(places):
      x = _MARGIN + _NAME + place * (_PICTURE + _GAP)
      ax = axes(x, y, _PICTURE, _PICTURE)
      picture = vectors[k, place].reshape(row["shape"]).mean(-1)
      # v and -v are equivalent. We draw the one that is positive (green) in the middle, where a digit has ink.
      picture = picture * (-1 if (picture * middle).sum() < 0 else 1)
      most = np.abs(picture).max() or 1.0
      ax.imshow(picture, cmap="PRGn", vmin=-most, vmax=most, interpolation="nearest")
      ax.set(xticks=[], yticks=[])
      ax.spines[:].set(color="#d0d0d0", linewidth=0.6)
      value = values[k, place]
      bar = axes(x, y + _PICTURE + 0.04, _PICTURE, 0.07)
      bar.set(xlim=(0, 1), ylim=(0, 1))
      bar.axis("off")
      bar.add_patch(Rectangle((0, 0), 1, 1, color="#eeeeee", linewidth=0))
      colour = FOR if value > 0 else AGAINST
      bar.add_patch(Rectangle((0, 0), abs(value) / largest, 1, color=colour, linewidth=0))
      sign = "+" if value > 0 else "−"
      text(
        x + _PICTURE / 2, y + _PICTURE + 0.12, f"{sign}{abs(value):.2f}",
        fontsize=7, color=colour, ha="center", va="top",
      )  # fmt: skip
  left = _MARGIN + images + 0.95
  _curve(axes(left, _TOP + 0.35, _CURVE - 0.1, 3.6), row)
  y = _TOP + 5.0
  text(left - 0.5, y, "How to read it", fontsize=13, weight="bold", va="top")
  for colour, said in zip((FOR, AGAINST, panels.GREY), _READ):
    y += 0.36
    text(left - 0.5, y, said, fontsize=10.5, color=colour, va="top", linespacing=1.35)
    y += 0.2 * said.count("\n")
  return figure


def _curve(ax, row):
  """Draws accuracy over the number of eigenvectors kept."""
  ax.set_title("How few are enough", fontsize=13, weight="bold", loc="left", pad=12)
  ax.axhline(row["accuracy"], color=panels.BLACK, linewidth=1, linestyle="--")
  ax.annotate(
    f"all of them: {row['accuracy']:.1f} %", (0, row["accuracy"]), (4, 4),
    xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=9,
  )  # fmt: skip
  ax.plot(row["kept"], row["accuracies"], "o-", color=panels.GREEN, markersize=6)
  for count, accuracy in zip(row["kept"], row["accuracies"]):
    ax.annotate(
      f"{accuracy:.1f}", (count, accuracy), (0, -14), textcoords="offset points",
      fontsize=8.5, ha="left", color=panels.GREEN,
    )  # fmt: skip
  ax.set(xlabel="eigenvectors kept per class", ylabel="test accuracy (%)", xscale="log")
  ax.set_xticks(row["kept"], [str(count) for count in row["kept"]])
  ax.minorticks_off()
  ax.margins(0.08, 0.16)
  ax.grid(color="#e4e4e4", linewidth=0.7)
  ax.set_axisbelow(True)
  ax.spines[["top", "right"]].set_visible(False)
  ax.tick_params(labelsize=9, color=panels.GREY)
