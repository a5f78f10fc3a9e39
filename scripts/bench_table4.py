"""Seconds and peak memory of Table 4, by training size and whole, beside its matrix products alone.

  python scripts/bench_table4.py [--json] [--sizes=600,1200,6000,60000] [--workers=N] [--seeds=25]

Every row is the real command in a fresh workdir, so seconds hold all: start, data, compiling,
training, tests and files; training_s is training and tests. products_s is the least time for the
first layers' matrix products at the rate that this machine reaches, all workers at once, in a large
square product, the mean of measurements just before and after the row: X W, X^T Delta and the lower
triangle of G Delta in every epoch, G = X X^T in the first, and X W in every test. Memory is the largest sum of all processes' resident
sizes, looked at ten times a second: an upper bound, as pages that they share count for each.

Needs psutil, of the extra 'bench'.
"""

import contextlib
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import psutil
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from qnn_jax.sweeps import launch, processes
from qnn_jax.training import per_sample

_JSON = flags.DEFINE_bool("json", False, "One JSON object a line in place of the table.")
_SIZES = flags.DEFINE_list("sizes", ["600", "1200", "6000", "60000"], "Training sizes.")
_SEEDS = flags.DEFINE_integer("seeds", 25, "Seeds.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes; by default as the sweep's.")

PIXELS = 717  # that are not zero in all training images; tests take all 784
COLUMNS = 3 * (10 + 15 + 20 + 25 + 30)  # of all first layers
MARKS = 5, 10, 20  # epochs at which every run is tested on 10,000 images, as in configs/table4.py
BLOCK = per_sample.Method().block
ROOT = pathlib.Path(__file__).resolve().parent.parent


def _product_rate(barrier, results):
  """Floating-point operations a second of one worker's large square products."""
  import jax

  from qnn_jax.training import _compile

  logging.set_verbosity(logging.WARNING)  # in this process too
  n = 2048 if jax.default_backend() == "cpu" else 16384
  a = jax.random.uniform(jax.random.key(0), (n, n))
  product = _compile.jit(lambda a: a @ a)
  product(a).block_until_ready()
  times = []
  for _ in range(9):
    barrier.wait()
    begin = time.perf_counter()
    product(a).block_until_ready()
    times.append(time.perf_counter() - begin)
  results.put(2 * n**3 / statistics.median(times))


def peak_rate(workers: int) -> float:
  """Of all workers at once, each on its cores."""
  barrier, results = processes.context.Barrier(workers), processes.context.Queue()
  started = processes.start(_product_rate, [(barrier, results)] * workers)
  rate = sum(results.get() for _ in started)
  for process in started:
    process.join()
  return rate


def _watch(process: subprocess.Popen) -> int:
  """Waits for the process; the largest sum of the resident sizes, in bytes, of it and its children."""
  largest = 0
  parent = psutil.Process(process.pid)
  while process.poll() is None:
    with contextlib.suppress(psutil.NoSuchProcess):
      family = [parent, *parent.children(recursive=True)]
      largest = max(largest, sum(member.memory_info().rss for member in family))
    time.sleep(0.1)
  return largest


def run_sizes(sizes: list[int], seeds: int, workers: int) -> dict[str, object]:
  """One row: the real command for these training sizes."""
  rate = peak_rate(workers)
  with tempfile.TemporaryDirectory() as folder:
    log = pathlib.Path(folder) / "log"
    command = [
      sys.executable, "-m", "experiments.table4", f"--config.train_sizes={tuple(sizes)}",
      f"--config.seeds={seeds}", f"--config.block={BLOCK}", f"--workers={workers}", f"--workdir={folder}/run",
    ]  # fmt: skip
    begin = time.perf_counter()
    with open(log, "wb") as out:
      process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
      memory = _watch(process)
    seconds = time.perf_counter() - begin
    text = log.read_text(encoding="utf-8")
    if process.returncode:
      sys.exit(f"error: the sweep failed: {text}")
    hours, minutes, training = re.search(r"100 % (\d+):(\d+):(\d+)", text).groups()
  each_epoch = 2 * PIXELS * COLUMNS + BLOCK / 2 * COLUMNS
  a_sample = MARKS[-1] * each_epoch + PIXELS * BLOCK
  tests = len(sizes) * len(MARKS) * 10_000 * 784 * COLUMNS
  operations = 2 * seeds * (sum(sizes) * a_sample + tests)
  rate = (rate + peak_rate(workers)) / 2
  return {
    "size": sizes[0] if len(sizes) == 1 else "together",
    "seconds": round(seconds, 1),
    "training_s": int(hours) * 3600 + int(minutes) * 60 + int(training),
    "products_s": round(operations / rate, 2),
    "peak_gflops": round(rate / 1e9),
    "memory_mb": round(memory / 1e6),
    "over_products": round(seconds * rate / operations, 2),
  }


def main(_):
  logging.set_verbosity(logging.WARNING)
  workers = _WORKERS.value or launch.default_workers(_SEEDS.value)
  sizes = [int(size) for size in _SIZES.value]
  parts = [[size] for size in sizes] + ([sizes] if len(sizes) > 1 else [])
  rows = [run_sizes(part, _SEEDS.value, workers) for part in parts]
  if _JSON.value:
    for row in rows:
      print(json.dumps(row))
    return
  table = Table(*rows[0], title=f"Table 4, {_SEEDS.value} seeds, --workers={workers}")
  for row in rows:
    table.add_row(*(str(row[field]) for field in rows[0]))
  Console(width=max(100, Console().width)).print(table)


if __name__ == "__main__":
  app.run(main)
