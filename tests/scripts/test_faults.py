"""faults.py at its smallest: what is killed loses nothing. With more tries: docs/reliability.md."""

import os
import subprocess
import sys

import pytest
from command_line import ROOT


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="processes are found in /proc")
def test_launcher_and_workers_killed_three_times():
  done = subprocess.run(
    [sys.executable, "scripts/faults.py", "kill-all", "--tries=3"],
    check=False, cwd=ROOT, capture_output=True, text=True, timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")]
  assert cells[1] == "kill-all" and cells[3:6] == ["3", "0", "0"]


def test_a_fault_that_is_none():
  done = subprocess.run(
    [sys.executable, "scripts/faults.py", "earthquake"],
    check=False, cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 1
  assert done.stderr.startswith("error: there is no fault earthquake; there are kill-launcher,")
