"""Starts processes on loopback that join by --distributed."""

import csv
import os
import socket
import subprocess
import sys

from command_line import ROOT, TOYS

# The command of a program, with the times for which the processes wait cut short.
_DRIVER = """
import errno, functools, os, runpy, sys, time
import jax
from qnn_jax.command import job

job._SIGHT_SECONDS = 1.0
jax.distributed.initialize = functools.partial(jax.distributed.initialize, heartbeat_timeout_seconds=5)
if "KILLED" in os.environ:  # when it has met the others
  check = job.Job.check
  def check_and_die(self, *args):
    check(self, *args)
    os.kill(os.getpid(), 9)
  job.Job.check = check_and_die
if "FULL" in os.environ:  # a disk, when the other is at its run
  check = job.Job.check
  job._LEAVE_SECONDS = 4.0
  def check_and_fail(self, workdir, asked):
    check(self, workdir, asked)
    while not (workdir / "there-1").exists():
      time.sleep(0.1)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workdir))
  job.Job.check = check_and_fail
if "FAILS" in os.environ:
  def normal(*args):
    raise ValueError("no numbers today")
  jax.random.normal = normal
sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
  runpy.run_path(sys.argv[0], run_name="__main__")
else:
  runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

LINE = "line.py", "--workers=1"

# What a scheduler or a user may have set.
ENV = {
  name: value
  for name, value in os.environ.items()
  if not name.startswith(("SLURM_", "OMPI_", "JAX_COORD", "JAX_NUM_P", "JAX_PROCESS"))
}


def start(program, *args, cwd=TOYS, devices=1, **env):
  env |= {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    "PYTHONPATH": str(ROOT),
  }
  return subprocess.Popen(
    [sys.executable, "-c", _DRIVER, program, *map(str, args)],
    cwd=cwd, env=ENV | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def ended(process):
  """(returncode, stdout, stderr) of a process that will end."""
  out, err = process.communicate(timeout=300)
  return process.returncode, out, err


def free_port():
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def run_two(*args, **kwargs):
  """(returncode, stdout, stderr) of processes 0 and 1."""
  return [ended(process) for process in start_two(*args, **kwargs)]


def start_two(program, *args, each=((), ()), envs=({}, {}), **kwargs):
  """Processes 0 and 1."""
  address = f"localhost:{free_port()}"
  return [
    start(
      program,
      *args,
      *each[i],
      "--distributed",
      f"--coordinator={address}",
      "--processes=2",
      f"--process={i}",
      **envs[i],
      **kwargs,
    )  # fmt: skip
    for i in range(2)
  ]


def rows(workdir):
  with open(workdir / "results.csv", newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))
