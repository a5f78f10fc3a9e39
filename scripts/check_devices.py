"""Checks that Table 4 on several virtual devices or processes equals the run on one device up to rounding.

  python scripts/check_devices.py                      the preset quick: minutes
  python scripts/check_devices.py --preset=smoke

Runs Table 4 in three ways: in the ordinary way, on 4 virtual devices of one process, and as 2 processes of 2 virtual
devices each that connect over loopback. Then compares the accuracy of every run between the three, and with the
committed results. The exit status is 1 if a difference is more than 0.02 points, or if more than --most percent of
the runs differ from the run on one device with one worker.
"""

import argparse
import csv
import gzip
import io
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "experiments" / "results" / "table4" / "results.csv.gz"

Runs = dict[tuple[str, ...], float]


def command(workdir: pathlib.Path, preset: str, devices: int, *args: str) -> subprocess.Popen:
  """Starts Table 4 on so many virtual devices; its output goes to a file next to the workdir."""
  env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
  if devices > 1:
    env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
  program = [sys.executable, "-m", "experiments.table4", f"--config=configs/table4.py:{preset}"]
  with open(workdir.with_suffix(".log"), "a", encoding="utf-8") as log:
    return subprocess.Popen(
      [*program, f"--workdir={workdir}", *args], cwd=ROOT, env=env, stdout=log, stderr=log
    )


def runs_of(text: str) -> Runs:
  """(model, size, epochs, hidden, seed) -> accuracy, of a results.csv."""
  rows = csv.DictReader(io.StringIO(text))
  names = "model", "train_size", "epochs", "hidden", "seed"
  return {tuple(row[name] for name in names): float(row["accuracy"]) for row in rows}


def compare(ours: Runs, theirs: Runs) -> tuple[int, float]:
  """(how many of our runs differ, the largest difference)."""
  apart = [abs(accuracy - theirs[run]) for run, accuracy in ours.items()]
  return sum(difference > 1e-9 for difference in apart), max(apart)


def main() -> int:
  """Runs and compares; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--preset", default="quick", choices=("quick", "smoke"))
  parser.add_argument("--most", type=float, default=1.0, help="percent of the runs that may differ")
  options = parser.parse_args()
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  join = ["--distributed", f"--coordinator=localhost:{port}", "--processes=2"]
  forms: dict[str, list[tuple[int, list[str]]]] = {
    "one": [(1, [])],
    "one_worker": [(1, ["--workers=1"])],
    "four_devices": [(4, [])],
    "two_by_two": [(2, [*join, f"--process={i}"]) for i in range(2)],
  }
  found: dict[str, Runs] = {}
  with tempfile.TemporaryDirectory() as folder:
    for name, processes in forms.items():
      workdir, begin = pathlib.Path(folder) / name, time.perf_counter()
      started = [command(workdir, options.preset, count, *args) for count, args in processes]
      if any([process.wait() for process in started]):
        print(workdir.with_suffix(".log").read_text(encoding="utf-8"), file=sys.stderr)
        return 1
      found[name] = runs_of((workdir / "results.csv").read_text(encoding="utf-8"))
      print(f"{name}: {len(found[name]):,} runs in {time.perf_counter() - begin:.0f} s")
  with gzip.open(COMMITTED, "rt", encoding="utf-8") as file:
    found["committed"] = runs_of(file.read())
  right = True
  for name, other in (
    ("one_worker", "one"), ("four_devices", "one"), ("two_by_two", "one"), ("four_devices", "one_worker"),
    ("two_by_two", "one_worker"), ("four_devices", "committed"), ("two_by_two", "committed"),
  ):  # fmt: skip
    count, largest = compare(found[name], found[other])
    share = 100 * count / len(found[name])
    print(
      f"{name} and {other}: {count} runs differ ({share:.2f} %), at most by {largest:.2f} points"
    )
    if other == "one_worker":  # the committed results were made on another machine
      right = right and largest < 0.0201 and share <= options.most
  return 0 if right else 1


if __name__ == "__main__":
  sys.exit(main())
