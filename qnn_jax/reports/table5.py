"""Table 5: time and accuracy of the models as ratios to ANN, beside the paper's."""

import csv
import io
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from qnn_jax.errors import InputError

# Seconds and percent, as printed in Table 5.
PAPER = {"ann": (1.63, 94.76), "qnn": (5.98, 96.35), "rpqnn": (1.71, 95.22)}
FIELDS = (
  "seeds", "model", "seconds", "ratio", "paper_ratio", "accuracy", "paper_accuracy",
)  # fmt: skip
_COLORS = ("#555555", "#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's


class Timing(NamedTuple):
  """One model trained `seeds` runs at once.

  Attributes:
    model: the head.
    seeds: runs side by side.
    seconds: of the whole training, its first epoch and the median of the others times their number;
      compiling is not in it.
    accuracy: mean over the runs, in percent.
  """

  model: str
  seeds: int
  seconds: float
  accuracy: float


def rows(timings: Sequence[Timing]) -> list[dict[str, object]]:
  """One row a model and number of runs at once; ratios are to ANN with as many runs at once."""
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
  """The rows, tidy."""
  text = io.StringIO()
  writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows(timings))
  return text.getvalue()


def from_csv(text: str) -> list[Timing]:
  """The timings of a `to_csv`, to make a report again; ValueError if they are not whole."""
  head, *lines = list(csv.reader(io.StringIO(text))) or [[]]
  if tuple(head) != FIELDS or not lines:
    raise ValueError("no table of timings")
  found = [dict(zip(FIELDS, line, strict=True)) for line in lines]
  timings = [
    Timing(row["model"], int(row["seeds"]), float(row["seconds"]), float(row["accuracy"]))
    for row in found
  ]
  models = {}
  for timing in timings:
    if not 0 < timing.seconds < math.inf:
      raise ValueError("a time must be positive")
    models.setdefault(timing.seeds, []).append(timing.model)
  first, *others = models.values()
  if "ann" not in first or len(set(first)) < len(first) or any(names != first for names in others):
    raise ValueError("every number of runs must have the same models, ann among them")
  return timings


def read(path: pathlib.Path) -> list[Timing]:
  """The timings in a file; none if it is not there, InputError if it is damaged."""
  if not path.exists():
    return []
  try:
    return from_csv(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise InputError(f"{path} is damaged; restore it, or remove it to measure again") from error


def to_markdown(timings: Sequence[Timing]) -> str:
  """The table for people."""
  lines = [
    "# Table 5: execution time and accuracy",
    "",
    "| runs at once | model | seconds | over ANN | the paper's | accuracy, % | the paper's |",
    "| --: | :-- | --: | --: | --: | --: | --: |",
  ]
  for row in rows(timings):
    lines.append(
      f"| {row['seeds']} | {row['model'].upper()} | {row['seconds']:.2f} | {row['ratio']:.2f} "
      f"| {row['paper_ratio']} | {row['accuracy']:.2f} | {row['paper_accuracy']} |"
    )
  return "\n".join(lines) + "\n"


def figure(timings: Sequence[Timing]) -> Figure:
  """Bars: time over ANN's, ours beside the paper's, and the accuracies below the names."""
  found = rows(timings)
  models = list(dict.fromkeys(row["model"] for row in found))
  counts = list(dict.fromkeys(row["seeds"] for row in found))
  groups = [("paper", None), *((f"ours, {n} run{'s' * (n > 1)} at once", n) for n in counts)]
  drawing = Figure(figsize=(7.5, 4.2), layout="constrained")
  ax = drawing.subplots()
  width = 0.8 / len(groups)
  for g, (label, count) in enumerate(groups):
    for m, model in enumerate(models):
      row = next(r for r in found if r["model"] == model and r["seeds"] == (count or counts[0]))
      ratio = row["ratio"] if count else row["paper_ratio"]
      accuracy = row["accuracy"] if count else row["paper_accuracy"]
      if ratio == "":
        continue
      bar = ax.bar(
        m + (g - (len(groups) - 1) / 2) * width, ratio, 0.92 * width, color=_COLORS[g % len(_COLORS)],
        label=label if m == 0 else None,
      )  # fmt: skip
      ax.bar_label(bar, [f"{ratio:.2f}\n{accuracy:.1f} %"], padding=2, fontsize=8)
  ax.set_xticks(range(len(models)), [model.upper() for model in models])
  ax.set_ylabel("training time over ANN's")
  ax.set_title("Table 5: time over ANN's, and test accuracy", loc="left")
  ax.spines[["top", "right"]].set_visible(False)
  ax.margins(y=0.18)
  ax.legend(frameon=False, loc="upper right")
  return drawing
