"""The experiment's files: gradients compared by layer, losses of both descents compared, and a figure of both."""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.backprop_notes.task import AGREEMENT
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row, csv_text, markdown_table


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """results.csv with a line per training step, backprop_notes.md and .csv with a line per layer, and the figure.

  With several seeds the lines begin with the seed.
  """
  steps = _with_seed(config, [(row["seed"], line) for row in rows for line in steps_of(row)])
  layers = [(row["seed"], line) for row in rows for line in agreement(config, row)]
  table = _with_seed(config, layers)
  text = markdown(table, rows)
  files = {"results.csv": _csv(steps), "backprop_notes.md": text, "backprop_notes.csv": _csv(table)}
  figure = lambda: draw(config, rows, [line for _, line in layers])
  return Report(files, figure, said=text)


def steps_of(row: RunRow) -> list[Row]:
  """Our loss before every step, and the document's for its shorter descent."""
  document = row["loss_document"]
  return [
    {"step": i, "loss": loss, "loss_document": document[i] if i < len(document) else None}
    for i, loss in enumerate(row["loss"])
  ]


def agreement(config: ml_collections.ConfigDict, row: RunRow) -> list[Row]:
  """One line per layer, at the start and at the end of training."""
  sizes = config.sizes
  return [
    {"when": when, "layer": i + 1, "shape": f"{sizes[i + 1]}x{sizes[i]}"}
    | {name: row[f"{name}_{when}"][i] for name in AGREEMENT}
    for when in ("start", "end")
    for i in range(len(sizes) - 1)
  ]


def _with_seed(config, lines):
  return [({"seed": seed} if config.seeds > 1 else {}) | line for seed, line in lines]


def _csv(lines):
  return csv_text([list(lines[0]), *(line.values() for line in lines)])


def markdown(table: Sequence[Row], rows: Sequence[RunRow]) -> str:
  """The agreement of gradients in each layer, and of the two descents' losses."""
  heads = {key: key.replace("_", " ") for key in table[0]}
  each = [_descents(row) for row in rows]
  if len(rows) > 1:
    each = [f"Seed {row['seed']}. {text}" for row, text in zip(rows, each)]
  descents = "\n\n".join(each)
  return f"""\
# The backpropagation notes against this package

Largest difference between the document's mean gradients (NumPy, float64) and ours (float32), as a
part of the largest mean magnitude of the samples' gradients.

{markdown_table(table, heads, dict.fromkeys(AGREEMENT, ".1e"))}
{descents}
"""


def _descents(row: RunRow) -> str:
  loss, document = row["loss"], row["loss_document"]
  if None in loss:
    return f"Loss {loss[0]:.5f} at the start; it diverged."
  gap = max(abs(ours / theirs - 1) for ours, theirs in zip(loss, document))
  return (
    f"Loss {loss[0]:.5f} at the start and {loss[-1]:.5f} after {len(loss)} steps.\n"
    f"Over the first {len(document)} steps the two descents' losses differ by at most {gap:.1e} of "
    "themselves."
  )


def draw(
  config: ml_collections.ConfigDict, rows: Sequence[RunRow], layers: Sequence[Row]
) -> Figure:
  """The training curves of both, and the agreement in each layer: that of the worst seed."""
  seeds = "one start" if len(rows) == 1 else f"each of {len(rows)} starts"
  figure, axes = panels.figure_with_panels(
    "Backpropagation by the document and by JAX",
    f"A {'-'.join(map(str, config.sizes))} sigmoid network with the half squared error, full-batch "
    f"descent from {seeds}",
    ["training loss", "largest relative difference of gradients"],
  )
  # A record holds None for what was not finite.
  for row in rows:
    loss = np.array(row["loss"], float)
    axes[0].plot(range(1, len(loss) + 1), loss, color=panels.BLUE)
    document = row["loss_document"]
    marked = sorted({int(step) for step in np.geomspace(1, len(document), 12)})
    axes[0].plot(
      marked,
      [document[step - 1] for step in marked],
      color=panels.ORANGE,
      marker="o",
      markersize=7,
      markerfacecolor="none",
      linestyle="none",
    )
  axes[0].set(xlabel="step", ylabel="mean half squared error", xscale="log", yscale="log")
  count = range(1, len(config.sizes))
  layers = [{k: np.nan if v is None else v for k, v in line.items()} for line in layers]
  worst = lambda name, when, layer: max(
    line[name] for line in layers if (line["when"], line["layer"]) == (when, layer)
  )
  for when, filled in (("start", False), ("end", True)):
    for part, marker, colour in (("dW", "s", panels.GREEN), ("db", "^", panels.PURPLE)):
      axes[1].plot(
        count,
        [worst(f"difference_{part}", when, layer) for layer in count],
        color=colour,
        marker=marker,
        markersize=6,
        markerfacecolor=colour if filled else "none",
        linewidth=1,
        linestyle="-" if filled else (0, (3, 2)),
      )
  axes[1].axhline(float(np.finfo(np.float32).eps), color=panels.GREY, linewidth=1, linestyle=":")
  largest = max(line[f"difference_{part}"] for line in layers for part in ("dW", "db"))
  axes[1].set(xlabel="layer", yscale="log", ylim=(1e-8, max(1e-5, 2 * largest)))
  axes[1].set_xticks(count)
  styles: list[tuple[str, str, str, Any, str | None]] = [
    ("JAX", panels.BLUE, "none", "-", None),
    ("the document, in NumPy", panels.ORANGE, "o", "none", "none"),
    ("dL/dW", panels.GREEN, "s", "-", None),
    ("dL/db", panels.PURPLE, "^", "-", None),
    ("at the start", panels.GREY, "o", (0, (3, 2)), "none"),
    ("float32 rounding", panels.GREY, "none", ":", None),
  ]
  handles = [
    Line2D([], [], color=colour, marker=marker, linestyle=line, markerfacecolor=face or colour)
    for _, colour, marker, line, face in styles
  ]
  panels.legend_below(figure, handles, [style[0] for style in styles])
  return figure
