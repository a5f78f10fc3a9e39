"""How the cost of a per-sample step grows with inputs, hidden neurons, seeds and training samples.

  python scripts/bench_scaling.py [--json] [--repeats=5] [--models=ann,qnn,rpqnn]
    [--varied=inputs,hidden,seeds,samples]

Each model trains in the block form, in one process on one core. Each row varies one size. It gives the measured time
of a step and the multiplications of Section 5 (forward, backward and update of both layers, by (67) to (70) and Table
1), both relative to the first row. Sizes take turns, and medians are shown. The time does not include the inner
products of samples, which are computed once for all epochs.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import _bench
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from qnn_jax import complexity, heads
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often each size is timed.", lower_bound=1)

CLASSES = 10
HEADINGS = {
  "model": "model",
  "varied": "varied",
  "value": "value",
  "us_a_step": "us a step",
  "count_ratio": "count",
  "time_ratio": "time",
}
VARIED = {
  "inputs": (196, 392, 784),
  "hidden": (10, 30, 90),
  "seeds": (1, 16, 32, 48),
  "samples": (600, 6000, 60000),
}
USUAL = {"inputs": 784, "hidden": 30, "seeds": 16, "samples": 600}

_MODELS = flags.DEFINE_list("models", ["ann", "qnn", "rpqnn"], "Heads to time.")
_VARIED = flags.DEFINE_list("varied", list(VARIED), "Sizes to vary.")
flags.register_validator(
  _MODELS,
  lambda models: models and all(map(heads.known, models)),
  f"choose among {', '.join(heads.names())}",
)
flags.register_validator(
  _VARIED, lambda varied: varied and set(varied) <= set(VARIED), f"choose among {', '.join(VARIED)}"
)


def multiplications(head: str, inputs: int, hidden: int, seeds: int, samples: int) -> int:
  """Multiplications of one step of all seeds, by the paper's counts."""
  layers = complexity.layer("ann", inputs, hidden), complexity.layer(head, hidden, CLASSES)
  # The first layer passes nothing back to the inputs.
  return seeds * (sum(map(sum, layers)) - layers[0].backward)


@dataclasses.dataclass
class Case:
  """A model of some size, ready to be timed, and its times so far."""

  sizes: dict[str, int]
  run: Callable[[Any], Any]  # state -> state, after one pass over the samples
  state: Any
  us: list[float] = dataclasses.field(default_factory=list)  # a step

  def turn(self):
    """Passes over the samples once more."""
    begin = time.perf_counter()
    self.state = jax.block_until_ready(self.run(self.state))
    self.us.append((time.perf_counter() - begin) / self.sizes["samples"] * 1e6)


def _prepare(head, sizes):
  fleet = Fleet((Net(head, sizes["hidden"]),), sizes["inputs"], CLASSES)
  method = per_sample.Method(block=60)
  rng = np.random.default_rng(0)
  samples = sizes["samples"]
  data = (
    jnp.asarray(rng.integers(0, 256, (samples, sizes["inputs"]), np.uint8)),  # as MNIST's pixels
    jnp.asarray(rng.integers(0, CLASSES, samples, np.int32)),
  )
  order = np.stack([rng.permutation(samples) for _ in range(sizes["seeds"])])
  trainer = per_sample.make_trainer(fleet, method)
  chunks = [trainer.prepare(data[0], chunk) for chunk in per_sample.make_chunks(order, method)]

  def run(state):
    for chunk in chunks:
      state = trainer.run(state, *data, chunk)
    return state

  lanes = [Lane(seed) for seed in range(sizes["seeds"])]
  state = run(trainer.start(init(fleet, lanes), rates(fleet, lanes)))  # compiles
  return Case(sizes, run, jax.block_until_ready(state))


def rows():
  """Prints the rows of one model and one varied size as soon as all of them are measured."""
  for head in _MODELS.value:
    for name in _VARIED.value:
      cases = [_prepare(head, USUAL | {name: value}) for value in VARIED[name]]
      for _ in range(_REPEATS.value):
        for case in cases:
          case.turn()
      first = statistics.median(cases[0].us), multiplications(head, **cases[0].sizes)
      for case in cases:
        us, count = statistics.median(case.us), multiplications(head, **case.sizes)
        yield {
          "model": head, "varied": name, "value": case.sizes[name], **case.sizes,
          "us_a_step": round(us, 1), "count_ratio": round(count / first[1], 2),
          "time_ratio": round(us / first[0], 2),
        }  # fmt: skip


def main():
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  _bench.show(rows(), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
