"""Signals end a command at once, whatever it is at, with one line and the status that belongs to it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from command_line import ROOT, TOYS

LINE = "the same command carries on from what is finished\n"

# On a machine with nothing else to do it takes a tenth of a second; scripts/faults.py measures it.
SECONDS = 20.0


def start(*command, cwd=TOYS):
  """A command in a group of its own, as a terminal's jobs are."""
  # A shell has its background jobs ignore Ctrl-C, and so would what they start.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  return subprocess.Popen(
    [sys.executable, *map(str, command)], cwd=cwd, text=True, start_new_session=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
  )  # fmt: skip


def wait_for(what, process, seconds=120):
  end = time.monotonic() + seconds
  while not what():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < end
    time.sleep(0.02)


def end(process, *numbers):
  """Sends signals to the whole group; (exit status, stderr) of the command."""
  for number in numbers:
    os.killpg(process.pid, number)
    time.sleep(0.3)
  _, told = process.communicate(timeout=SECONDS)
  return process.returncode, told


def has_handlers(process):
  """Whether SIGHUP is handled: by our own lines, where Python handles SIGINT before them."""
  text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
  caught = next(line for line in text.splitlines() if line.startswith("SigCgt"))
  return int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1)


@pytest.mark.parametrize("workers", (1, 2))
@pytest.mark.parametrize("at", ("collector", "destructor", "compiled", "report"))
def test_ctrl_c_whatever_it_is_at(tmp_path, at, workers):
  command = ["stubborn.py", f"--config=configs/stubborn.py:{at}", f"--workers={workers}"]
  process = start(*command, f"--workdir={tmp_path}")
  wait_for((tmp_path / "there").exists, process)
  time.sleep(0.2)
  assert end(process, signal.SIGINT) == (130, f"interrupted; {LINE}")
  assert not (tmp_path / "leases").exists()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))
def test_during_imports(tmp_path, number):
  process = start("-m", "experiments.xor", f"--workdir={tmp_path / 'run'}", cwd=ROOT)
  wait_for(lambda: has_handlers(process), process)
  told = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
  assert end(process, number) == (128 + number, f"{told}; {LINE}")
  assert not (tmp_path / "run").exists()


# At a preemption Slurm's daemon and its srun each send a SIGTERM.
@pytest.mark.parametrize(("workers", "signals"), [(1, 1), (1, 2), (2, 2)])
def test_what_comes_before_a_preemption_leaves_time_to_save(tmp_path, workers, signals):
  command = ["stubborn.py", "--config=configs/stubborn.py:saving", f"--workers={workers}"]
  process = start(*command, f"--workdir={tmp_path}")
  wait_for((tmp_path / "there").exists, process)
  assert end(process, *[signal.SIGTERM] * signals) == (143, f"ended by SIGTERM; {LINE}")
  assert not (tmp_path / "leases").exists()
  assert list((tmp_path / "checkpoints").iterdir())
  done = subprocess.run(
    [sys.executable, *command, f"--workdir={tmp_path}"],
    check=False, cwd=TOYS, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert not (tmp_path / "checkpoints").exists()


def test_a_second_signal_ends_it_at_once(tmp_path):
  process = start("stubborn.py", "--config=configs/stubborn.py:step", f"--workdir={tmp_path}")
  wait_for((tmp_path / "there").exists, process)
  begin = time.monotonic()
  assert end(process, signal.SIGHUP, signal.SIGINT) == (129, f"ended by SIGHUP; {LINE}")
  assert time.monotonic() - begin < 8


def test_a_measurement_ends_too(tmp_path):
  command = ["stubborn.py", "--config=configs/stubborn.py:step", "--dry_run"]
  process = start(*command, f"--workdir={tmp_path}")
  time.sleep(1.0)
  wait_for(lambda: children(process) > 1, process)  # the other one tracks resources
  assert end(process, signal.SIGINT) == (130, f"interrupted; {LINE}")


def children(process):
  """How many processes it has started."""
  path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
  return len(path.read_text().split()) if path.exists() else 2


def test_a_reader_of_the_output_that_leaves(tmp_path):
  with start("line.py", f"--workdir={tmp_path}") as process:
    process.stdout.close()
    process.wait(120)
    assert (process.returncode, process.stderr.read()) == (128 + signal.SIGPIPE, "")
