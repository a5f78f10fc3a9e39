"""Shared by the faults of faults.py: starting an experiment, ending it, and checking what it left on disk."""

import collections
import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
LINE = "the same command carries on from what is finished"

# Table 4 reduced to seconds: 2 sizes, 3 numbers of epochs, 2 nets and 4 seeds; 48 rows in groups of 2 seeds.
TABLE4 = (
  "-m", "experiments.table4", "--config=configs/table4.py:smoke", "--workers=2",
  "--config.train_sizes=(600,1200)", "--config.epochs=(1,2,4)", "--config.hidden=(4,)",
  "--config.models=('ann','rpqnn')", "--config.seeds=4",
)  # fmt: skip

# A toy that costs nothing but its processes: 80 rows of some milliseconds each.
LINE_OF_POINTS = (
  "tests/toys/line.py", "--config=tests/toys/configs/line.py", "--workers=2", "--config.seeds=40",
)  # fmt: skip

Command = Sequence[str]


class Outcome(NamedTuple):
  """The outcome of a fault.

  Attributes:
    tries: how often the fault was caused.
    lost, doubled: the number of rows that are missing from the final results or differ from those of an undisturbed
      run; the number of rows that occur twice, in results.csv or in the records.
    note: other observations.
  """

  tries: int
  lost: int
  doubled: int
  note: str


def start(command: Command, workdir: pathlib.Path) -> subprocess.Popen:
  """Starts a command in its own process group, as a terminal does; its stderr goes to `stderr_of`."""
  # A shell makes its background jobs ignore Ctrl-C, and their child processes would inherit that.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  with open(stderr_of(workdir), "wb") as told, open(os.devnull, "wb") as nowhere:
    return subprocess.Popen(
      [sys.executable, *command, f"--workdir={workdir}"],
      cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
      stdout=nowhere, stderr=told,
    )  # fmt: skip


def stderr_of(workdir: pathlib.Path) -> pathlib.Path:
  """The file with the stderr of the last command."""
  return workdir.with_suffix(".stderr")


def finish(command: Command, workdir: pathlib.Path) -> float:
  """Runs a command until it ends, which must be with status 0; returns the seconds since it `has_begun`."""
  process = begun(command, workdir)
  begin = time.monotonic()
  if process.wait() != 0:
    raise AssertionError(f"the rerun ended with {process.returncode}: {_said(workdir)}")
  return time.monotonic() - begin


def begun(command: Command, workdir: pathlib.Path) -> subprocess.Popen:
  """Starts a command and waits until the first line of our code has run."""
  process = start(command, workdir)
  while process.poll() is None and not has_begun(process):
    time.sleep(0.001)
  return process


def _said(workdir):
  return stderr_of(workdir).read_text(encoding="utf-8", errors="replace").strip()


class Undisturbed(NamedTuple):
  """An undisturbed run to compare with: its rows, and its seconds since the first line of our code."""

  rows: list[tuple[str, ...]]
  seconds: float


def undisturbed(command: Command, folder: pathlib.Path) -> Undisturbed:
  """Runs the command without disturbing it."""
  seconds = finish(command, folder / "undisturbed")
  return Undisturbed(_rows(folder / "undisturbed"), seconds)


def compare(workdir: pathlib.Path, like: Undisturbed) -> tuple[int, int]:
  """(rows lost or different, rows doubled) of a finished workdir; AssertionError if temporary files remain."""
  left = [name for name in ("leases", "checkpoints", "failures") if (workdir / name).exists()]
  left += [str(path) for path in workdir.rglob(".tmp-*")]
  if left:
    raise AssertionError(f"left over in {workdir}: {left}")
  rows = collections.Counter(_rows(workdir))
  lost = collections.Counter(like.rows) - rows
  in_records = collections.Counter(
    json.dumps([record["fields"], row[: len(record["axes"])]])
    for path in (workdir / "records").glob("*.json")
    for record in [json.loads(path.read_text(encoding="utf-8"))]
    for row in record["rows"]
  )
  doubled = sum(count - 1 for count in (*rows.values(), *in_records.values()))
  return lost.total(), doubled


def _rows(workdir):
  with open(workdir / "results.csv", newline="", encoding="utf-8") as file:
    return [tuple(row) for row in csv.reader(file)]


def has_begun(process: subprocess.Popen) -> bool:
  """Whether our first line has run. This shows in a handler for SIGHUP, which Python itself does not install."""
  status = pathlib.Path(f"/proc/{process.pid}/status")
  try:
    caught = next(t for t in status.read_text().splitlines() if t.startswith("SigCgt"))
  except (OSError, StopIteration):
    return False
  return bool(int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def workers_of(process: subprocess.Popen) -> list[int]:
  """The pids of the command's worker processes."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
      words = path.read_bytes()
      parent = int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
      continue
    if parent == process.pid and b"spawn_main" in words:
      found.append(int(path.parent.name))
  return found


def disturbed(
  command: Command, tries: int, disturb: Callable[[subprocess.Popen, pathlib.Path], str]
) -> Outcome:
  """Starts the command, disturbs it at a random moment, runs it again, and compares the results.

  Args:
    command: the command to run.
    tries: how often to do this.
    disturb: (process, workdir) -> a note on this try; the process must have ended when it returns.
  """
  lost = doubled = 0
  notes: collections.Counter[str] = collections.Counter()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    like = undisturbed(command, folder)
    for number in range(tries):
      workdir = folder / f"try{number}"
      process = begun(command, workdir)
      moment = random.Random(number).random() * like.seconds
      try:
        process.wait(moment)
      except subprocess.TimeoutExpired:
        pass
      notes[disturb(process, workdir)] += 1
      finish(command, workdir)
      more_lost, more_doubled = compare(workdir, like)
      lost, doubled = lost + more_lost, doubled + more_doubled
  note = ", ".join(f"{count} {what}" for what, count in sorted(notes.items()))
  return Outcome(tries, lost, doubled, note)


def ended(process: subprocess.Popen, workdir: pathlib.Path, number: signal.Signals) -> float:
  """Signals the process group; returns the seconds until the process ends properly, 0 if it had already ended."""
  if process.poll() == 0:
    return 0.0
  begin = time.monotonic()
  try:
    os.killpg(process.pid, number)
  except ProcessLookupError:
    pass
  code = process.wait(60)
  seconds = time.monotonic() - begin
  if code == 0 and seconds < 1:  # the signal came just before the end
    return seconds
  what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
  if (code, _said(workdir)) != (128 + number, f"{what}; {LINE}"):
    raise AssertionError(f"{number.name}: ended with {code}, and said {_said(workdir)!r}")
  return seconds
