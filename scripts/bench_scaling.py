"""How the cost of a per-sample step grows with inputs, hidden neurons and seeds.

  python scripts/bench_scaling.py [--json] [--repeats=5] [--models=ann,qnn,rpqnn]
    [--varied=inputs,hidden,seeds]

One model, block form, one process on one core. A row varies one size; beside the measured time of a
step are the multiplications of Section 5, forward, backward and update of both layers, (67) to (70)
with Table 1, in units of the first row's. Sizes take turns, medians are shown. The inner products of
samples, which are made once for all epochs, are not in the time.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from qnn_jax import complexity
from qnn_jax.models import LAYERS
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Net, init

_JSON = flags.DEFINE_bool("json", False, "One JSON object a line in place of the table.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns.", lower_bound=1)

STEPS, CLASSES = 600, 10
VARIED = {"inputs": (196, 392, 784), "hidden": (10, 30, 90), "seeds": (1, 16, 32, 48)}
USUAL = {"inputs": 784, "hidden": 30, "seeds": 16}

_MODELS = flags.DEFINE_list("models", ["ann", "qnn", "rpqnn"], "Which heads.")
_VARIED = flags.DEFINE_list("varied", list(VARIED), "Which sizes to vary.")
flags.register_validator(
  _MODELS, lambda heads: set(heads) <= set(LAYERS), f"choose among {', '.join(LAYERS)}"
)
flags.register_validator(
  _VARIED, lambda varied: set(varied) <= set(VARIED), f"choose among {', '.join(VARIED)}"
)


def multiplications(head: str, inputs: int, hidden: int, seeds: int) -> int:
  """Of one step of all seeds, by the paper's counts."""
  layers = complexity.layer("ann", inputs, hidden), complexity.layer(head, hidden, CLASSES)
  # The first layer passes nothing back to the inputs.
  return seeds * (sum(map(sum, layers)) - layers[0].backward)


@dataclasses.dataclass
class Case:
  """A model of some size, ready to take its steps, and what its turns took."""

  sizes: dict[str, int]
  run: Callable[[Any], Any]  # state -> state, STEPS further
  state: Any
  us: list[float] = dataclasses.field(default_factory=list)  # a step

  def turn(self):
    """Takes the steps once more."""
    begin = time.perf_counter()
    self.state = jax.block_until_ready(self.run(self.state))
    self.us.append((time.perf_counter() - begin) / STEPS * 1e6)


def _prepare(head, sizes):
  fleet = Fleet((Net(head, sizes["hidden"]),), in_features=sizes["inputs"])
  method = per_sample.Method(block=60)
  rng = np.random.default_rng(0)
  data = (
    jnp.asarray(rng.random((STEPS, sizes["inputs"]), np.float32)),
    jnp.asarray(rng.integers(0, CLASSES, STEPS, np.int32)),
  )
  order = np.stack([rng.permutation(STEPS) for _ in range(sizes["seeds"])])
  trainer = per_sample.make_trainer(fleet, method)
  (chunk,) = per_sample.make_chunks(order, method)
  chunk = trainer.prepare(data[0], chunk)
  run = lambda state: trainer.run(state, *data, chunk)
  state = run(trainer.start(init(fleet, range(sizes["seeds"]))))  # compiles
  return Case(sizes, run, jax.block_until_ready(state))


def main(_):
  logging.set_verbosity(logging.WARNING)
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  rows = []
  for head in _MODELS.value:
    for name in _VARIED.value:
      cases = [_prepare(head, USUAL | {name: value}) for value in VARIED[name]]
      for _ in range(_REPEATS.value):
        for case in cases:
          case.turn()
      first = statistics.median(cases[0].us), multiplications(head, **cases[0].sizes)
      for case in cases:
        us, count = statistics.median(case.us), multiplications(head, **case.sizes)
        rows.append({
          "model": head, "varied": name, **case.sizes, "us_a_step": round(us, 1),
          "time_ratio": round(us / first[0], 2), "count_ratio": round(count / first[1], 2),
        })  # fmt: skip
  if _JSON.value:
    for row in rows:
      print(json.dumps(row))
    return
  table = Table(*rows[0], title="per-sample steps of one model, one core")
  for row in rows:
    table.add_row(
      *map(str, row.values()),
      end_section=row is rows[-1] or rows[rows.index(row) + 1]["varied"] != row["varied"],
    )
  Console(width=100).print(table)


if __name__ == "__main__":
  app.run(main)
