"""Runs Table 4 on a CPU with products rounded as on an accelerator, to see what a lower `config.precision` costs.

  python scripts/simulate_precision.py --bits=10 --config=configs/table4.py:quick --workdir=results/tf32
  python scripts/simulate_precision.py --bits=7 --config=configs/table4.py:quick --workdir=results/bfloat16

The factors of every matrix product keep so many mantissa bits: 10 is TF32, an H100's default; 7 is bfloat16, a TPU's.
Sums are in float32, as on these devices. All other arguments are those of experiments.table4, which runs with one
worker in this process. Its runs are then compared with those in experiments/results.

The script changes how JAX lowers a product for CPUs. There is no public interface for that, so the script tests the
change first, and ends with an error if it has no effect in this version of JAX.
"""

import argparse
import gzip
import math
import os
import pathlib
import statistics
import sys
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # JAX reads this while it is imported
sys.path.insert(
  0, str(pathlib.Path(__file__).parents[1])
)  # `experiments` is not part of the installed package

import jax
import jax.numpy as jnp
from check_devices import COMMITTED, Runs, runs_of
from jax.interpreters import mlir

from experiments.table4.__main__ import EXPERIMENT
from qnn_jax import command


def round_products(bits: int) -> None:
  """From now on, in this process, factors of products on a CPU keep this many mantissa bits."""
  from jax._src.lax import lax
  from jax._src.lib.mlir.dialects import hlo

  rule: Any = lax._dot_general_lower

  def lowered(context, left, right, **options):
    kept = lambda value: hlo.reduce_precision(value, mlir.i32_attr(8), mlir.i32_attr(bits))
    return rule(context, kept(left), kept(right), platform="cpu", **options)

  mlir.register_lowering(jax.lax.dot_general_p, lowered, platform="cpu")


def rounds_to(bits: int) -> bool:
  """Whether a product in this process is rounded like this."""
  factor = jnp.full((1, 1), 1 + 2.0 ** -(bits + 2), "float32")
  return float(jax.jit(jnp.matmul)(factor, jnp.ones((1, 1)))[0, 0]) == 1.0 != float(factor[0, 0])


def comparison(ours: Runs, theirs: Runs) -> str:
  """How far our runs are from the committed ones that match: run by run, and by the means of each cell's seeds."""
  means: dict[tuple[str, ...], list[float]] = {}
  for (*cell, seed), accuracy in ours.items():
    if (*cell, seed) in theirs:
      means.setdefault(tuple(cell), []).append(accuracy - theirs[*cell, seed])
  apart = [abs(difference) for differences in means.values() for difference in differences]
  left = len(ours) - len(apart)
  others = f"{left:,} runs are not among them" if left else ""
  if not apart:
    return others or "no runs"
  of_cells = [statistics.fmean(differences) for differences in means.values()]
  share = 100 * sum(difference > 1e-9 for difference in apart) / len(apart)
  return (others and f"{others}; ") + (
    f"{len(apart):,} runs: {share:.1f} % differ, by {statistics.fmean(apart):.3f} points in the mean and at most "
    f"{max(apart):.2f}; the {len(of_cells)} cells' means by {math.sqrt(statistics.fmean(d * d for d in of_cells)):.3f} "
    f"points root mean square, and by {statistics.fmean(of_cells):+.3f} in the mean"
  )


def main() -> int:
  """Runs and compares; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument(
    "--bits", type=int, required=True, help="mantissa bits to keep: 10, 7; 23 keeps all"
  )
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  options, others = parser.parse_known_args()
  if not 1 <= options.bits <= 23:
    sys.exit(f"error: --bits must be 1 to 23, got {options.bits}")
  if options.bits < 23:
    round_products(options.bits)
    if not rounds_to(options.bits):
      sys.exit(f"error: JAX {jax.__version__} cannot be told here how to lower a product")
  # A cached program would not be lowered again, and worker processes would not have this change.
  mine = [f"--workdir={options.workdir}", "--workers=1", "--compilation_cache="]
  sys.argv = ["experiments.table4", *others, *mine]
  try:
    command.main(EXPERIMENT)
  except SystemExit as ended:
    if ended.code:
      raise
  with gzip.open(COMMITTED, "rt", encoding="utf-8") as file:
    theirs = runs_of(file.read())
  ours = runs_of((options.workdir / "results.csv").read_text(encoding="utf-8"))
  print(f"{options.bits} bits; beside the committed results, {comparison(ours, theirs)}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
