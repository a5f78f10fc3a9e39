"""An array that is disturbed half-way: each row comes once, as of a run that nobody disturbed."""

import os
import signal
import subprocess

import one_node
import pytest
from one_node import SCRIPT, ended, launch, notes, slurm, states, steps, until

SLOW = ("--config.seconds=1.5",)  # six seconds a seed


def begun(workdir, task):
  """Waits until a task has saved where it has come to, and is about to go on; its last note."""
  return until(lambda: [note for note in notes(workdir, "saves") if note.task == task])[-1]


def carried_on(workdir):
  """Whether some run began where an earlier one had come to."""
  return any(note.step > 0 for note in notes(workdir, "begins"))


def test_a_killed_task_is_submitted_again_and_nothing_else(tmp_path):
  job = launch(tmp_path / "w", *SLOW, "--slurm_groups=1", "--slurm_at_once=4")
  victim = begun(tmp_path / "w", "0")
  os.kill(victim.pid, signal.SIGKILL)
  assert ended(job) == {0: "FAILED", 1: "COMPLETED", 2: "COMPLETED", 3: "COMPLETED"}
  assert len(notes(tmp_path / "w", "ends")) == 3
  again = launch(tmp_path / "w", *SLOW, "--slurm_groups=1")
  assert ended(again) == {0: "COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 4)
  assert len(notes(tmp_path / "w", "ends")) == 4 and carried_on(tmp_path / "w")


def test_after_scancel_half_way_the_rest_is_submitted(tmp_path):
  job = launch(tmp_path / "w", *SLOW, "--slurm_groups=2", "--slurm_at_once=1")
  until(lambda: notes(tmp_path / "w", "ends"))
  slurm("scancel", job)
  assert set(ended(job).values()) <= {"CANCELLED", "FAILED"}  # and not put back into the queue
  done = len(notes(tmp_path / "w", "ends"))
  assert 1 <= done < 4
  again = launch(tmp_path / "w", *SLOW, "--slurm_groups=1")
  assert len(states(again)) == 4 - done
  assert set(ended(again).values()) == {"COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 4)
  assert len(notes(tmp_path / "w", "ends")) == 4


def test_a_task_that_is_requeued_carries_on(tmp_path):
  job = launch(tmp_path / "w", *SLOW, "--slurm_groups=2", "--slurm_at_once=1")
  victim = begun(tmp_path / "w", "0")
  slurm("scontrol", "requeue", f"{job}_0")
  assert set(ended(job).values()) == {"COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 4)
  assert len(notes(tmp_path / "w", "ends")) == 4 and carried_on(tmp_path / "w")
  assert len({n.pid for n in notes(tmp_path / "w") if n.seed == victim.seed}) == 2


@pytest.mark.parametrize("lost", ("node", "daemon"))
def test_a_node_that_is_lost(lost, tmp_path):
  """The tasks on it are put back; where only its daemon had died, they may even have lived on."""
  job = launch(tmp_path / "w", "--config.seconds=5", "--slurm_groups=2", "--slurm_at_once=2")
  begun(tmp_path / "w", "0")
  try:
    subprocess.run([SCRIPT, f"kill_{lost}"], check=True)
    if lost == "node":
      until(lambda: not any(one_node.alive(note.pid) for note in notes(tmp_path / "w")))
    until(lambda: "down" in slurm("sinfo", "-h", "-o", "%T"))
  finally:
    subprocess.run([SCRIPT, "start_node"], check=True, capture_output=True)
  assert set(ended(job, hastened_after=30).values()) == {"COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 4)
  assert len(notes(tmp_path / "w", "ends")) == 4


def test_a_run_longer_than_the_time_limit_carries_on(tmp_path):
  """In a minute submitit would take any signal for the time limit, and give up after three: its issue 1656."""
  longer = ("--config.seconds=6", "--config.steps=10", "--config.seeds=1")
  job = launch(tmp_path / "w", *longer, "--slurm_time=1")
  assert ended(job) == {0: "COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 1, n=10)
  begins = notes(tmp_path / "w", "begins")
  assert len(begins) >= 2 and begins[-1].step > 0 and len(notes(tmp_path / "w", "ends")) == 1
  (output,) = (tmp_path / "w" / "slurm").glob("*/*_log.out")
  assert "back in the queue" in output.read_text()


def test_a_limit_too_short_for_anything_ends_after_three_times(tmp_path):
  idle = ("--config.seconds=600", "--config.seeds=1")
  job = launch(tmp_path / "w", *idle, "--slurm_option=requeue", "--slurm_time=60")
  for times in range(1, 4):
    again = lambda times=times: len(notes(tmp_path / "w", "begins")) == times
    until(lambda again=again: one_node.hasten(job) or again())
    slurm("scancel", "--signal=USR1", job)  # as Slurm does near the end of a time limit
  assert ended(job) == {0: "FAILED"}
  (output,) = (tmp_path / "w" / "slurm").glob("*/*_log.out")
  assert "submit again with more --slurm_time" in output.read_text()


PREEMPTED = {
  "requeued": ("COMPLETED", "put back by Slurm"),
  "graced": ("COMPLETED", "put back by the task, which was given notice"),
  "cancelled": ("PREEMPTED", "ended: submitted again by the user"),
}


@pytest.mark.parametrize("mode", PREEMPTED)
def test_a_preempted_task_carries_on(mode, tmp_path):
  where = (*SLOW, "--config.seeds=2", f"--slurm_partition={mode}", "--slurm_at_once=1")
  job = launch(tmp_path / "w", *where)
  begun(tmp_path / "w", "-")
  other = slurm(
    "sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 4"
  ).strip()
  until(lambda: states(other)[0] == "COMPLETED")
  assert ended(job) == {0: PREEMPTED[mode][0]}
  if mode == "cancelled":
    assert "1 preempted" in steps(tmp_path / "w", "--config.seeds=2", *SLOW, "--list")
    assert ended(launch(tmp_path / "w", *where)) == {0: "COMPLETED"}
  one_node.assert_as_undisturbed(tmp_path / "w", 2)
  assert len(notes(tmp_path / "w", "ends")) == 2 and carried_on(tmp_path / "w")
