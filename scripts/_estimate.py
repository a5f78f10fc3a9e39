"""Estimates the time of compiled programs on an accelerator. Nothing here is measured on one."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from _hlo import Counted
from _programs import Program
from _targets import Target


class Compiled(NamedTuple):
  """A program, the operations of one call, its bytes on a chip, and its compile time: (elapsed, core) seconds."""

  program: Program
  counted: Counted
  bytes: int
  seconds: tuple[float, float]


def table(found: Sequence[Compiled], target: Target) -> Iterator[str]:
  """A Markdown table with one line per program."""
  unit = "operations" if target.platform == "tpu" else "kernels"
  cycles = " XLA's estimate, us |" if target.clock else ""
  yield f"| program | calls | {unit} a call | a sample | of it Pallas | loops | exchanges |{cycles} MB | compiled in |"
  yield f"| :-- | --: | --: | --: | --: | --: | --: |{' --: |' if cycles else ''} --: | --: |"
  for program, counted, size, seconds in found:
    a_sample = f"{counted.launches / program.samples:.2f}" if program.samples else ""
    trips = ", ".join("?" if n is None else str(n) for n in counted.trips)
    cycles = f" {counted.cycles / target.clock * 1e6:,.0f} |" if target.clock else ""
    yield (
      f"| {program.name} | {program.calls:,} | {counted.launches:,} | {a_sample} | {counted.kernels} | {trips} | "
      f"{counted.collectives} |{cycles} {size / 1e6:,.0f} | {seconds[0]:.1f} s |"
    )


def summary(found: Sequence[Compiled], target: Target, chips: int) -> Iterator[str]:
  """The totals and the assumptions, as a Markdown list."""
  parts = sorted({one.program.part for one in found})
  total, of_cores = (sum(one.seconds[i] for one in found) for i in (0, 1))
  yield (
    f"- Compiled in {total:.0f} s, {of_cores:.0f} of one core: {len(found)} programs for {chips} x {target.name}. "
    f"Starts and orders are drawn on the CPU."
  )
  unit = "Operations" if target.platform == "tpu" else "Kernels"
  runs = [one for one in found if one.program.name.rpartition(": ")[2].startswith("run")]
  most = max(one.counted.launches / one.program.samples for one in runs)
  yield f"- {unit} a sample of training, all nets and seeds of a part: {most:.2f}."
  yield f"- Exchanges between chips: {sum(one.counted.collectives for one in found)}."
  unknown = sum(n is None for one in found for n in one.counted.trips)
  if unknown:
    yield f"- {unknown} loops are of a length that is not known, and counted once."
  if target.platform == "gpu":
    yield (
      "- XLA ends here at PTX, before ptxas: its compile time, registers and spills are not included."
    )
  # Parts run side by side. The work before them, in part 0, is small.
  sums = [_seconds([one for one in found if one.program.part == part], target) for part in parts]
  low, high = (max(of[i] for of in sums) for i in (0, 1))
  yield f"- Estimate, compiling not counted: {low:.{_digits(low)}f} to {high:.{_digits(high)}f} s."
  longest = max(parts, key=lambda part: sums[part][1])
  kernels = [_in_kernels(one, target) for one in runs if one.program.part == longest]
  inside = [sum(of[i] for of in kernels) for i in (0, 1)]
  yield f"- Part of the estimate in the kernels' loops over samples: {inside[0]:.1f} to {inside[1]:.1f} s."
  yield f"- The estimate assumes: {'; '.join(target.assumes)}."


def _seconds(found, target):
  return tuple(
    sum(_in_kernels(one, target)[i] + _outside(one, target)[i] for one in found) for i in (0, 1)
  )


def _in_kernels(one: Compiled, target: Target) -> tuple[float, float]:
  """The least and the most seconds that all calls spend in the kernels' loops over samples."""
  program = one.program
  if not one.counted.kernels or not program.samples:
    return 0.0, 0.0
  times = lambda i: sum(
    math.ceil(runs / target.at_once) * target.sample_us[head][i] * _wider(head, wide, classes)
    for head, (runs, wide, classes) in program.kernels.items()
  )
  low, high = (program.calls * program.samples * times(i) / 1e6 for i in (0, 1))
  return low, high


def _wider(head, wide, classes):
  """The number of parameters relative to 10 classes and 32 neurons, at least 1."""
  return max(1.0, classes / 10 * (wide / 32) ** (2 if head == "qnn" else 1))


def _outside(one: Compiled, target: Target) -> tuple[float, float]:
  """The least and the most seconds that all calls spend outside kernels."""
  program, counted = one.program, one.counted
  low, high = (counted.launches * us / 1e6 for us in target.launch_us)
  if target.clock:
    low, high = low + counted.cycles / target.clock, high + 2 * counted.cycles / target.clock
  elif program.samples and counted.kernels:
    products = max(
      program.samples * program.operations / target.flops,
      program.blocks * 3 * 4 * program.numbers / target.bandwidth,
    )
    low, high = low + products, high + products
  return program.calls * low, program.calls * high


def _digits(seconds):
  return 0 if seconds >= 10 else 1 if seconds >= 1 else 3
