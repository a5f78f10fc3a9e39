"""Seconds and peak memory of Table 4, for each training size and as a whole, and the time of its matrix products.

  python scripts/bench_table4.py [--json] [--repeats=3] [--sizes=600,1200,6000,60000] [--workers=N]
    [--seeds=25]

Every row runs the real command in a fresh workdir, so that its seconds include everything: start, data, compilation,
training, tests and files. The rows take turns, --repeats times. Medians of the seconds and the largest memory are
shown. products_s is a lower bound: the time that the first layers' matrix products alone would take at the rate this
machine reaches, with all workers at once, in a large square product (the mean of measurements just before and after
the row). These products are X W, X^T Delta and the lower triangle of G Delta in every epoch, G = X X^T in the first
epoch, and X W in every test. Memory is the sum of the resident sizes of all processes in the machine's memory (not a
GPU's), measured ten times a second. It is an upper bound, because shared pages count for every process.

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

import _bench
from absl import flags

from qnn_jax.errors import InputError
from qnn_jax.sweeps import processes
from qnn_jax.training import per_sample

try:
  import psutil
except ImportError:
  sys.exit("error: psutil is not installed: pip install -e '.[bench]' -c constraints.txt")

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per line instead of a table.")
_SIZES = flags.DEFINE_list("sizes", ["600", "1200", "6000", "60000"], "Training sizes to run.")
flags.register_validator(
  _SIZES,
  lambda sizes: (
    sizes
    and all(re.fullmatch(r"[1-9]\d*", size) for size in sizes)
    and len(set(sizes)) == len(sizes)
  ),
  "give whole numbers of at least 1, each once, as 600,1200",
)
_SEEDS = flags.DEFINE_integer("seeds", 25, "Number of seeds.", lower_bound=1)
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Worker processes; by default as many as the sweep uses.", lower_bound=1
)
_REPEATS = flags.DEFINE_integer("repeats", 3, "How often every row is run.", lower_bound=1)

PIXELS = 717  # pixels that are not constant over the training images; tests use all 784
BLOCK = per_sample.Method().block
HEADINGS = {
  "size": "size",
  "seconds": "seconds",
  "compiling_s": "of it compiling",
  "products_s": "products alone, s",
  "peak_gflops": "GFLOP/s of a large product",
  "memory_mb": "memory, MB",
  "over_products": "seconds over products",
}
DIGITS = {
  "seconds": 1, "compiling_s": None, "products_s": 3, "peak_gflops": None, "memory_mb": None,
  "over_products": 2,
}  # fmt: skip
ROOT = pathlib.Path(__file__).resolve().parent.parent


def _product_rate(put, barrier):
  """Floating-point operations a second of one worker's large square products."""
  import jax

  from qnn_jax.training import _compile

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
  put(2 * n**3 / statistics.median(times))


def peak_rate(workers: int) -> float:
  """The rate of all workers at once, each on its own cores."""
  barrier = processes.context.Barrier(workers)
  return sum(processes.run(_product_rate, [(barrier,)] * workers))


def _watch(process: subprocess.Popen) -> int:
  """Waits for the process; returns the largest sum, in bytes, of its and its children's resident sizes."""
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
      raise InputError(
        f"the sweep failed: {(text.strip() or 'it says nothing').splitlines()[-1].removeprefix('error: ')}"
      )
    config = json.loads((pathlib.Path(folder) / "run/config.json").read_text(encoding="utf-8"))
    compiling = re.findall(r"\((\d+) s of it compiling\)", text)[0]
  rate = (rate + peak_rate(workers)) / 2
  least = _operations(config, sizes, seeds) / rate
  return {
    "size": sizes[0] if len(sizes) == 1 else "together",
    "seconds": seconds,
    "compiling_s": int(compiling),
    "products_s": least,
    "peak_gflops": rate / 1e9,
    "memory_mb": memory / 1e6,
    "over_products": seconds / least,
  }


def _operations(config, sizes, seeds):
  """Floating-point operations of the first layers' matrix products in training and tests."""
  columns, epochs = len(config["models"]) * sum(config["hidden"]), max(config["epochs"])
  each_epoch = 2 * PIXELS * columns + BLOCK / 2 * columns
  training = sum(sizes) * (epochs * each_epoch + PIXELS * BLOCK)
  tests = len(sizes) * len(config["epochs"]) * 10_000 * 784 * columns
  return 2 * seeds * (training + tests)


def _of_turns(turns):
  """Combines the repeated runs of a row: medians, and the largest memory."""
  row = {"size": turns[0]["size"]}
  for name, digits in DIGITS.items():
    of = max if name == "memory_mb" else statistics.median
    row[name] = round(of(turn[name] for turn in turns), digits)
  return row


def main():
  workers = _WORKERS.value or _bench.default_workers(_SEEDS.value)
  sizes = [int(size) for size in _SIZES.value]
  parts = [[size] for size in sizes] + ([sizes] if len(sizes) > 1 else [])
  turns: dict[tuple[int, ...], list[dict]] = {tuple(part): [] for part in parts}
  for turn in range(_REPEATS.value):
    for part in parts:
      row = run_sizes(part, _SEEDS.value, workers)
      turns[tuple(part)].append(row)
      name = f"size {row['size']}" if len(part) == 1 else row["size"]
      _bench.tell(f"turn {turn + 1} of {_REPEATS.value}, {name}: {row['seconds']:.1f} s")
  _bench.show([_of_turns(of_part) for of_part in turns.values()], HEADINGS, _JSON.value)


if __name__ == "__main__":
  _bench.run(main)
