"""Table 5: time and accuracy of the models as ratios to ANN, compared with the paper's."""

import csv
import functools
import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections
from matplotlib.figure import Figure

from qnn_jax import heads
from qnn_jax.experiment import RunRow
from qnn_jax.reports import panels
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import Row

# Seconds and percent, as printed in Table 5.
PAPER = {"ann": (1.63, 94.76), "qnn": (5.98, 96.35), "rpqnn": (1.71, 95.22)}
PAPER_SETTING = 60000, 5, 30  # samples, epochs, hidden neurons
FIELDS = (
  "seeds", "model", "seconds", "ratio", "paper_ratio", "accuracy", "paper_accuracy",
)  # fmt: skip
_COLOURS = (panels.GREY, panels.BLUE, panels.ORANGE, panels.GREEN)


class Timing(NamedTuple):
  """The measurement of one model, with `seeds` runs trained at once.

  Attributes:
    model: the head.
    seeds: the number of runs trained side by side.
    seconds: time of the whole training: the first epoch, plus the median of the others times their number.
      Compilation is not included.
    accuracy: mean over the runs, in percent.
  """

  model: str
  seeds: int
  seconds: float
  accuracy: float


def report(config: ml_collections.ConfigDict, found: Sequence[RunRow]) -> Report:
  """The table of the finished groups; the models of a group were measured together."""
  timings = [Timing(row["model"], row["seeds"], row["seconds"], row["accuracy"]) for row in found]
  what = setting(config.train_size, config.epochs, config.hidden, config.dataset)
  text = to_markdown(timings, what)
  files = {"table5.md": text, "table5.csv": to_csv(timings), "results.csv": to_csv(timings)}
  return Report(files, functools.partial(figure, timings, what), text)


def rows(timings: Sequence[Timing]) -> list[Row]:
  """One row per model and number of runs at once; ratios are to ANN with the same number of runs at once."""
  ann = {timing.seeds: timing.seconds for timing in timings if timing.model == "ann"}
  return [
    {
      "seeds": timing.seeds,
      "model": timing.model,
      "seconds": round(timing.seconds, 6),
      "ratio": round(timing.seconds / ann[timing.seeds], 3),
      "paper_ratio": round(PAPER[timing.model][0] / PAPER["ann"][0], 2)
      if timing.model in PAPER
      else "",
      "accuracy": round(timing.accuracy, 2),
      "paper_accuracy": PAPER[timing.model][1] if timing.model in PAPER else "",
    }
    for timing in timings
  ]


def to_csv(timings: Sequence[Timing]) -> str:
  """The rows as CSV."""
  text = io.StringIO()
  writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows(timings))
  return text.getvalue()


def setting(train_size: int, epochs: int, hidden: int, dataset: str) -> str:
  """A sentence that says what was trained, and what the paper trained if that is different."""
  text = "{}, {:,} samples, {} epochs, {} hidden neurons"
  ours = text.format(dataset.upper(), train_size, epochs, hidden)
  paper = text.format("MNIST", *PAPER_SETTING)
  return f"{ours}." if ours == paper else f"{ours}; the paper's are of {paper}."


def to_markdown(timings: Sequence[Timing], setting: str) -> str:
  """The table in markdown; for the sentence above it see `setting`."""
  lines = [
    "# Table 5: execution time and accuracy",
    "",
    setting,
    "",
    "| runs at once | model | seconds | over ANN | the paper's | accuracy, % | the paper's |",
    "| --: | :-- | --: | --: | --: | --: | --: |",
  ]
  for row in rows(timings):
    lines.append(
      f"| {row['seeds']} | {heads.title(row['model'])} | {row['seconds']:.2f} | {row['ratio']:.2f} "
      f"| {row['paper_ratio']} | {row['accuracy']:.2f} | {row['paper_accuracy']} |"
    )
  return "\n".join(lines) + "\n"


def figure(timings: Sequence[Timing], setting: str) -> Figure:
  """Our times relative to ANN and our test accuracies next to the paper's; see `setting`."""
  found = rows(timings)
  models = list(dict.fromkeys(row["model"] for row in found))
  counts = list(dict.fromkeys(row["seeds"] for row in found))
  groups = ["paper", *(f"ours, {n} run{'s' * (n > 1)} at once" for n in counts)]
  drawing, (time, accuracy) = panels.figure_with_panels(
    "Table 5: training time and accuracy of quadratic neurons",
    f"Per-sample SGD: {setting}",
    ["training time relative to ANN", "test accuracy, %"],
  )
  width, handles = 0.8 / len(groups), []
  for g, (count, colour) in enumerate(zip((None, *counts), itertools.cycle(_COLOURS))):
    of_group = [row for row in found if row["seeds"] == (count or counts[0])]
    if count is None:
      of_group = [row for row in of_group if row["paper_ratio"] != ""]
    names = ("ratio", "accuracy") if count else ("paper_ratio", "paper_accuracy")
    ratios, accuracies = ([row[name] for row in of_group] for name in names)
    at = [models.index(row["model"]) + (g - (len(groups) - 1) / 2) * width for row in of_group]
    bars = time.bar(at, ratios, 0.92 * width, color=colour)
    time.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=8)
    accuracy.plot(at, accuracies, "o", color=colour, markersize=7)
    for x, y in zip(at, accuracies):
      above = 7 if g % 2 == 0 else -14  # so that the numbers of neighbours do not touch
      accuracy.annotate(
        f"{y:.2f}", (x, y), (0, above), textcoords="offset points", ha="center", fontsize=8
      )
    handles.append(bars)
  for ax in (time, accuracy):
    ax.set_xticks(range(len(models)), [heads.title(model) for model in models])
    ax.set_xlim(-0.6, len(models) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.margins(y=0.12)
  panels.legend_below(drawing, handles, groups)
  return drawing
