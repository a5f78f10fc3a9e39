"""The flags of --launch=slurm: what they say of a bad value, and what they hand on. Without any Slurm."""

import pytest
from command_line import TOYS, run_all

from qnn_jax.command import cluster
from qnn_jax.errors import InputError

BAD = {
  "--launch=nowhere": "--launch must be one of here, slurm, got 'nowhere'",
  "--slurm_gpus=1": "--slurm_gpus is for Slurm; give --launch=slurm with it",
  "--launch=slurm --slice=0/2": (
    "--slice is for other schedulers; --launch=slurm divides the work itself"
  ),
  "--launch=slurm --slurm_time=soon": (
    "--slurm_time must be minutes, or D-HH:MM:SS as sbatch takes it, such as 90 or 0-01:30:00, got soon"
  ),
  "--launch=slurm --slurm_memory=lots": (
    "--slurm_memory must be a number with K, M, G or T, such as 8G, got lots"
  ),
  "--launch=slurm --slurm_gpus=0": "--slurm_gpus must be at least 1, got 0",
  "--launch=slurm --slurm_cpus=-1": "--slurm_cpus must be at least 1, got -1",
  "--launch=slurm --slurm_at_once=0": "--slurm_at_once must be at least 1, got 0",
  "--launch=slurm --slurm_groups=0": "--slurm_groups must be at least 1, got 0",
  "--launch=slurm --slurm_partition=": "--slurm_partition must be one line of text, got ''",
  "--launch=slurm --slurm_constraint=a\nb": "--slurm_constraint must be one line of text, got 'a\\nb'",
  "--launch=slurm --slurm_option==high": (
    "--slurm_option must be KEY=VALUE, such as qos=high, got '=high'"
  ),
  "--launch=slurm --slurm_option=qos=": (
    "--slurm_option must be KEY=VALUE, such as qos=high, got 'qos='"
  ),
  "--launch=slurm --slurm_option=mem=8G": (
    "--slurm_option=mem has a flag of its own; use --slurm_memory"
  ),
  "--launch=slurm --slurm_option=array=0-9": (
    "--slurm_option=array cannot be set; the program sets it itself"
  ),
  "--launch=slurm --slurm_option=clusters=far": (
    "--slurm_option=clusters cannot be set: --list and --cancel look at this machine's cluster alone; run the "
    "command on a machine of the other one"
  ),
  "--units=nowhere.json:0 --slice=0/2": "--units and --slice exclude each other; give one of them",
  "--units=nowhere.json:0": (
    "--units=nowhere.json:0 names no task of a submission; it is for the tasks of --launch=slurm alone"
  ),
  "--cancel --list": (
    "--list, --dry_run, --report_only and --cancel exclude each other; give one of them"
  ),
}


def test_a_bad_value_is_one_sentence_and_leaves_nothing(tmp_path):
  workdir = tmp_path / "w"
  cases = [("line.py", [f"--workdir={workdir}", *case.split(" ")], TOYS) for case in BAD]
  for told, ended in zip(BAD.values(), run_all(cases, tmp_path)):
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"error: {told}\n")
  assert not workdir.exists()


def test_without_slurm_nothing_is_submitted_and_the_list_shows_the_results_alone(
  tmp_path, monkeypatch
):
  monkeypatch.setenv("PATH", "/nowhere")
  new, workdir = tmp_path / "new", tmp_path / "w"

  def run(name, *cases):
    (tmp_path / name).mkdir()
    return run_all([("line.py", case, TOYS) for case in cases], tmp_path / name)

  told = "error: --launch=slurm needs Slurm's sbatch, which is not on this machine's PATH\n"
  nothing, done, refused = run(
    "first",
    [f"--workdir={new}", "--launch=slurm"],
    [f"--workdir={workdir}", "--config.seeds=1", "--workers=1"],
    [f"--workdir={workdir}", "--launch=slurm"],
  )
  assert nothing == refused == (1, "", told) and done.returncode == 0
  assert not new.exists() and not (workdir / "slurm").exists()
  # A submission from elsewhere: of it nothing can be known here.
  elsewhere = cluster.submissions.Submission("line-0", [["a"]], [], {}, str(workdir.resolve()))
  cluster.submissions.write(workdir, elsewhere)
  listed, cancelled = run(
    "second", [f"--workdir={workdir}", "--list"], [f"--workdir={workdir}", "--cancel"]
  )
  assert (listed.returncode, listed.stderr) == (0, "")
  *_, groups, last = listed.stdout.splitlines()
  assert groups.startswith("groups: ") and "runs: 2 of 6 done" in groups
  assert last == (
    "the queue is not shown: reading the queue needs Slurm's squeue, which is not on this machine's PATH"
  )
  assert cancelled.returncode == 1 and cancelled.stderr.startswith("error: ")
  assert "squeue" in cancelled.stderr


@pytest.mark.fast
@pytest.mark.parametrize(
  "text, seconds",
  {
    "90": 5400, "1:30": 90, "2:00:05": 7205, "1-0": 86400, "1-2": 93600, "1-2:03": 93780,
    "1-02:03:04": 93784,
  }.items(),
)  # fmt: skip
def test_time_limits_as_sbatch_takes_them(text, seconds):
  assert cluster.seconds_of(text) == seconds


@pytest.mark.fast
@pytest.mark.parametrize("text", ("", "0", "x", "1:2:3:4", "-5", "1-", "1.5", "1 hour"))
def test_what_is_no_time_limit(text):
  with pytest.raises(InputError, match="^--slurm_time must be minutes, or D-HH:MM:SS"):
    cluster.seconds_of(text)


@pytest.mark.fast
def test_a_task_has_the_command_line_without_the_cluster():
  given = [
    "--config=a.py", "--launch", "slurm", "--slurm_gpus=1", "--workdir", "w", "-slurm_time", "5",
    "--sweep.x=1,2", "--launcher=x",
  ]  # fmt: skip
  kept = ["--config=a.py", "--workdir", "w", "--sweep.x=1,2", "--launcher=x"]
  assert cluster.without_cluster(given) == kept
