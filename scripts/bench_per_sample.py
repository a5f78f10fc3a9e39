"""Time of one step of per-sample SGD: the plain scan, the block form, and a PyTorch loop.

  python scripts/bench_per_sample.py [--json] [--torch] [--workers=N] [--seeds=25] [--repeats=5]

Every form runs in the same processes, in turn, several times; medians are compared. As in a sweep,
the seeds are shared by worker processes, one a core, for all forms alike; --workers=1 puts all
seeds into one process with all cores. A step is one sample of every seed. The time that
the block form takes once for all epochs, for inner products of samples, is divided by Table 4's 20.

plain_us is the plain scan as `jax.jit` compiles it; tuned_us the same scan with the compiler options
that the trainer uses; ratio is plain over block. max_difference is the largest difference of any
parameter after 600 steps from the same start. torch_us is a loop over samples in PyTorch, one net
and one seed; torch_ratio is that over the block form's time for one of its seeds.
"""

import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from qnn_jax.datasets import load_mnist
from qnn_jax.sweeps import launch, processes
from qnn_jax.sweeps.shard import split
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Net, init, sample_order

_JSON = flags.DEFINE_bool("json", False, "One JSON object a line in place of the table.")
_TORCH = flags.DEFINE_bool("torch", False, "Time the PyTorch loop too (needs the extra 'bench').")
_SEEDS = flags.DEFINE_integer("seeds", 25, "Seeds trained side by side.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each form.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes; by default one a core.")
_CASES = flags.DEFINE_list("cases", None, "Some of the cases; by default all.")

MODELS = ("ann", "qnn", "rpqnn")
FLEET = tuple(Net(head, hidden) for hidden in (10, 15, 20, 25, 30) for head in MODELS)
# name: nets, whether all seeds share one order
CASES = {
  "fleet": (FLEET, False),
  "fleet-shared": (FLEET, True),
  **{f"{head}-30": ((Net(head, 30),), False) for head in MODELS},
}
EPOCHS = 20
STEPS = 600  # of the comparison; also the steps of one timed turn of the block form
PLAIN_STEPS = 60  # of one timed turn of the plain scan, which is uniform in time


def _seconds_a_step(trainer, state, data, chunks):
  begin = time.perf_counter()
  chunks = jax.block_until_ready([trainer.prepare(data[0], chunk) for chunk in chunks])
  prepared = time.perf_counter()
  for chunk in chunks:
    state = trainer.run(state, *data, chunk)
  jax.block_until_ready(state)
  seconds = (prepared - begin) / EPOCHS + time.perf_counter() - prepared
  return state, seconds / sum(chunk.valid.size for chunk in chunks)


def _measure(seeds, cases, repeats, barrier, results):
  """One worker: times every case's two forms in turn, all workers at the same time."""
  mnist = load_mnist()
  keep = mnist.train_images.any(0)
  data = jnp.asarray(mnist.train_images[:, keep]), jnp.asarray(mnist.train_labels, "int32")
  rows = {}
  for name in cases:
    nets, shared = CASES[name]
    fleet = Fleet(nets, in_features=int(keep.sum()))
    order = np.asarray(sample_order(seeds, STEPS, len(mnist.train_images), shared=shared))
    order = order[:1] if shared else order
    start = init(fleet, seeds)
    forms = {}
    for method, steps in (("scan", PLAIN_STEPS), ("block", STEPS)):
      how = per_sample.Method(method)
      trainer = per_sample.make_trainer(fleet, how)
      whole = per_sample.train(trainer, start, *data, per_sample.make_chunks(order, how), 1)
      chunks = per_sample.make_chunks(order[:, :steps], how)
      forms[method] = [trainer, trainer.start(start), chunks, [], whole]
    tuned = forms.pop("scan")
    by_default = jax.jit(tuned[0].run.__wrapped__, donate_argnums=0)
    plain = [tuned[0]._replace(run=by_default), tuned[0].start(start), tuned[2], [], tuned[4]]
    forms = {"plain": plain, "tuned": tuned, **forms}
    for form in forms.values():
      form[1], _ = _seconds_a_step(form[0], form[1], data, form[2])  # compiles
    for _ in range(repeats):
      for form in forms.values():
        barrier.wait()
        form[1], seconds = _seconds_a_step(form[0], form[1], data, form[2])
        form[3].append(seconds)
    differences = jax.tree.map(lambda a, b: abs(a - b).max(), plain[4], forms["block"][4])
    rows[name] = {
      **{name: form[3] for name, form in forms.items()},
      "max_difference": float(max(jax.tree.leaves(differences))),
    }
  results.put(rows)


def measure(cases, seeds, workers, repeats):
  """Rows of the table: the slowest worker of each turn, then the median over the turns."""
  shares = split(tuple(range(seeds)), workers)
  barrier, results = processes.context.Barrier(len(shares)), processes.context.Queue()
  started = processes.start(_measure, [(s, cases, repeats, barrier, results) for s in shares])
  found = [results.get() for _ in started]
  for process in started:
    process.join()
  for name in cases:
    plain, tuned, block = (
      1e6 * statistics.median(map(max, zip(*(rows[name][form] for rows in found))))
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
      "max_difference": max(rows[name]["max_difference"] for rows in found),
    }


def torch_loop(head: str, hidden: int, repeats: int, steps: int = 500) -> float:
  """Microseconds a step of a straightforward per-sample loop in PyTorch: ONE net of ONE seed."""
  import torch

  torch.manual_seed(0)
  draw = lambda *shape: torch.nn.Parameter(torch.rand(*shape) * 0.01)
  w1, b1, w2, b2 = draw(hidden, 784), draw(hidden), draw(10, hidden), draw(10)
  extra = {"ann": [], "qnn": [draw(10, hidden, hidden)], "rpqnn": [draw(10, hidden), draw(10)]}[
    head
  ]
  optimizer = torch.optim.SGD([w1, b1, w2, b2, *extra], lr=0.01)
  mnist = load_mnist()
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


def main(_):
  logging.set_verbosity(logging.WARNING)
  seeds = _SEEDS.value
  workers = _WORKERS.value or launch.default_workers(seeds)
  rows = list(measure(_CASES.value or list(CASES), seeds, workers, _REPEATS.value))
  if _TORCH.value:
    for row in rows:
      head = row["case"].removesuffix("-30")
      if head in MODELS:
        # The loop trains one net of one seed; the block form does so many at a time.
        row["torch_us"] = round(torch_loop(head, 30, _REPEATS.value), 1)
        row["torch_ratio"] = round(row["torch_us"] / (row["block_us"] / seeds), 1)
  if _JSON.value:
    for row in rows:
      print(json.dumps(row))
    return
  fields = list(dict.fromkeys(field for row in rows for field in row))
  table = Table(
    *fields, title=f"one step of {seeds} seeds, microseconds, {jax.devices()[0].device_kind}"
  )
  for row in rows:
    table.add_row(
      *(f"{row[f]:.3g}" if f == "max_difference" else str(row.get(f, "")) for f in fields)
    )
  Console(width=max(130, Console().width)).print(table)


if __name__ == "__main__":
  app.run(main)
