"""What ANN, QNN and RPQNN layers cost, by the paper's formulas and by XLA's count."""

import pathlib

import jax
import jax.numpy as jnp
import ml_collections
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qnn_jax import complexity, experiment, heads, ops
from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.ops import _quadratic
from qnn_jax.reports import panels
from qnn_jax.reports.plot import save_png
from qnn_jax.reports.rows import Row, markdown_table, stored_rows, write_rows

PHASES = ("forward", "backward", "update")


def quadratic_as_printed(x, q, kernel, bias):
  """`ops.quadratic` of one sample by V = A Q of (44) at every size.

  Large layers take Q in tiles (ops/_tiles.py): quicker, but what is counted would be the tiles'.
  """
  plan = _quadratic.Plan(tiled=False)
  return _quadratic.by_closed_form(plan, x[None], q, kernel, bias)[0]


OPS = {"ann": ops.affine, "qnn": quadratic_as_printed, "rpqnn": ops.reduced_quadratic}

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


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  rows = stored_rows(workdir / "results.csv", lambda: compute(config))
  write_rows(workdir / "complexity.csv", rows)
  text = report(rows, config)
  atomic_write_text(workdir / "complexity.md", text)
  save_png(draw(rows), workdir / "complexity.png")
  print(text)


def check(config: ml_collections.ConfigDict) -> None:
  """InputError for the first value that makes no sense."""
  wanted = {
    "sizes": ("at least one n", lambda values: len(values) > 0),
    "head": ("a pair, inputs and neurons", lambda values: len(values) == 2),
    "network": ("the sizes of at least two layers", lambda values: len(values) > 1),
  }
  for name, (what, enough) in wanted.items():
    values = tuple(config[name])
    if not enough(values) or not all(isinstance(n, int) and n > 0 for n in values):
      raise InputError(f"{name} must be {what}, each a whole number of at least 1, got {values}")


def compute(config: ml_collections.ConfigDict) -> list[Row]:
  """A row a layer, model and phase; the phase `step` is all three in one program."""
  shapes = [tuple(config.head), *((n, n) for n in config.sizes)]
  # The counts are of programs for CPU, also where there is an accelerator: see complexity.py.
  with jax.default_device(jax.devices("cpu")[0]):
    return [row for n, m in shapes for kind in OPS for row in measure(kind, n, m, config.rate)]


def measure(kind: str, n: int, m: int, rate: float) -> list[Row]:
  """Compiles the phases of one layer and counts them."""
  formula = complexity.layer(kind, n, m)
  compiled = compile_phases(kind, n, m, rate)
  expected = dict(zip(PHASES, formula), step=sum(formula))
  rows = []
  for phase, program in compiled.items():
    memory = program.memory_analysis()
    shared = memory.argument_size_in_bytes + memory.output_size_in_bytes
    rows.append(
      {
        "model": kind,
        "n": n,
        "m": m,
        "phase": phase,
        "formula": expected[phase],
        "counted": complexity.count_multiplications(program.as_text()),
        "flops": int(program.cost_analysis()["flops"]),
        "bytes_formula": 4 * (complexity.ann_memory(n, m) + complexity.extra_memory(kind, n, m)),
        "bytes_kept": shared - memory.alias_size_in_bytes,
        "bytes_scratch": memory.temp_size_in_bytes,
      }
    )
  return rows


def compile_phases(kind: str, n: int, m: int, rate: float) -> dict[str, jax.stages.Compiled]:
  """The three phases of a layer, and all of them in one, for shapes only: no array is made."""
  op, f32 = OPS[kind], jnp.float32
  a, z = jax.ShapeDtypeStruct((n,), f32), jax.ShapeDtypeStruct((m,), f32)
  affine = (jax.ShapeDtypeStruct((n, m), f32), z)
  extra = {"ann": (), "qnn": (jax.ShapeDtypeStruct((ops.packed_size(n), m), f32),), "rpqnn": affine}
  params = (*extra[kind], *affine)

  def forward(params, a):
    return jax.vjp(op, a, *params)  # z and, in pullback, what is cached for backpropagation

  def backward(pullback, delta, slope):
    return slope * pullback(delta)[0]  # slope is g'(z^{l-1})

  def update(params, pullback, delta):
    return jax.tree.map(lambda p, grad: p - rate * grad, params, pullback(delta)[1:])

  def step(params, a, delta, slope):
    out, pullback = forward(params, a)
    return update(params, pullback, delta), out, backward(pullback, delta, slope)

  _, pullback = jax.eval_shape(forward, params, a)
  lowered = {
    "forward": jax.jit(forward).lower(params, a),
    "backward": jax.jit(backward).lower(pullback, z, a),
    "update": jax.jit(update, donate_argnums=0).lower(params, pullback, z),
    "step": jax.jit(step, donate_argnums=0).lower(params, a, z, a),
  }
  return {phase: program.compile() for phase, program in lowered.items()}


def report(rows: list[Row], config: ml_collections.ConfigDict) -> str:
  """The tables in markdown, and why formula and count differ."""
  head, largest = tuple(config.head), max(config.sizes)
  chosen = [row for row in rows if (row["n"], row["m"]) in (head, (largest, largest))]
  chosen = [row | {"ratio": row["counted"] / row["formula"]} for row in chosen]
  names = {"n": "n", "m": "m", "model": "model"}
  costs = names | {"phase": "phase", "formula": "formula", "counted": "counted"}
  costs |= {"ratio": "counted / formula", "flops": "flops"}
  steps = [row for row in chosen if row["phase"] == "step"]
  for row in steps:
    ann = next(r for r in steps if (r["n"], r["m"], r["model"]) == (row["n"], row["m"], "ann"))
    row["excess"] = allocated(row) - allocated(ann)
    row["excess_formula"] = row["bytes_formula"] - ann["bytes_formula"]
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


def allocated(row: Row) -> int:
  """Bytes that XLA allocates for the program of a row."""
  return row["bytes_kept"] + row["bytes_scratch"]


def draw(rows: list[Row]) -> Figure:
  """Multiplications and bytes of a training step over n, square layers, with the paper's orders."""
  steps = [row for row in rows if row["phase"] == "step" and row["n"] == row["m"]]
  figure, axes = panels.figure_with_panels(
    "What a quadratic layer costs",
    "One training step of a layer with n inputs and n neurons, one sample: counted in the program "
    "that XLA compiles, and by the paper's formulas",
    ["multiplications", "bytes"],
  )
  for ax, formula, count in zip(axes, ("formula", "bytes_formula"), (None, allocated)):
    for kind, marker in zip(OPS, "os^"):
      series = [row for row in steps if row["model"] == kind]
      n, colour = [row["n"] for row in series], heads.get(kind).colour
      ax.plot(n, [row[formula] for row in series], color=colour, linestyle=(0, (3, 2)), linewidth=1)
      counted = [row["counted"] if count is None else count(row) for row in series]
      ax.plot(n, counted, color=colour, marker=marker, markersize=5, linewidth=1.6)
    _orders(ax, n, steps, formula)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(n, [str(size) for size in n])
    ax.set_xlabel("n")
  colours = [heads.get(kind).colour for kind in OPS]
  handles = [Line2D([], [], color=c, marker=m, markersize=5) for c, m in zip(colours, "os^")]
  handles.append(Line2D([], [], color=panels.GREY, linestyle=(0, (3, 2)), linewidth=1))
  handles.append(Line2D([], [], color="#bbbbbb", linewidth=2))
  labels = [*(heads.title(kind) for kind in OPS), "formula", "slope of n², n³"]
  panels.legend_below(figure, handles, labels)
  return figure


def _orders(ax, n, steps, formula) -> None:
  # Pure powers through the formulas' first points, a factor off so that they hide no line.
  for kind, order, factor in (("ann", 2, 0.4), ("qnn", 3, 6.0)):
    start = factor * next(row[formula] for row in steps if row["model"] == kind)
    ends = [start * (size / n[0]) ** order for size in n]
    ax.plot(n, ends, color="#bbbbbb", linewidth=2, zorder=1)
    ax.annotate(
      f"n{'²' if order == 2 else '³'}",
      (n[-1], ends[-1]),
      xytext=(4, 0),
      textcoords="offset points",
      color=panels.GREY,
      va="center",
    )


if __name__ == "__main__":
  experiment.run("complexity", main, check)
