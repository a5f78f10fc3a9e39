"""One job of several tasks, without submitit: scripts/cluster/slurm_distributed.sbatch."""

import os
import subprocess
import sys
import time

import cluster_recipes as recipes
import command_line
import pytest

SBATCH = recipes.CLUSTER / "slurm_distributed.sbatch"
# Two tasks on one node without GPUs.
SMALL = ("--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=500M")


@pytest.fixture(autouse=True)
def a_slurm():
  """Skips where no Slurm has a node for a job."""
  try:
    states = subprocess.run(
      ["sinfo", "-h", "-o", "%T"], check=False, capture_output=True, text=True, timeout=20
    ).stdout.split()
  except (FileNotFoundError, subprocess.TimeoutExpired):
    pytest.skip("there is no Slurm here")
  if not {"idle", "mixed", "allocated", "completing"} & set(states):
    pytest.skip("no controller of Slurm answers, or it has no node")


@pytest.mark.fast
def test_slurm_takes_it():
  command = ["sbatch", "--test-only", *SMALL, SBATCH, "-m", "experiments.xor"]
  for _ in range(3):  # a node that answers late is no fault of the recipe
    asked = subprocess.run(command, check=False, capture_output=True, text=True, cwd=recipes.ROOT)
    if asked.returncode == 0:
      break
    time.sleep(5)
  assert asked.returncode == 0 and "to start at" in asked.stderr, asked.stderr
  none = [*command[:2], *SMALL, "--mem=9999T", SBATCH]
  asked = subprocess.run(none, check=False, capture_output=True, text=True, cwd=recipes.ROOT)
  assert asked.returncode != 0, "this check refuses what no node has"


def test_slurm_runs_two_tasks_as_one_job(tmp_path):
  recipes.needs_distributed()
  xor = ("-m", "experiments.xor", "--config=configs/xor.py:smoke")
  done = subprocess.run(
    ["sbatch", "--wait", *SMALL, f"--output={tmp_path}/log", SBATCH, *xor, f"--workdir={tmp_path}/xor"],
    check=False, cwd=recipes.ROOT, capture_output=True, text=True, timeout=300,
    env=os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
  )  # fmt: skip
  log = (tmp_path / "log").read_text("utf-8") if (tmp_path / "log").exists() else ""
  assert done.returncode == 0, done.stderr + log
  alone = command_line.run(*xor[1:], "--workers=1", f"--workdir={tmp_path}/alone")
  assert alone.returncode == 0, alone.stderr
  assert recipes.rows(tmp_path / "xor") == recipes.rows(tmp_path / "alone")
