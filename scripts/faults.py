"""Causes faults in a sweep, each many times, and prints what was lost: the table of docs/reliability.md.

python scripts/faults.py [NAME...] [--tries=20] [--on=line|table4]

A fault is a function tries -> `Outcome`, registered under its name. Without names, all faults are caused.
If a sweep does not survive a fault, an AssertionError that says what was seen ends the script.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import _faults
from _faults import LINE_OF_POINTS, TABLE4, Outcome
from absl import app, flags

_TRIES = flags.DEFINE_integer("tries", 20, "How often each fault is caused.", lower_bound=1)

_ON = flags.DEFINE_enum(
  "on", "line", ("line", "table4"), "The sweep to disturb: a toy of seconds, or training."
)

FAULTS: dict[str, tuple[str, Callable[[int], Outcome]]] = {}
"""name -> (description, the function that causes the fault)."""


def fault(name: str, what: str) -> Callable:
  """Registers a fault."""

  def register(function):
    FAULTS[name] = what, function
    return function

  return register


def _command():
  return TABLE4 if _ON.value == "table4" else LINE_OF_POINTS


def _killed(whom):
  def disturb(process, workdir):
    if process.poll() is not None:
      return "had finished"
    workers = _faults.workers_of(process)
    if whom == "worker" and not workers:
      process.kill()  # there are no workers yet, or no more: only the launcher is killed
      process.wait()
      return "launcher killed, without workers"
    pids = [process.pid] * (whom != "worker") + workers[: len(workers) if whom == "all" else 0]
    for pid in pids if whom != "worker" else workers[:1]:
      try:
        os.kill(pid, signal.SIGKILL)
      except ProcessLookupError:
        pass
    process.wait()
    _wait_for_the_end_of(workers)
    return f"{whom} killed"

  return disturb


def _wait_for_the_end_of(pids):
  end = time.monotonic() + 60
  while left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]:
    if time.monotonic() > end:
      raise AssertionError(f"workers {left} live on without their parent")
    time.sleep(0.05)


@fault("kill-launcher", "kill -9 of the launcher at a random moment")
def _kill_launcher(tries):
  return _faults.disturbed(_command(), tries, _killed("launcher"))


@fault("kill-worker", "kill -9 of a worker at a random moment; the sweep goes on")
def _kill_worker(tries):
  return _faults.disturbed(_command(), tries, _killed("worker"))


@fault("kill-all", "kill -9 of launcher and workers at a random moment")
def _kill_all(tries):
  return _faults.disturbed(_command(), tries, _killed("all"))


def _signalled(number, tries, limit):
  seconds = []

  def disturb(process, workdir):
    seconds.append(_faults.ended(process, workdir, number))
    if seconds[-1] > limit:
      raise AssertionError(f"{number.name}: ended after {seconds[-1]:.1f} s")
    return f"exit {process.returncode}"

  found = _faults.disturbed(_command(), tries, disturb)
  return found._replace(note=f"{found.note}; at most {max(seconds):.1f} s")


@fault("interrupt", "Ctrl-C, to the whole group, at a random moment: ends within 3 s, one line")
def _interrupt(tries):
  return _signalled(signal.SIGINT, tries, 3.0)


@fault("preempt", "SIGTERM, to the whole group, at a random moment: saves, and ends within 10 s")
def _preempt(tries):
  return _signalled(signal.SIGTERM, tries, 10.0)


@fault("hang", "a worker stopped (SIGSTOP) at a random moment; killed after 5 s of silence")
def _hang(tries):
  def disturb(process, workdir):
    workers = _faults.workers_of(process)
    for pid in workers[:1]:
      try:
        os.kill(pid, signal.SIGSTOP)
      except ProcessLookupError:
        pass
    try:
      code = process.wait(300)
    except subprocess.TimeoutExpired:
      raise AssertionError("the launcher waits for a stopped worker") from None
    if code:
      raise AssertionError(f"the launcher ended with {code}")
    return "a worker stopped" if workers else "no worker there"

  return _faults.disturbed((*_command(), "--silence_seconds=5"), tries, disturb)


@fault("many", "2,000 groups that take no time: launched, listed, reported, once a try")
def _many(tries):
  command, seconds = ("tests/toys/many.py", "--workers=1"), []
  with tempfile.TemporaryDirectory() as folder:
    for number in range(tries):
      workdir = pathlib.Path(folder) / f"try{number}"
      for does in ((), ("--list",), ("--report_only",)):
        begin = time.monotonic()
        process = _faults.start((*command, *does), workdir)
        if process.wait():
          raise AssertionError(f"it ended with {process.returncode}")
        seconds.append(time.monotonic() - begin)
      rows = (workdir / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
      if len(rows) != 2000 or len(set(rows)) != 2000:
        raise AssertionError(f"{len(rows)} rows, {len(set(rows))} of them different")
  parts = [
    f"{max(seconds[i::3]):.1f} s {name}" for i, name in enumerate(("launch", "list", "report"))
  ]
  return Outcome(tries, 0, 0, "at most " + ", ".join(parts))


def main(argv: Sequence[str]) -> None:
  """Prints one row per fault."""
  names = argv[1:] or list(FAULTS)
  if unknown := [name for name in names if name not in FAULTS]:
    sys.exit(f"error: there is no fault {unknown[0]}; there are {', '.join(FAULTS)}")
  print("| fault | what was done | tries | rows lost | rows doubled | seen | again by |")
  print("| :-- | :-- | --: | --: | --: | :-- | :-- |")
  for name in names:
    what, function = FAULTS[name]
    found = function(_TRIES.value)
    again = f"`python scripts/faults.py {name} --tries={found.tries} --on={_ON.value}`"
    cells = (name, what, found.tries, found.lost, found.doubled, found.note, again)
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
  app.run(main)
