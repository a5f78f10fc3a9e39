"""Compares heads with the first one in pairs: with the same seed both see the same images in the same order."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from qnn_jax.experiment import RunRow

LEVEL = 0.95


class Line(NamedTuple):
  """One line of the table: the results of a network with a head at a training size.

  Attributes:
    network, head, train_size: identify the line.
    runs: the number of runs that did not diverge.
    diverged: the number of runs that diverged.
    accuracy, interval: mean over the seeds in percent, and the half width of its 95 % interval.
    difference, difference_interval: mean of the paired differences to the first head, in points, and the half
      width of its 95 % interval; None for the first head.
    p: two-sided p-value of the pairs, by Student's t.
    adjusted: p adjusted by Holm's procedure over all lines of the table. If there are no differences at all, the
      probability that any line of the table has an adjusted p of at most 0.05 is at most 5 %.
    parameters: the number of parameters of the network.
    step_ms, step_mb: medians of the time and the memory of a step.
  """

  network: str
  head: str
  train_size: int
  runs: int
  diverged: int
  accuracy: float | None
  interval: float | None
  difference: float | None = None
  difference_interval: float | None = None
  p: float | None = None
  adjusted: float | None = None
  parameters: int = 0
  step_ms: float | None = None
  step_mb: float | None = None


def lines(rows: Sequence[RunRow], first: str) -> list[Line]:
  """A line for each network, size and head, in the order of the rows; the other heads are compared with `first`."""
  keys = list(dict.fromkeys((row["network"], row["train_size"], row["head"]) for row in rows))
  accuracies = {
    key: {
      row["seed"]: row["accuracy"] for row in rows if _key(row) == key and row["status"] == "ok"
    }
    for key in keys
  }
  found = []
  for key in keys:
    mine = [row for row in rows if _key(row) == key]
    values = list(accuracies[key].values())
    line = Line(
      *(key[0], key[2], key[1], len(values), len(mine) - len(values)),
      *(statistics.fmean(values) if values else None, _half_width(values)),
      parameters=mine[0]["parameters"],
      step_ms=_median([row["step_ms"] for row in mine]),
      step_mb=_median([row["step_mb"] for row in mine]),
    )
    others = accuracies.get((key[0], key[1], first), {})
    pairs = [value - others[seed] for seed, value in accuracies[key].items() if seed in others]
    if key[2] != first and pairs:
      p = float(stats.ttest_1samp(pairs, 0).pvalue) if len(set(pairs)) > 1 else None
      line = line._replace(
        difference=statistics.fmean(pairs), difference_interval=_half_width(pairs), p=p
      )
    found.append(line)
  return _holm(found)


def _key(row):
  return row["network"], row["train_size"], row["head"]


def _median(values: Sequence[float | None]) -> float | None:
  there = [value for value in values if value is not None]
  return statistics.median(there) if there else None


def _half_width(values: Sequence[float]) -> float | None:
  if len(values) < 2:
    return None
  t = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
  return float(t * statistics.stdev(values) / np.sqrt(len(values)))


def _holm(found: list[Line]) -> list[Line]:
  """Holm (1979): the k-th smallest of m p-values times m - k + 1, and never below a smaller p's result."""
  order = sorted((line.p, place) for place, line in enumerate(found) if line.p is not None)
  least = 0.0
  for rank, (p, place) in enumerate(order):
    least = max(least, min(1.0, p * (len(order) - rank)))
    found[place] = found[place]._replace(adjusted=least)
  return found
