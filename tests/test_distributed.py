"""--distributed: processes on loopback that find each other, share the runs, and see each other's faults."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import ROOT
from several_processes import ENV, LINE, ended, rows, run_two, start, start_two

from qnn_jax.command import job


def test_two_processes_share_the_runs_and_the_first_reports(tmp_path):
  args = *LINE, "--config.seeds=3"
  zero, one = run_two(*args, f"--workdir={tmp_path}/two")
  assert (zero[0], one[0]) == (0, 0), zero[2] + one[2]
  assert one[1] == "" and "written: " in zero[1]
  alone = start(*args, f"--workdir={tmp_path}/one")
  assert ended(alone)[0] == 0
  names = {path.name for path in (tmp_path / "one").iterdir()}
  assert {path.name for path in (tmp_path / "two").iterdir()} == names
  for name in ("results.csv", "line.md", "config.json"):
    assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
  # Each has done something: a record holds a run here.
  assert len(list((tmp_path / "two" / "records").iterdir())) == len(rows(tmp_path / "one"))


def test_a_workdir_that_the_other_does_not_see(tmp_path):
  each = [[f"--workdir={tmp_path}/{i}"] for i in range(2)]
  zero, one = run_two(*LINE, each=each)
  assert (zero[0], one[0]) == (1, 1)
  assert f"does not see the workdir {tmp_path}/1 of process 0" in one[2]
  assert "name with --workdir a folder that all hosts share" in one[2]
  assert "error: process 1 of 2: process 1 on " in zero[2]
  assert "Traceback" not in zero[2] + one[2]
  assert not (tmp_path / "1").exists()


def test_a_process_that_is_killed_is_noticed(tmp_path):
  zero, one = run_two(*LINE, f"--workdir={tmp_path}/run", envs=({}, {"KILLED": "1"}))
  assert one[0] == -signal.SIGKILL
  assert zero[0] == 1 and "Traceback" not in zero[2]
  assert "process 1 of 2: ended before its work was done, without a message" in zero[2]
  done = len(rows(tmp_path / "run"))
  zero, one = run_two(*LINE, f"--workdir={tmp_path}/run")  # the same command carries on
  assert (zero[0], one[0]) == (0, 0) and 0 < done < len(rows(tmp_path / "run"))


def test_a_group_that_fails_in_one_process_is_the_job_s_failure(tmp_path):
  zero, one = run_two(*LINE, f"--workdir={tmp_path}/run", envs=({}, {"FAILS": "1"}))
  assert (zero[0], one[0]) == (1, 1) and "Traceback" not in zero[2] + one[2]
  assert "group failed: ValueError: no numbers today" in one[2]
  assert "error: process 1 of 2: 1 group failed: ValueError: no numbers" in zero[2]
  assert 0 < len(rows(tmp_path / "run")) < 6  # what process 0 has done is there, and reported


def test_processes_of_different_commands(tmp_path):
  each = (), ("--config.learning_rate=0.3",)
  zero, one = run_two(*LINE, f"--workdir={tmp_path}/run", each=each)
  assert (zero[0], one[0]) == (1, 1) and "Traceback" not in zero[2] + one[2]
  told = "asked for other runs than process 0; start all processes with the same command"
  assert f"error: it is {told}" in one[2]
  assert f"error: process 1 of 2: it is {told}" in zero[2]
  assert not (tmp_path / "run").exists()  # nothing was trained


def start_patient(workdir):
  both = start_two("patient.py", "--workers=1", f"--workdir={workdir}")
  end = time.monotonic() + 120
  while not all((workdir / f"there-{seed}").exists() for seed in range(2)):
    assert time.monotonic() < end and [process.poll() for process in both] == [None, None]
    time.sleep(0.05)
  return both


LAST_LINE = "the same command carries on from what is finished\n"


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_to_process_0_stops_all(tmp_path, number):
  both = start_patient(tmp_path)
  both[0].send_signal(number)
  how = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
  for code, _, err in map(ended, both):
    assert code == 128 + number and err.endswith(f"{how}; {LAST_LINE}"), err
    assert "Traceback" not in err and "***" not in err
  if number == signal.SIGTERM:  # both have saved
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
  assert not (tmp_path / "leases").exists()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_to_another_process_ends_that_alone(tmp_path, number):
  zero, one = start_patient(tmp_path)
  one.send_signal(number)
  assert ended(one)[0] == 128 + number
  (tmp_path / "go").touch()
  code, _, err = ended(zero)
  how = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
  assert code == 1 and err.endswith(
    f"error: process 1 of 2: {how} before its work was done; {LAST_LINE}"
  )
  assert len(rows(tmp_path)) == 1


def test_process_0_that_fails_stops_who_does_not_leave(tmp_path):
  args = "patient.py", "--workers=1", f"--workdir={tmp_path}"
  zero, one = run_two(*args, envs=({"FULL": "1"}, {}))
  assert zero[0] == 1 and zero[2].endswith(
    f"error: {tmp_path}: No space left on device; all that is on disk is as it was\n"
  )
  assert one[0] == 128 + signal.SIGTERM and one[2].endswith(f"ended by SIGTERM; {LAST_LINE}")
  assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_process_0_says_whom_it_waits_for(tmp_path):
  zero, one = start_patient(tmp_path)
  one.send_signal(signal.SIGSTOP)
  (tmp_path / "go").touch()
  for line in zero.stdout:
    if line == "waiting for process 1 of 2\n":
      break
  else:
    pytest.fail("no such line")
  one.send_signal(signal.SIGCONT)
  assert [ended(process)[0] for process in (zero, one)] == [0, 0]


def test_a_fault_of_a_disk_is_told_in_a_sentence():
  error = OSError(errno.EROFS, os.strerror(errno.EROFS), "/results/run")
  assert job.why_of(error).startswith("/results/run: Read-only file system; all that is on disk")


def test_a_finished_workdir_that_cannot_be_written_shows_its_table(tmp_path):
  mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
  if subprocess.run(mount, check=False, capture_output=True).returncode:
    pytest.skip("needs a mount, which root may make")
  try:
    args = *LINE, f"--workdir={tmp_path}/run"
    assert ended(start(*args))[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
    table = (tmp_path / "run" / "line.md").read_text().splitlines()[-1]
    zero, one = run_two(*args)
    assert (zero[0], one[0]) == (0, 0), zero[2] + one[2]
    assert table in zero[1]
  finally:
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize(
  "args, message",
  (
    (["--distributed", "--list"], "--distributed and --list exclude each other; give one of them"),
    (["--distributed", "--cancel"], "--distributed and --cancel exclude each other"),
    (
      ["--distributed", "--launch=slurm"],
      "and --launch=slurm makes independent ones; use scripts/cluster/",
    ),
    (["--process=1"], "--process belongs to --distributed; give both, or leave it out"),
    (["--distributed", "--process=1"], "go together; give all three or none"),
    (["--distributed"], "cannot be found (coordinator_address should be defined.)"),
  ),
  ids=["list", "cancel", "slurm", "process", "incomplete", "nothing detected"],
)
def test_flags_that_make_no_sense(tmp_path, args, message):
  code, _, err = ended(start(*LINE, *args, f"--workdir={tmp_path}/run"))
  assert code == 1 and message in err and "Traceback" not in err
  assert not (tmp_path / "run").exists()


def test_tasks_of_srun_do_not_join_each_other(tmp_path):
  """With what srun sets for the second of two tasks, and nobody at the address that it names."""
  slurm = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost",
    "SLURM_JOB_NUM_NODES": "1",
  }  # fmt: skip
  code, out, err = ended(start(*LINE, f"--workdir={tmp_path}/run", **slurm))
  assert code == 0, err
  assert "written: " in out and len(rows(tmp_path / "run")) > 1  # all of it, not a half
  code = "import jax; print(jax.process_count(), jax.process_index())"
  done = subprocess.run(
    [sys.executable, "-c", code], env=ENV | slurm | {"JAX_PLATFORMS": "cpu"},
    check=True, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.stdout.split() == ["1", "0"]


def test_table4_on_two_processes_of_two_devices(tmp_path):
  args = (
    "experiments.table4", "--config=configs/table4.py:smoke", "--config.hidden=(10,)",
    "--config.epochs=(2,)", "--config.models=('ann','qnn')",
  )  # fmt: skip
  zero, one = run_two(*args, f"--workdir={tmp_path}/two", cwd=ROOT, devices=2)
  assert (zero[0], one[0]) == (0, 0), zero[2] + one[2]
  alone = start(*args, f"--workdir={tmp_path}/one", cwd=ROOT)
  assert ended(alone)[0] == 0
  found, expected = rows(tmp_path / "two"), rows(tmp_path / "one")
  assert len(found) == len(expected) == 6
  for ours, theirs in zip(found, expected):
    assert abs(float(ours.pop("accuracy")) - float(theirs.pop("accuracy"))) < 0.0201
    assert ours == theirs
