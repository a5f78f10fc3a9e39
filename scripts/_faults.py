"""What the faults of faults.py share: an experiment to disturb, its start, its end, and what it has left."""

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

# Table 4, shrunk to seconds: 2 sizes, 3 numbers of epochs, 2 nets and 4 seeds, 48 rows in groups of 2 seeds.
TABLE4 = (
  "-m", "experiments.table4", "--config=configs/table4.py:smoke", "--workers=2",
  "--config.train_sizes=(600,1200)", "--config.epochs=(1,2,4)", "--config.hidden=(4,)",
  "--config.models=('ann','rpqnn')", "--config.seeds=4",
)  # fmt: skip

# What costs nothing but its processes: 80 rows of some milliseconds.
LINE_OF_POINTS = (
  "tests/toys/line.py", "--config=tests/toys/configs/line.py", "--workers=2", "--config.seeds=40",
)  # fmt: skip

Command = Sequence[str]


class Outcome(NamedTuple):
  """What came of a fault.

  Attributes:
    tries: how often it was done.
    lost, doubled: rows that the final results lack, or have otherwise than an undisturbed run; rows that
      stand twice, in results.csv or in the records.
    note: what else was seen.
  """

  tries: int
  lost: int
  doubled: int
  note: str


def start(command: Command, workdir: pathlib.Path) -> subprocess.Popen:
  """Starts it in a group of processes of its own, as a terminal does; its stderr is in `stderr_of`."""
  # A shell has its background jobs ignore Ctrl-C, and so would what they start.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  with open(stderr_of(workdir), "wb") as told, open(os.devnull, "wb") as nowhere:
    return subprocess.Popen(
      [sys.executable, *command, f"--workdir={workdir}"],
      cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
      stdout=nowhere, stderr=told,
    )  # fmt: skip


def stderr_of(workdir: pathlib.Path) -> pathlib.Path:
  """The file of what a command has said last."""
  return workdir.with_suffix(".stderr")


def finish(command: Command, workdir: pathlib.Path) -> float:
  """Runs it to its end, which must be a good one; seconds since it `has_begun`."""
  process = begun(command, workdir)
  begin = time.monotonic()
  if process.wait() != 0:
    raise AssertionError(f"the rerun ended with {process.returncode}: {_said(workdir)}")
  return time.monotonic() - begin


def begun(command: Command, workdir: pathlib.Path) -> subprocess.Popen:
  """Starts it and waits until the first of our lines has run."""
  process = start(command, workdir)
  while process.poll() is None and not has_begun(process):
    time.sleep(0.001)
  return process


def _said(workdir):
  return stderr_of(workdir).read_text(encoding="utf-8", errors="replace").strip()


class Undisturbed(NamedTuple):
  """A run to compare with: its rows, and how many seconds it took from the first of our lines."""

  rows: list[tuple[str, ...]]
  seconds: float


def undisturbed(command: Command, folder: pathlib.Path) -> Undisturbed:
  """Runs it as it is."""
  seconds = finish(command, folder / "undisturbed")
  return Undisturbed(_rows(folder / "undisturbed"), seconds)


def compare(workdir: pathlib.Path, like: Undisturbed) -> tuple[int, int]:
  """(rows lost or other, rows doubled) of a finished workdir; AssertionError if anything is left over."""
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
  """Whether the first of our own lines has run: SIGHUP is handled, which Python itself does not."""
  status = pathlib.Path(f"/proc/{process.pid}/status")
  try:
    caught = next(t for t in status.read_text().splitlines() if t.startswith("SigCgt"))
  except (OSError, StopIteration):
    return False
  return bool(int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def workers_of(process: subprocess.Popen) -> list[int]:
  """The pids of its worker processes."""
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
  """Starts the command, disturbs it at a random moment of its time, runs it again, and compares.

  Args:
    command: what runs.
    tries: how often.
    disturb: (process, workdir) -> what is to be noted of the try; it leaves the process ended.
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
  """Seconds from a signal to the whole group until the process has ended, as it should; 0 if it had before."""
  if process.poll() == 0:
    return 0.0
  begin = time.monotonic()
  try:
    os.killpg(process.pid, number)
  except ProcessLookupError:
    pass
  code = process.wait(60)
  seconds = time.monotonic() - begin
  if code == 0 and seconds < 1:  # it was at its very end
    return seconds
  what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
  if (code, _said(workdir)) != (128 + number, f"{what}; {LINE}"):
    raise AssertionError(f"{number.name}: ended with {code}, and said {_said(workdir)!r}")
  return seconds
