"""The paper's claims about its Table 4, each judged by our runs.

With the same seed all models see the same samples in the same order. So differences between models are taken seed
by seed. Intervals are Student's 95 % intervals for the mean of these differences, in points. For a claim about many
rows we first average each seed over the rows.
"""

import collections
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from scipy import stats

from experiments.table4.paper import Cell, Row, Stats, rows_of
from experiments.table4.summary import Run
from experiments.table4.welch import CellTest
from qnn_jax import complexity, heads

CONFIDENCE = 0.95
TABLE5 = Row(60000, 5, 30)
"""The row of Table 4 whose means Table 5 prints as accuracies."""


class Claim(NamedTuple):
  """One claim.

  Attributes:
    text: what the paper says, and the number that tests it.
    paper: that number in the paper's table; empty if the paper has none.
    ours: that number in our table, with an interval if there is one.
    verdict: 'holds', 'holds in part: ...', 'does not hold', or 'not in these runs'.
  """

  text: str
  paper: str
  ours: str
  verdict: str


class Interval(NamedTuple):
  """A mean over seeds with its 95 % interval, in points; low and high are None for fewer than two seeds."""

  mean: float
  low: float | None
  high: float | None

  def __str__(self):
    if self.low is None:
      return f"{self.mean:+.2f}"
    return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def claims(
  runs: Iterable[Run], paper: Mapping[Cell, Stats], tests: Sequence[CellTest]
) -> list[Claim]:
  """The paper's claims about Table 4 and Table 5's accuracies, judged by these runs."""
  table = _Table(runs, paper)
  return [
    *_outperforms(table),
    _wins(table),
    *_gap_closes(table),
    *_reduced_is_near(table),
    _fewer_hidden(table),
    _cost(),
    *_table5(tests),
  ]


class _Table:
  """Differences between models over sets of rows, in our runs and in the paper's table."""

  def __init__(self, runs, paper):
    self.accuracy = {
      (run.cell, run.seed): float(run.accuracy) for run in runs if run.status == "ok"
    }
    self.seeds = sorted({seed for _, seed in self.accuracy})
    self.of_cell: dict[Cell, list[float]] = collections.defaultdict(list)
    self._seeds: dict[Cell, set[int]] = collections.defaultdict(set)
    for (cell, seed), value in self.accuracy.items():
      self.of_cell[cell].append(value)
      self._seeds[cell].add(seed)
    self.paper = paper

  def where(self, *models: str, **fields) -> list[Row]:
    """The rows of ours and the paper's with these values, in which these models have a seed in common."""
    return [
      row
      for row in rows_of(self.of_cell)
      if all(getattr(row, k) == v for k, v in fields.items())
      and all(Cell(*row, model) in self.paper for model in models)
      and set.intersection(*(self._seeds.get(Cell(*row, model), set()) for model in models))
    ]

  def differences(self, rows: Sequence[Row], model, other) -> list[float]:
    """model - other, each seed's mean over the rows; seeds that lack a run are left out."""
    pairs = [(Cell(*row, model), Cell(*row, other)) for row in rows]
    return [
      statistics.fmean(self.accuracy[a, s] - self.accuracy[b, s] for a, b in pairs)
      for s in self.seeds
      if all((cell, s) in self.accuracy for pair in pairs for cell in pair)
    ]

  def of_paper(self, rows: Sequence[Row], model, other) -> float:
    """The same difference between the paper's means."""
    return statistics.fmean(
      self.paper[Cell(*row, model)].mean - self.paper[Cell(*row, other)].mean for row in rows
    )


def interval(values: Sequence[float]) -> Interval:
  """Student's interval for the mean of values that hold one number per seed."""
  mean = statistics.fmean(values)
  if len(values) < 2:
    return Interval(mean, None, None)
  half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values)
  half /= len(values) ** 0.5
  return Interval(mean, mean - half, mean + half)


def _missing(text: str) -> Claim:
  return Claim(text, "", "", "not in these runs")


def _above_zero(found: Interval) -> str:
  if found.low is None or found.high is None:
    return "holds, on one seed" if found.mean > 0 else "does not hold, on one seed"
  if found.low > 0:
    return "holds"
  return "does not hold" if found.high < 0 else "undecided: the interval holds 0"


def _outperforms(table):
  """'QNN and RPQNN significantly outperform the standard ANN model when ... are small'."""
  for model in ("qnn", "rpqnn"):
    text = (
      f"{heads.title(model)} significantly outperforms ANN where data, epochs and hidden neurons are few: "
      f"{heads.title(model)} less ANN at 600/5/10"
    )
    rows = table.where(model, "ann", train_size=600, epochs=5, hidden=10)
    differences = table.differences(rows, model, "ann") if rows else []
    if not differences:
      yield _missing(text)
      continue
    found = interval(differences)
    theirs = table.of_paper(rows, model, "ann")
    yield Claim(text, f"{theirs:+.2f}", str(found), _above_zero(found))


def _wins(table):
  text = "QNN is the better network everywhere in the table: rows in which QNN is above ANN"
  rows = table.where("qnn", "ann")
  if not rows:
    return _missing(text)
  theirs = sum(table.of_paper([row], "qnn", "ann") > 0 for row in rows)
  found = [interval(table.differences([row], "qnn", "ann")) for row in rows]
  above = sum(one.mean > 0 for one in found)
  sure = sum(one.low is not None and one.low > 0 for one in found)
  ours = f"{above} of {len(found)}, beyond the 95 % interval in {sure}"
  if above == len(found):
    return Claim(text, f"{theirs} of {len(found)}", ours, "holds")
  verdict = f"holds in part: not in {len(found) - above} rows" if above else "does not hold"
  return Claim(text, f"{theirs} of {len(found)}", ours, verdict)


def _gap_closes(table):
  """'when the number of hidden layer neurons is large ... quadratic boundaries are not needed'."""
  for field, name in (
    ("train_size", "training samples"), ("epochs", "epochs"), ("hidden", "hidden neurons"),
  ):  # fmt: skip
    text = f"The gap of QNN over ANN closes with {name}"
    values = sorted({getattr(row, field) for row in table.where("qnn", "ann")})
    if len(values) < 2:
      yield _missing(text)
      continue
    low, high = (table.where("qnn", "ann", **{field: values[end]}) for end in (0, -1))
    text += f": the mean gap at {values[0]:,} less that at {values[-1]:,}"
    # Seed by seed, so that the effect of a seed that is common to both ends cancels.
    both = {
      seed: rows
      for seed in table.seeds
      if len(rows := _gaps(table, seed, low) + _gaps(table, seed, high)) == len(low) + len(high)
    }
    if not both:
      yield _missing(text)
      continue
    found = interval(
      [statistics.fmean(g[: len(low)]) - statistics.fmean(g[len(low) :]) for g in both.values()]
    )
    theirs = table.of_paper(low, "qnn", "ann") - table.of_paper(high, "qnn", "ann")
    yield Claim(text, f"{theirs:+.2f}", str(found), _above_zero(found))


def _gaps(table, seed, rows: Sequence[Row]):
  pairs = [((Cell(*row, "qnn"), seed), (Cell(*row, "ann"), seed)) for row in rows]
  return [
    table.accuracy[a] - table.accuracy[b]
    for a, b in pairs
    if a in table.accuracy and b in table.accuracy
  ]


def _reduced_is_near(table):
  """'almost the same performance benefits as QNNs': RPQNN's share of QNN's gain over ANN."""
  models = "ann", "qnn", "rpqnn"
  for size in sorted({row.train_size for row in table.where(*models)}) or (None,):
    text = "RPQNN has almost the same benefits as QNN: its share of QNN's gain over ANN"
    if size is None:
      yield _missing(text)
      continue
    rows = table.where(*models, train_size=size)
    text += f", {size:,} samples (holds from 80 %, in part from 20 %)"
    gain = statistics.fmean(table.differences(rows, "qnn", "ann") or [0.0])
    part = statistics.fmean(table.differences(rows, "rpqnn", "ann") or [0.0])
    theirs = table.of_paper(rows, "rpqnn", "ann") / table.of_paper(rows, "qnn", "ann")
    if gain <= 0:
      yield Claim(text, f"{theirs:.0%}", "QNN gains nothing", "does not hold")
      continue
    share = part / gain
    verdict = "holds" if share >= 0.8 else "holds in part" if share >= 0.2 else "does not hold"
    yield Claim(text, f"{theirs:.0%}", f"{share:.0%}", verdict)


def _fewer_hidden(table: _Table):
  """'can significantly reduce the number of hidden layer neurons'."""
  text = "Quadratic output neurons save hidden ones: QNN with 20 is above ANN with 30"
  high = [(row.train_size, row.epochs) for row in table.where("ann", hidden=30)]
  pairs = [
    (Cell(*row, "qnn"), Cell(row.train_size, row.epochs, 30, "ann"))
    for row in table.where("qnn", hidden=20)
    if (row.train_size, row.epochs) in high
  ]
  if not pairs:
    return _missing(text)
  theirs = sum(table.paper[a].mean > table.paper[b].mean for a, b in pairs)
  mean = lambda cell: statistics.fmean(table.of_cell[cell])
  ours = sum(mean(a) > mean(b) for a, b in pairs)
  text += ", of the pairs of size and epochs"
  verdict = "holds" if ours == len(pairs) else f"holds in part: in {ours} of {len(pairs)}"
  return Claim(text, f"{theirs} of {len(pairs)}", f"{ours} of {len(pairs)}", verdict)


def _cost():
  """'only slightly more costlier than ANNs', by the paper's own counts of Section 5."""
  count = {
    head: sum(map(sum, (complexity.layer("ann", 784, 30), complexity.layer(head, 30, 10))))
    for head in ("ann", "rpqnn")
  }
  ratio = count["rpqnn"] / count["ann"]
  return Claim(
    "RPQNN costs hardly more than ANN: multiplications a sample, 784-30-10, by Section 5's counts "
    "(measured times: the table5 experiment)",
    "1.05 (time, Table 5)",
    f"{ratio:.3f}",
    "holds" if ratio < 1.1 else "does not hold",
  )


def _table5(tests):
  """Table 5's accuracies are Table 4's means at 60000/5/30."""
  for model in ("ann", "qnn", "rpqnn"):
    text = (
      f"Table 5's accuracy of {heads.title(model)} (60,000 samples, 5 epochs, 30 hidden neurons)"
    )
    found = [test for test in tests if test.cell == Cell(*TABLE5, model)]
    if not found:
      yield _missing(text)
      continue
    (test,) = found
    ours = f"{test.ours.mean:.2f}" + ("" if test.error is None else f" ± {test.error:.2f}")
    verdict = "undecided: too few runs"
    if test.adjusted is not None:
      verdict = "does not hold" if test.differs else "holds"
    yield Claim(text, f"{test.theirs.mean:.2f}", ours, verdict)
