"""The layers after the first, computed by kernels, by the fused form and by the modules: differences and times.

  python scripts/bench_tails.py [--json] [--seeds=25] [--repeats=5] [--tails=kernel,fused,modules]

difference is the largest difference of any parameter from the plain scan (one sample per step) on the same device,
after the first 600 samples of Table 4 from the same start. us is microseconds per sample for all seeds; the forms
take turns, and the median of --repeats is shown. The case `fleet` has Table 4's 15 nets and 5 Heavy nets; every other
case has one kind of head. On a CPU the kernels run in Pallas' interpret mode, where their times mean nothing.
"""

import functools
import statistics
import time
from typing import Any

import _bench
import jax
import numpy as np
from absl import flags

from qnn_jax.datasets import load_dataset
from qnn_jax.training import per_sample
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_SEEDS = flags.DEFINE_integer("seeds", 25, "Number of seeds trained side by side.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often each form is timed.", lower_bound=1)
_HIDDEN = flags.DEFINE_list("hidden", ["10", "15", "20", "25", "30"], "Numbers of hidden neurons.")
flags.register_validator(
  _HIDDEN, lambda sizes: sizes and all(s.isdigit() and int(s) for s in sizes), "give 10,30, say"
)

TAILS = ("kernel", "fused", "modules")
_TAILS = flags.DEFINE_list("tails", list(TAILS), "Forms to time.")
flags.register_validator(
  _TAILS, lambda tails: tails and set(tails) <= set(TAILS), f"choose among {', '.join(TAILS)}"
)
HEADS = ("ann", "qnn", "rpqnn", "heavy")
_CASES = flags.DEFINE_list("cases", ["fleet", *HEADS], "Cases to time.")
flags.register_validator(
  _CASES,
  lambda cases: cases and set(cases) <= {"fleet", *HEADS},
  f"choose among fleet, {', '.join(HEADS)}",
)
HEADINGS = {
  "case": "case",
  "nets": "nets",
  "seeds": "seeds",
  **{f"{tails}_us": f"{tails} us" for tails in TAILS},
  **{f"{tails}_difference": f"{tails} difference" for tails in TAILS},
}
STEPS = 600


def measure(case, data, constants):
  """One row of the table."""
  heads = HEADS if case == "fleet" else (case,)
  nets = tuple(Net(head, int(hidden)) for hidden in _HIDDEN.value for head in heads)
  fleet = Fleet(nets, int(constants.varies.sum()), int(data[1].max()) + 1)
  seeds = range(_SEEDS.value)
  lanes, (images, labels) = [Lane(seed) for seed in seeds], data
  order = np.asarray(sample_order(seeds, STEPS, len(data[0]), shared=False))
  start = init(fleet, lanes), rates(fleet, lanes)

  def trained(method):
    trainer = per_sample.make_trainer(fleet, method)
    chunks = per_sample.make_chunks(order, method)
    return trainer, per_sample.train(trainer, *start, images, labels, chunks, 1)

  _, plain = trained(per_sample.Method("scan"))
  row = {
    "case": case,
    "nets": len(nets),
    "seeds": len(seeds),
    "device": jax.devices()[0].device_kind,
  }
  turns: dict[str, Any] = {}
  states: dict[str, Any] = {}
  for tails in _TAILS.value:
    method = per_sample.Method(tails=tails)
    trainer, end = trained(method)
    row[f"{tails}_difference"] = float(f"{farthest(end, plain):.1e}")
    chunks = [trainer.prepare(data[0], chunk) for chunk in per_sample.make_chunks(order, method)]
    states[tails] = trainer.start(*start)
    turns[tails] = functools.partial(_steps, trainer, chunks, data)
  seconds: dict[str, list[float]] = {tails: [] for tails in turns}
  for _ in range(_REPEATS.value):
    for tails, turn in turns.items():
      begin = time.perf_counter()
      states[tails] = turn(states[tails])
      seconds[tails].append(time.perf_counter() - begin)
  for tails in TAILS:
    row[f"{tails}_us"] = (
      round(1e6 * statistics.median(seconds[tails]) / STEPS, 2) if tails in seconds else None
    )
    row.setdefault(f"{tails}_difference", None)
  return row


def farthest(ours, theirs) -> float:
  """The largest difference of any parameter; NaN if any is NaN, which Python's max would ignore."""
  apart = jax.tree.map(lambda a, b: abs(a - b).max(), ours, theirs)
  return float(np.max([np.asarray(leaf) for leaf in jax.tree.leaves(apart)]))


def _steps(trainer, chunks, data, state):
  for chunk in chunks:
    state = trainer.run(state, *data, chunk)
  return jax.block_until_ready(state)


def main():
  mnist = load_dataset()
  constants = constant_inputs(
    Fleet((Net("ann", 1),), mnist.train_images.shape[1], mnist.classes), mnist.train_images
  )
  images = jax.numpy.asarray(mnist.train_images[:, constants.varies])
  data = images, jax.numpy.asarray(mnist.train_labels, "int32")
  _bench.tell(f"on {jax.devices()[0].device_kind}, JAX {jax.__version__}")
  _bench.show((measure(case, data, constants) for case in _CASES.value), HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
