"""--launch=slurm: an array, its tasks, what the list shows, and what --cancel ends."""

import json
import os
import re

import one_node
import pytest
from command_line import TOYS, run
from one_node import STEPS, ended, launch, notes, states, steps, until


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A workdir that an array of six tasks, two at a time, has finished; and the job."""
  workdir = tmp_path_factory.mktemp("slurm") / "work dir"
  job = launch(workdir, "--config.seeds=6", "--slurm_groups=1", "--slurm_at_once=2")
  assert set(ended(job).values()) == {"COMPLETED"}
  return workdir, job


def test_an_array_gives_the_rows_of_a_local_run(finished, tmp_path):
  workdir, _ = finished
  one_node.assert_as_undisturbed(workdir, 6)
  steps(tmp_path / "here", "--config.seeds=6")
  for name in ("results.csv", "steps.md", "steps.csv"):
    assert (workdir / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_so_many_tasks_run_at_once_as_were_asked_for(finished):
  workdir, _ = finished
  at_work, most = 0, 0
  for note in sorted(notes(workdir)):
    at_work += {"begins": 1, "saves": 0, "ends": -1}[note.what]
    most = max(most, at_work)
  assert most <= 2
  assert sorted(note.task for note in notes(workdir, "ends")) == list("012345")


def test_tasks_of_an_array_under_srun_do_not_join_each_other(finished):
  workdir, _ = finished
  assert all(note.under_srun for note in notes(workdir))
  assert [row["processes"] for row in one_node.rows(workdir)] == ["1"] * 6
  assert len({note.pid for note in notes(workdir)}) == 6


def test_the_submission_is_on_disk(finished):
  workdir, job = finished
  (path,) = (workdir / "slurm").glob("*.json")
  kept = json.loads(path.read_text())
  assert kept["job"] == job and len(kept["tasks"]) == 6 and kept["options"]["at_once"] == 2
  assert not any(argument.startswith("--slurm_") for argument in kept["command"])
  outputs = [p.read_text() for p in path.with_suffix("").glob("*_log.out")]
  assert len(outputs) == 6 and sum("written: " in text for text in outputs) >= 1


def test_what_is_finished_is_not_submitted_again(finished):
  workdir, _ = finished
  before = one_node.slurm("squeue", "-h", "--states=all")
  assert "written: " in steps(workdir, "--config.seeds=6", "--launch=slurm")
  assert one_node.slurm("squeue", "-h", "--states=all") == before


def test_the_list_and_the_end_of_what_is_queued_from_another_process(tmp_path):
  workdir, slow = tmp_path / "w", "--config.seconds=60"
  grown = (slow, "--config.seeds=5")
  job = launch(workdir, slow, "--slurm_groups=1", "--slurm_at_once=1")
  until(lambda: notes(workdir))
  # A group here is what one process would run at once; --workers=5 shows them one by one.
  shown = run(STEPS, f"--workdir={workdir}", *grown, "--workers=5", "--list", cwd=TOYS).stdout
  assert [line.split()[0] for line in shown.splitlines()[:5]] == [
    "running", "queued", "queued", "queued", "waiting",
  ]  # fmt: skip
  assert f"Slurm's job {job}: " in shown and "1 running" in shown and "3 pending" in shown
  # Again: what is in the queue is not submitted, and what is new is.
  assert steps(workdir, slow, "--launch=slurm").startswith("nothing to submit: ")
  second = launch(workdir, *grown)
  assert len(states(second)) == 1
  said = steps(workdir, "--cancel")
  queued, running = map(int, re.findall(r"(\d+) (?:queued|running)", said))
  assert said.startswith("cancelled: ") and queued >= 3 and running >= 1 and queued + running == 5
  assert {*ended(job).values(), *ended(second).values()} == {"CANCELLED"}
  assert steps(workdir, "--cancel").startswith("nothing to cancel")
  assert "waiting   seed 0 " in steps(workdir, *grown, "--list")


def test_a_group_that_fails_shows_in_the_list_and_in_the_exit_status(tmp_path):
  workdir, broken = tmp_path / "w", "--config.broken=1"
  job = launch(workdir, broken, "--slurm_groups=1")
  assert ended(job) == {0: "COMPLETED", 1: "FAILED", 2: "COMPLETED", 3: "COMPLETED"}
  assert "ExitCode=1:0" in one_node.slurm("scontrol", "show", "job", f"{job}_1")
  shown = run(STEPS, f"--workdir={workdir}", broken, "--workers=4", "--list", cwd=TOYS).stdout
  assert "failed    seed 1" in shown and "ValueError: it broke" in shown
  assert "3 completed" in shown and "1 failed" in shown
  again = launch(workdir, broken)
  assert len(states(again)) == 1 and ended(again) == {0: "FAILED"}


REFUSED = {
  "no such partition": (["--slurm_partition=nowhere"], "invalid partition specified: nowhere"),
  "too long": (["--slurm_time=99-0"], "Requested time limit is invalid"),
  "no gpus": (["--slurm_gpus=2"], "Invalid generic resource (gres) specification"),
  "no such feature": (["--slurm_constraint=none"], "Invalid feature specification"),
  "no such option": (["--slurm_option=no-such-option=1"], "no-such-option"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_slurm_refuses_is_one_sentence_and_leaves_nothing(name, tmp_path):
  options, told = REFUSED[name]
  workdir = tmp_path / "w"
  done = run(STEPS, f"--workdir={workdir}", "--launch=slurm", *options, cwd=TOYS)
  assert done.returncode == 1 and done.stdout == ""
  assert done.stderr.startswith("error: Slurm does not take the job: ") and told in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert not workdir.exists()


def test_options_reach_slurm(tmp_path):
  job = launch(
    tmp_path / "w", "--slurm_partition=requeued", "--slurm_time=0-01:30:00", "--slurm_memory=500M",
    "--slurm_option=nice=7", "--slurm_option=hold",
  )  # fmt: skip
  shown = one_node.slurm("scontrol", "show", "job", job)
  for told in (
    "Partition=requeued",
    "TimeLimit=01:30:00",
    "MinMemoryNode=500M",
    "Nice=7",
    "JobHeldUser",
  ):
    assert told in shown
  assert "4 pending (JobHeldUser)" in steps(tmp_path / "w", "--list")
  assert os.listdir(tmp_path / "w" / "slurm")
