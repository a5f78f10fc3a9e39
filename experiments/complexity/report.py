"""Tables 1 and 2 and (67) to (70): the cost of layers by formula and by count, and why the two differ."""

from collections.abc import Sequence

import ml_collections

from experiments.complexity.figure import allocated, draw, square_steps
from experiments.complexity.task import METRICS, OPS
from qnn_jax import complexity
from qnn_jax.experiment import RunRow
from qnn_jax.reports.report import Report
from qnn_jax.reports.rows import csv_text, markdown_table

COLUMNS = ("model", "n", "m", "phase", *METRICS)

WHY = """\
One sample, rate times gradient as an optimiser takes it. *Formula* is an affine layer's cost
(5.1) and Table 1's extra together; *counted* are the multiplications in the program that XLA
compiled for CPU; *flops* is XLA's own cost analysis of that program, in which a dot's additions
count as well, so that it is near twice the count where dots rule. Where formula and count differ:

- **Update, all models.** The paper scales a vector by the rate before the outer product; an
  optimiser scales the finished gradient, once more for every parameter.
- **QNN forward.** The formula sums over half of Q, n(n+1)/2 products a neuron. Algorithm 1 wants
  V = A Q with the whole symmetric matrix, because backpropagation reuses 2 V^T: n^2 products.
  Half of Q with the shared entries in the upper triangle, as Section 5.2 counts, would give
  another V.
- **QNN update.** delta (x) M(a) is formed for whole matrices, in two outer products and one by
  the factors of M, and packed afterwards; then comes the rate. The formula has one product for
  each of the n(n+1)/2 entries.
- **RPQNN update.** The count is 2 n m for the outer products and 2 n m for the rate: Table 1's 4
  n m in sum. (70) has only the 2 n m that scaling a vector by the rate leaves.
- **QNN backward.** The formula doubles the n m entries of V; what is compiled doubles the n sums,
  and takes V in a product of its own.

Bytes are those of one program that does all three phases with the parameters updated in place:
*kept* are arguments and results (parameters, a, delta, g', z). *Scratch* holds v1 and v2, or V,
and what the paper does not count: the parameters once more, for backpropagation reads the old
ones while the new ones are written; the QNN's Q unpacked, n^2 numbers a neuron; and one
transposed matrix for the RPQNN. Table 2 in turn counts V twice.
"""


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """complexity.md, complexity.csv, and the figure if there are square layers."""
  text = markdown(config, rows)
  table = csv_text([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)])
  drawn = {row["model"] for row in square_steps(rows)} >= set(OPS)
  files = {"complexity.md": text, "complexity.csv": table}
  return Report(files, (lambda: draw(rows)) if drawn else None, said=text)


def markdown(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> str:
  """The tables, and the reasons why formula and count differ."""
  head, largest = tuple(config.head), max(config.sizes)
  shown = [row for row in rows if (row["n"], row["m"]) in (head, (largest, largest))]
  chosen = [dict(row) | {"ratio": row["counted"] / row["formula"]} for row in shown]
  names = {"n": "n", "m": "m", "model": "model"}
  costs = names | {"phase": "phase", "formula": "formula", "counted": "counted"}
  costs |= {"ratio": "counted / formula", "flops": "flops"}
  steps = [row for row in chosen if row["phase"] == "step"]
  affine = {(row["n"], row["m"]): row for row in steps if row["model"] == "ann"}
  for row in steps:
    ann = affine.get((row["n"], row["m"]))  # may be missing while the sweep is unfinished
    row["excess"] = allocated(row) - allocated(ann) if ann else None
    row["excess_formula"] = row["bytes_formula"] - ann["bytes_formula"] if ann else None
  memory = {"bytes_kept": "kept", "bytes_scratch": "scratch", "excess": "excess over ann"}
  memory |= {"excess_formula": "Table 2, in bytes"}
  big = dict.fromkeys([*costs, *memory], ",d") | {"ratio": ".2f", "model": "", "phase": ""}
  sizes = tuple(config.network)
  totals = [
    {"equation": name, "network": "-".join(map(str, sizes)), "multiplications": form(sizes)}
    for name, form in [
      ("(67) A_FP", complexity.ann_forward),
      ("(68) A_BP", complexity.ann_backward),
      ("(69) R_FP", complexity.reduced_forward),
      ("(70) R_BP", complexity.reduced_backward),
    ]
  ]
  return "\n".join(
    [
      "# Complexity: Tables 1 and 2, (67) to (70)",
      "",
      "## Multiplications a layer",
      "",
      markdown_table(chosen, costs, big),
      "## Bytes a layer",
      "",
      markdown_table(steps, names | memory, big),
      "## A whole network",
      "",
      markdown_table(totals, {key: key for key in totals[0]}, {"multiplications": ",d"}),
      "## Why they differ",
      "",
      WHY,
    ]
  )
