"""Tests that need a Slurm of their own: scripts/cluster/one_node_slurm.sh start."""

import fcntl
import getpass
import pathlib
import subprocess
import tempfile

import one_node
import pytest


@pytest.fixture(autouse=True, scope="module")
def one_node_slurm():
  """Skips where there is none. One file has it at a time, also if several processes run tests."""
  if why := one_node.why_not():
    pytest.skip(f"{why}; as root: scripts/cluster/one_node_slurm.sh start")
  with (pathlib.Path(tempfile.gettempdir()) / "qnn_jax-slurm-tests.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


@pytest.fixture(autouse=True)
def empty_queue(one_node_slurm):
  """No test finds another's jobs, or a node that is lost."""
  yield
  if "down" in one_node.slurm("sinfo", "-h", "-o", "%T"):
    subprocess.run([one_node.SCRIPT, "start_node"], check=True, capture_output=True)
  one_node.slurm("scancel", f"--user={getpass.getuser()}")
  one_node.until(lambda: not one_node.slurm("squeue", "-h"))
