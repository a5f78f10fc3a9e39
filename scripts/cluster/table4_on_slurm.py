"""Runs Table 4's quick preset as a Slurm array of four tasks, kills one, and compares with an undisturbed run.

  scripts/cluster/one_node_slurm.sh start
  .venv/bin/python scripts/cluster/table4_on_slurm.py --workdir=results/quick_on_slurm

It kills a process by its number, so the tasks must run on this machine. The killed task fails, and its missing runs
are submitted again. The accuracies are compared with those of a run without Slurm, in WORKDIR-here. The exit status is
1 if they differ by more than rounding: by more than 0.02 points, or in more than 1 % of the runs. The difference to
experiments/results/table4, made on another machine, is printed too.
"""

import argparse
import csv
import gzip
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "experiments/results/table4/results.csv.gz"
KEY = ("model", "train_size", "epochs", "hidden", "seed")
POINTS, SHARE = 0.02, 0.01

Accuracies = dict[tuple[str, ...], float]


def main() -> None:
  """Runs the array, kills a task, runs the array again, and compares."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path, required=True, help="a new workdir")
  parser.add_argument("--config", default="configs/table4.py:quick")
  arguments = parser.parse_args()
  workdir = arguments.workdir.resolve()
  if workdir.exists():
    sys.exit(f"error: {workdir} is there already; name a new --workdir")
  begin = time.monotonic()
  program = [sys.executable, "-m", "experiments.table4", f"--config={arguments.config}"]
  slurm = ["--launch=slurm", "--slurm_at_once=4", "--slurm_cpus=1"]
  command = [*program, f"--workdir={workdir}", *slurm]
  job = submit(command)
  kill_a_task(workdir, job)
  print(f"job {job} has ended: {wait(job)}", flush=True)
  job = submit(command)
  print(f"job {job} has ended: {wait(job)}", flush=True)
  print(f"{time.monotonic() - begin:.0f} s", flush=True)
  here = workdir.with_name(f"{workdir.name}-here")
  subprocess.run([*program, f"--workdir={here}"], check=True, capture_output=True, cwd=ROOT)
  mine, local = (
    read((path / "results.csv").read_text(encoding="utf-8")) for path in (workdir, here)
  )
  compare("the committed results", mine, read(gzip.decompress(COMMITTED.read_bytes()).decode()))
  sys.exit(0 if compare("a run without Slurm", mine, local) else 1)


def submit(command: list[str]) -> str:
  """Submits the missing runs; returns the number of the job."""
  said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
  print(said.strip(), flush=True)
  match = re.search(r"as job (\d+)", said)
  if match is None:
    sys.exit("error: nothing was submitted")
  return match.group(1)


def kill_a_task(workdir: pathlib.Path, job: str) -> None:
  """kill -9 of the second task's command, once it has trained for a while."""
  while True:
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
      try:
        line = path.read_bytes().split(b"\0")
      except OSError:
        continue
      if any(a.startswith(f"--units={workdir}/".encode()) and a.endswith(b":1") for a in line):
        time.sleep(8)
        os.kill(int(path.parent.name), signal.SIGKILL)
        print(f"killed: process {path.parent.name}, of task {job}_1", flush=True)
        return
    if "PENDING" not in states(job) and "RUNNING" not in states(job):
      sys.exit("error: the job ended before a task of it could be killed")
    time.sleep(0.2)


def states(job: str) -> list[str]:
  """The states of the tasks, as Slurm names them."""
  command = ["squeue", "-h", "-r", "--states=all", f"--jobs={job}", "-o", "%T"]
  return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def wait(job: str) -> str:
  """Waits until the job ends; returns the states of its tasks."""
  while {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"} & set(now := states(job)):
    time.sleep(1)
  return ", ".join(now)


def read(text: str) -> Accuracies:
  """Run -> accuracy in percent; ends the program if a run occurs twice."""
  found: Accuracies = {}
  for row in csv.DictReader(text.splitlines()):
    key = tuple(row[name] for name in KEY)
    if key in found:
      sys.exit(f"error: the run {key} stands twice")
    found[key] = float(row["accuracy"])
  return found


def compare(what: str, mine: Accuracies, theirs: Accuracies) -> bool:
  """Prints how far apart the accuracies are; returns whether this is only rounding."""
  if not mine or not mine.keys() <= theirs.keys():
    print(f"there are no runs, or runs that {what} have not")
    return False
  apart = [round(abs(mine[key] - theirs[key]), 6) for key in mine]
  differ = sum(d > 0 for d in apart)
  print(f"{len(mine):,} runs; {differ} differ from {what}, by {max(apart):.2f} points at most")
  return max(apart) <= POINTS and differ <= SHARE * len(mine)


if __name__ == "__main__":
  main()
