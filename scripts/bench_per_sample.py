"""Time of one step of per-sample SGD: the plain scan, the block form, and a PyTorch loop.

  python scripts/bench_per_sample.py [--json] [--torch] [--workers=N] [--seeds=25] [--repeats=5]

All forms run in the same processes and take turns, several times; medians are compared. As in a sweep, the seeds are
divided among worker processes, one per core, and equally for all forms. --workers=1 puts all seeds into one process
with all cores. A step is one sample of every seed. The block form computes the inner products of samples once for
all epochs; this time is divided by the 20 epochs of Table 4.

plain_us is the plain scan as `jax.jit` compiles it. tuned_us is the same scan with the compiler options that the
trainer uses. ratio is plain_us divided by block_us. max_difference is the largest difference of any parameter after
600 steps from the same start. torch_us is a loop over samples in PyTorch, for one net and one seed. torch_ratio is
torch_us divided by the block form's time for one seed.
"""

import dataclasses
import functools
import importlib.util
import inspect
import statistics
import time
from typing import Any

import _bench
import jax
import numpy as np
from absl import flags

from qnn_jax.datasets import load_dataset
from qnn_jax.sweeps import processes
from qnn_jax.sweeps.points import in_parts
from qnn_jax.training import per_sample
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_TORCH = flags.DEFINE_bool("torch", False, "Also time the PyTorch loop (needs the extra 'bench').")
_SEEDS = flags.DEFINE_integer("seeds", 25, "Number of seeds trained side by side.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often each form is timed.", lower_bound=1)
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Worker processes; by default one per core.", lower_bound=1
)

MODELS = ("ann", "qnn", "rpqnn")
FLEET = tuple(Net(head, hidden) for hidden in (10, 15, 20, 25, 30) for head in MODELS)
# name: nets, whether all seeds share one order
CASES = {
  "fleet": (FLEET, False),
  "fleet-shared": (FLEET, True),
  **{f"{head}-30": ((Net(head, 30),), False) for head in MODELS},
}
_CASES = flags.DEFINE_list("cases", list(CASES), "Cases to time.")
flags.register_validator(
  _CASES, lambda cases: cases and set(cases) <= set(CASES), f"choose among {', '.join(CASES)}"
)
HEADINGS = {
  "case": "case",
  "workers": "workers",
  "plain_us": "plain us",
  "tuned_us": "our options",
  "block_us": "block us",
  "ratio": "ratio",
  "torch_us": "PyTorch us",
  "torch_ratio": "PyTorch over one seed",
  "max_difference": "difference",
}
EPOCHS = 20
STEPS = 600  # steps of the comparison, and of one timing of the block form
PLAIN_STEPS = 60  # steps of one timing of the plain scan, whose steps all take the same time


@dataclasses.dataclass
class Form:
  """A form of the training, with its current state and its times so far."""

  trainer: per_sample.Trainer
  state: Any
  chunks: list[per_sample.Chunk]
  seconds: list[float] = dataclasses.field(default_factory=list)

  def turn(self, data: tuple[jax.Array, jax.Array]) -> float:
    """Takes the steps once more; returns seconds per step."""
    begin = time.perf_counter()
    prepare = functools.partial(self.trainer.prepare, data[0])
    chunks = jax.block_until_ready([prepare(chunk) for chunk in self.chunks])
    prepared = time.perf_counter()
    for chunk in chunks:
      self.state = self.trainer.run(self.state, *data, chunk)
    jax.block_until_ready(self.state)
    seconds = (prepared - begin) / EPOCHS + time.perf_counter() - prepared
    return seconds / sum(chunk.valid.size for chunk in chunks)


def _measure(put, seeds, cases, repeats, barrier):
  """One worker: times every case's forms in turn, all workers at the same time."""
  # Both forms leave out constant pixels, which the plain scan would otherwise have to put back.
  mnist = load_dataset()
  constants = constant_inputs(
    Fleet(FLEET, mnist.train_images.shape[1], mnist.classes), mnist.train_images
  )
  images = jax.numpy.asarray(mnist.train_images[:, constants.varies])
  data = images, jax.numpy.asarray(mnist.train_labels, "int32")
  for name in cases:
    nets, shared = CASES[name]
    fleet = Fleet(nets, int(constants.varies.sum()), mnist.classes)
    order = np.asarray(sample_order(seeds, STEPS, len(data[0]), shared=shared))
    order = order[:1] if shared else order
    lanes = [Lane(seed) for seed in seeds]
    start = init(fleet, lanes), rates(fleet, lanes)
    forms, whole = {}, {}
    for which, method, steps in (("tuned", "scan", PLAIN_STEPS), ("block", "block", STEPS)):
      how = per_sample.Method(method)
      trainer = per_sample.make_trainer(fleet, how)
      whole[which] = per_sample.train(trainer, *start, *data, per_sample.make_chunks(order, how), 1)
      chunks = per_sample.make_chunks(order[:, :steps], how)
      forms[which] = Form(trainer, trainer.start(*start), chunks)
    tuned = forms["tuned"]
    by_default = jax.jit(inspect.unwrap(tuned.trainer.run), donate_argnums=0)
    trainer = tuned.trainer._replace(run=by_default)
    forms = {"plain": Form(trainer, trainer.start(*start), tuned.chunks), **forms}
    for form in forms.values():
      form.turn(data)  # compiles
    for _ in range(repeats):
      for form in forms.values():
        barrier.wait()
        form.seconds.append(form.turn(data))
    differences = jax.tree.map(lambda a, b: abs(a - b).max(), whole["tuned"], whole["block"])
    seconds = {name: form.seconds for name, form in forms.items()}
    put((name, seconds, float(max(jax.tree.leaves(differences)))))


def measure(cases, seeds, workers, repeats):
  """Rows of the table: the slowest worker of each timing, then the median over the timings."""
  shares = in_parts(range(seeds), workers)
  barrier = processes.context.Barrier(len(shares))
  found = []
  for one in processes.run(_measure, [(s, cases, repeats, barrier) for s in shares]):
    found.append(one)
    if len(found) % len(shares) == 0:
      _bench.tell(f"measured: {len(found) // len(shares)} of {len(cases)} cases")
  for name in cases:
    of_case = [rest for case, *rest in found if case == name]  # a worker each
    plain, tuned, block = (
      1e6 * statistics.median(map(max, zip(*(seconds[form] for seconds, _ in of_case))))
      for form in ("plain", "tuned", "block")
    )
    yield {
      "case": name,
      "seeds": seeds,
      "workers": len(shares),
      "plain_us": round(plain, 1),
      "tuned_us": round(tuned, 1),
      "block_us": round(block, 1),
      "ratio": round(plain / block, 2),
      "torch_us": None,
      "torch_ratio": None,
      "max_difference": float(f"{max(difference for _, difference in of_case):.1e}"),
    }


def torch_loop(head: str, hidden: int, repeats: int, steps: int = 500) -> float:
  """Microseconds per step of a straightforward per-sample loop in PyTorch, for one net and one seed."""
  import torch

  torch.manual_seed(0)
  draw = lambda *shape: torch.nn.Parameter(torch.rand(*shape) * 0.01)
  w1, b1, w2, b2 = draw(hidden, 784), draw(hidden), draw(10, hidden), draw(10)
  extra = {"ann": [], "qnn": [draw(10, hidden, hidden)], "rpqnn": [draw(10, hidden), draw(10)]}[
    head
  ]
  optimizer = torch.optim.SGD([w1, b1, w2, b2, *extra], lr=0.01)
  mnist = load_dataset()
  x = torch.from_numpy(mnist.train_images[:steps].astype("float32") / 255)
  y = torch.nn.functional.one_hot(torch.from_numpy(mnist.train_labels[:steps]).long(), 10).float()
  loss = torch.nn.BCEWithLogitsLoss(reduction="sum")

  def epoch():
    for i in range(steps):
      a = torch.sigmoid(w1 @ x[i] + b1)
      z = w2 @ a + b2
      if head == "qnn":
        z = z + torch.einsum("kij,i,j->k", extra[0], a, a)
      elif head == "rpqnn":
        z = z * (extra[0] @ a + extra[1])
      optimizer.zero_grad()
      loss(z, y[i]).backward()
      optimizer.step()

  epoch()
  times = []
  for _ in range(repeats):
    begin = time.perf_counter()
    epoch()
    times.append((time.perf_counter() - begin) / steps)
  return 1e6 * statistics.median(times)


def main():
  seeds = _SEEDS.value
  workers = _WORKERS.value or _bench.default_workers(seeds)
  with_torch = _TORCH.value and importlib.util.find_spec("torch") is not None
  if _TORCH.value and not with_torch:
    _bench.tell("torch is not installed (extra 'bench'): its columns stay empty")
  rows = list(measure(_CASES.value, seeds, workers, _REPEATS.value))
  for row in rows:
    head = row["case"].removesuffix("-30")
    if with_torch and head in MODELS:
      _bench.tell(f"the PyTorch loop, {head}")
      # PyTorch trains one net of one seed; the block form trains many at a time.
      row["torch_us"] = round(torch_loop(head, 30, _REPEATS.value), 1)
      row["torch_ratio"] = round(row["torch_us"] / (row["block_us"] / seeds), 1)
  _bench.show(rows, HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
