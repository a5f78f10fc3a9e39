"""The devices of a command: --net_parts reaches whatever process trains, and what computes nothing takes none."""

import csv
import os
import subprocess
import sys

import pytest
from command_line import TOYS


def run(program, *args, **env):
  env = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"} | env
  return subprocess.run(
    [sys.executable, program, *map(str, args)],
    cwd=TOYS, env=os.environ | env, check=False, capture_output=True, text=True,
  )  # fmt: skip


def parts(workdir, *args):
  done = run("parts.py", f"--workdir={workdir}", *args)
  assert done.returncode == 0, done.stderr
  with open(workdir / "results.csv", newline="", encoding="utf-8") as file:
    return [int(row["parts"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("more", ((), ("--silence_seconds=100",)), ids=("here", "in a worker"))
def test_net_parts(tmp_path, more):
  assert parts(tmp_path / "two", "--net_parts=2", *more) == [2]
  assert parts(tmp_path / "default", *more) == [1]


def test_net_parts_of_a_measurement(tmp_path):
  args = "--net_parts=2", "--dry_run", "--config.fails=True", f"--workdir={tmp_path}/run"
  assert "the measured run failed: ValueError: 2 parts" in run("parts.py", *args).stdout


@pytest.mark.parametrize("count", (0, 5))
def test_net_parts_that_cannot_be(tmp_path, count):
  done = run("parts.py", f"--net_parts={count}", f"--workdir={tmp_path}/run")
  assert done.returncode == 1
  assert f"--net_parts must be 1 to 4, the devices of this process, got {count}" in done.stderr


@pytest.mark.parametrize("args", (("--list",), ("--report_only",), ("--list", "--net_parts=8")))
def test_no_accelerator_is_taken_where_nothing_is_computed(tmp_path, args):
  workdir = f"--workdir={tmp_path}/run"
  assert run("line.py", workdir, "--workers=1", XLA_FLAGS="").returncode == 0
  # There is no such platform: to start its back end fails.
  done = run("line.py", workdir, *args, JAX_PLATFORMS="quantum")
  assert done.returncode == 0, done.stderr
  assert run("line.py", workdir, "--config.seeds=9", JAX_PLATFORMS="quantum").returncode == 1
