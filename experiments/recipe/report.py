"""How far each recipe is from the paper's means and standard deviations, as a table and a figure."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ml_collections
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.table4.paper import Cell, Stats, models_of, paper_of
from experiments.table4.report import beside_of, run_of
from experiments.table4.summary import Run, summarize
from experiments.table4.welch import (
  cell_tests,
  mean_square_z,
  rms_difference,
  rms_error,
  spread_ratio,
)
from qnn_jax import heads
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text, markdown_table


class Row(NamedTuple):
  """One recipe compared with the paper over some cells of the table.

  Attributes:
    recipe: the name of the recipe.
    train_size: the training size of the cells; None for all sizes.
    model: the model of the cells; 'all' for all models.
    cells: the number of cells.
    difference: root mean square of our means minus the paper's, in points.
    expected: the value of `difference` that random variation of the runs alone would give, in points.
    z2: mean square of Welch's z.
    spread: geometric mean of our standard deviations divided by the paper's.
  """

  recipe: str
  train_size: int | None
  model: str
  cells: int
  difference: float | None
  expected: float | None
  z2: float | None
  spread: float | None


def report(config: ml_collections.ConfigDict, found: Sequence[RunRow]) -> Report:
  """The table and the figure of the recipes that have finished runs."""
  runs: dict[str, list[Run]] = {}
  for row in found:
    runs.setdefault(row["recipe"], []).append(run_of(row))
  paper = paper_of(config.dataset)
  lines = rows(runs, paper)
  text = to_markdown(lines)
  drawn = any(line.difference is not None for line in lines)
  figure_of = functools.partial(figure, lines) if drawn else None
  files = {"recipe.md": text, "recipe.csv": to_csv(lines)}
  return Report(files, figure_of, text, beside_of(paper))


def rows(runs: Mapping[str, Sequence[Run]], paper: Mapping[Cell, Stats]) -> list[Row]:
  """One row per recipe, training size and model, and rows over all sizes and all models."""
  found = []
  for recipe, of_recipe in runs.items():
    tests = cell_tests(summarize(of_recipe), paper)
    models = [*models_of(test.cell for test in tests), "all"]
    for size in (*sorted({test.cell.train_size for test in tests}), None):
      for model in models:
        part = [
          test for test in tests
          if size in (None, test.cell.train_size) and model in ("all", test.cell.model)
        ]  # fmt: skip
        numbers = rms_difference(part), rms_error(part), mean_square_z(part), spread_ratio(part)
        found.append(Row(recipe, size, model, len(part), *numbers))
  return found


def to_csv(found: Sequence[Row]) -> str:
  """Every row as CSV; train_size is empty in rows over all sizes."""
  shown = lambda value: round(value, 4) if isinstance(value, float) else value
  return csv_text([Row._fields, *(map(shown, row) for row in found)])


def to_markdown(found: Sequence[Row]) -> str:
  """The table in markdown, one line per recipe: difference and spread by size and model."""
  places = list(dict.fromkeys((row.train_size, row.model) for row in found))
  sizes = [place for place in places if place[0] and place[1] != "all"]
  by = {(row.recipe, row.train_size, row.model): row for row in found}
  table = []
  for recipe in dict.fromkeys(row.recipe for row in found):
    whole = by[recipe, None, "all"]
    line = {"recipe": recipe, "all": _pair(whole), "expected": whole.expected, "z2": whole.z2}
    line |= {str(place): _pair(by[recipe, *place]) for place in sizes}
    table.append(line)
  columns = {"recipe": "recipe", **{str(place): f"{place[1]} {place[0]:,}" for place in sizes}}
  columns |= {"all": "all", "expected": "expected", "z2": "mean square z"}
  text = (
    "# The recipe behind Table 4\n\n"
    "Root mean square of our means less the paper's, in points, and in brackets the geometric mean of our "
    "standard deviations over the paper's. Expected: the first number if only the draw of the runs "
    "differed. What a recipe is: configs/recipe.py.\n\n"
  )
  return text + markdown_table(table, columns, {"expected": ".2f", "z2": ".1f"})


def figure(found: Sequence[Row]) -> Figure:
  """One line per recipe and one marker per model, over all sizes: differences left, spreads right."""
  recipes = list(dict.fromkeys(row.recipe for row in found))
  models = [m for m in dict.fromkeys(row.model for row in found) if m != "all"]
  by = {(row.recipe, row.model): row for row in found if row.train_size is None}
  drawn, (left, right) = panels.figure_with_panels(
    "The recipe behind Table 4",
    "The first line is the recipe 'found', and every other line changes it. Left: how far our means are from "
    "the paper's; the grey line shows what random variation of the runs alone would give. Right: our standard "
    "deviations divided by the paper's.",
    [
      "means: root mean square of the differences, points",
      "standard deviations: ours / the paper's",
    ],
    width=4.4,
    height=0.28 * len(recipes) + 0.3,
  )
  places = {recipe: -i for i, recipe in enumerate(recipes)}
  floor = by[recipes[0], "all"].expected
  for ax, name in ((left, "difference"), (right, "spread")):
    for model in models:
      points = [(getattr(by[r, model], name), places[r]) for r in recipes if (r, model) in by]
      points = [(x, y) for x, y in points if x is not None]
      head = heads.get(model) if heads.known(model) else None
      style, colour = (head.marker, head.colour) if head else ("o", panels.BLACK)
      ax.plot(*zip(*points), style, color=colour, label=heads.title(model), markersize=6, alpha=0.9)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(-len(recipes) + 0.4, 0.6)
    ax.set_yticks(list(places.values()), recipes if ax is left else [])
  if floor:
    left.axvline(floor, color=panels.GREY, linewidth=1.2, zorder=0)
  right.axvline(1, color=panels.GREY, linewidth=1.2, zorder=0)
  left.set_xlabel("points")
  right.set_xlabel("ratio")
  panels.legend_below(drawn, *left.get_legend_handles_labels())
  return drawn


def _pair(row: Row) -> str:
  if row.difference is None:
    return "-"
  return f"{row.difference:.2f}" + ("" if row.spread is None else f" ({row.spread:.2f})")
