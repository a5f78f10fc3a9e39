"""Shared by the benchmarks of layers: compiles the forms of a layer, and times them in turn."""

import statistics
import time

import jax
import numpy as np


def jax_form(op, args, cotangent, gradient):
  """(a call that waits for its result, temporary MB, seconds to compile)."""

  def value_and_gradient(cotangent, *args):
    z, pullback = jax.vjp(op, *args)
    return z, pullback(cotangent)

  args = (cotangent, *args) if gradient else args
  lowered = jax.jit(value_and_gradient if gradient else op).lower(*args)
  begin = time.perf_counter()
  compiled = lowered.compile()
  seconds = time.perf_counter() - begin
  memory = compiled.memory_analysis()
  run = lambda: jax.block_until_ready(compiled(*args))
  return run, memory.temp_size_in_bytes / 1e6 if memory else None, seconds


def medians(runs, repeats):
  """Milliseconds of each form. The forms take turns, each turn in a different order."""
  times: dict[str, list[float]] = {name: [] for name in runs}
  order = np.random.default_rng(0)
  for _ in range(repeats):
    for name in order.permutation(list(runs)):
      run = runs[name]
      run()  # untimed, because the previous form has filled the caches
      begin = time.perf_counter()
      run()
      times[name].append(1e3 * (time.perf_counter() - begin))
  return {name: statistics.median(found) for name, found in times.items()}
