"""Slurm without submitit: scripts/cluster/slurm_array.sbatch, given to a real sbatch."""

import os
import subprocess
import sys

import one_node
import pytest
from command_line import ROOT, TOYS
from one_node import ended, notes, slurm, until

RECIPE = ROOT / "scripts/cluster/slurm_array.sbatch"


def sbatch(workdir, *options, **fields):
  """Submits the recipe with the toy; the job's number."""
  command = ["sbatch", "--parsable", "--array=0-1", f"--chdir={TOYS}", *options]
  command += [f"--output={workdir.parent}/out-%a", RECIPE, "steps.py", f"--workdir={workdir}"]
  command += ["--workers=1", *(f"--config.{name}={value}" for name, value in fields.items())]
  environment = os.environ | {"PYTHON": sys.executable}
  done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
  return done.stdout.strip()


@pytest.mark.fast
def test_slurm_takes_it():
  asked = subprocess.run(
    ["sbatch", "--test-only", RECIPE, "-m", "experiments.xor"],
    check=True,
    capture_output=True,
    text=True,
  )
  assert "to start at" in asked.stderr


def test_its_slices_do_what_one_command_does(tmp_path):
  assert set(ended(sbatch(tmp_path / "w")).values()) == {"COMPLETED"}
  assert sorted((n.task, n.seed) for n in notes(tmp_path / "w", "ends")) == [
    ("0", 0), ("0", 2), ("1", 1), ("1", 3),
  ]  # fmt: skip
  assert all(note.under_srun for note in notes(tmp_path / "w"))
  one_node.steps(tmp_path / "w", "--report_only")
  one_node.assert_as_undisturbed(tmp_path / "w", 4)


def test_notice_of_the_time_limit_puts_it_back_into_the_queue(tmp_path):
  job = sbatch(tmp_path / "w", seconds=1.5)
  until(lambda: list((tmp_path / "w" / "checkpoints").glob("step*")))
  slurm("scancel", "--signal=USR1", f"{job}_0")
  assert set(ended(job).values()) == {"COMPLETED"}
  one_node.steps(tmp_path / "w", "--report_only", "--config.seconds=1.5")
  one_node.assert_as_undisturbed(tmp_path / "w", 4)
  assert len(notes(tmp_path / "w", "begins")) > len(notes(tmp_path / "w", "ends")) == 4
