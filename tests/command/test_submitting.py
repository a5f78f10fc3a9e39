"""--launch=slurm that is killed, or given twice at once, half-way through sbatch: with programs in Slurm's place."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import TOYS

from qnn_jax.errors import InputError
from qnn_jax.sweeps import slurm

pytest.importorskip("submitit")

# A queue in a file: name|job|index|state|reason. What sbatch says comes `slow` seconds after the job is there.
PROGRAMS = {
  "sbatch": """
name=$(sed -n 's/^#SBATCH --job-name=//p' "$1")
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
echo "$name" >> calls
job=$(wc -l < calls)
for i in $(seq 0 "${last:-0}"); do echo "$name|$job|$i|PENDING|None" >> queue; done
touch "accepted-$job"
for i in $(seq "$(cat slow)"); do sleep 0.1; done
echo "Submitted batch job $job"
""",
  "squeue": "cat queue 2> /dev/null || true",
  "scancel": 'for job; do echo "$job" >> cancelled; sed -i "/|$job|/d" queue; done',
  "srun": "exit 1",
}


@pytest.fixture
def place(tmp_path):
  """A folder of those programs, which wait for 2 s."""
  for name, text in PROGRAMS.items():
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\nset -e\ncd {tmp_path}\n{text}\n")
    path.chmod(0o755)
  (tmp_path / "slow").write_text("20")
  return tmp_path


def start(place, *arguments, launch="slurm"):
  """A launcher in a group of its own, as a terminal's jobs are."""
  signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
  return subprocess.Popen(
    [sys.executable, "line.py", f"--workdir={place}/w", f"--launch={launch}",
     *(["--slurm_groups=1"] if launch == "slurm" else []), *arguments],
    cwd=TOYS, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    env=os.environ | {"PATH": f"{place}/bin:{os.environ['PATH']}"},
  )  # fmt: skip


def accepted(place, job=1):
  """Waits until the queue has this job."""
  end = time.monotonic() + 120
  while not (place / f"accepted-{job}").exists():
    assert time.monotonic() < end
    time.sleep(0.02)


def calls(place):
  return (place / "calls").read_text().split()


def submissions(place):
  """What each file says of its job, and whether all its tasks find what they shall do."""
  found = []
  for path in sorted((place / "w" / "slurm").glob("*.json")):
    kept = json.loads(path.read_text())
    names = {f"{kept['job']}_{i}_submitted.pkl" for i in range(len(kept["tasks"]))}
    found.append((kept["job"], names <= {p.name for p in path.with_suffix("").iterdir()}))
  return found


def test_of_two_launchers_at_once_one_submits(place):
  first = start(place)
  accepted(place)
  second = start(place)
  assert first.communicate(timeout=120)[0].startswith("submitted ")
  said, told = second.communicate(timeout=120)
  assert "nothing to submit: all that is missing" in said and told == ""
  assert (first.returncode, second.returncode) == (0, 0)
  assert len(calls(place)) == 1 and submissions(place) == [("1", True)]
  assert not (place / "w" / "leases").exists()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_a_signal_waits_for_the_submission(place, number):
  launcher = start(place)
  accepted(place)
  os.killpg(launcher.pid, number)
  said, told = launcher.communicate(timeout=120)
  assert launcher.returncode == 128 + number and said.startswith("submitted ")
  assert told.endswith("the same command carries on from what is finished\n")
  assert len(told.splitlines()) == 1 and submissions(place) == [("1", True)]
  assert not (place / "w" / "leases").exists()
  said, _ = start(place).communicate(timeout=120)
  assert said.startswith("nothing to submit: ") and len(calls(place)) == 1


@pytest.mark.parametrize("known", (True, False))
def test_what_a_killed_launcher_has_begun_is_ended_and_submitted_again(place, known):
  launcher = start(place)
  accepted(place)
  os.killpg(launcher.pid, signal.SIGKILL)
  launcher.communicate()
  assert submissions(place) == [("", False)]
  if not known:
    (place / "queue").unlink()
  else:
    said, _ = start(place, "--list").communicate(timeout=120)
    assert said.startswith("waiting ") and "the launcher of job 1 was killed" in said
  (place / "slow").write_text("1")
  said, told = start(place).communicate(timeout=120)
  assert said.startswith("submitted ") and told == ""
  assert submissions(place) == [("2", True)]
  cancelled = place / "cancelled"
  assert cancelled.exists() == known and (not known or cancelled.read_text() == "1\n")
  assert not (place / "w" / "leases").exists()


def test_what_tasks_needed_goes_when_the_sweep_is_finished_and_they_have_ended(place):
  (place / "slow").write_text("0")
  start(place).communicate(timeout=120)
  (folder,) = (path for path in (place / "w" / "slurm").iterdir() if path.is_dir())
  (folder / "1_0_0_log.out").write_text("said")
  before = {path.name for path in folder.iterdir()}
  assert {"1_0_submitted.pkl", "1_submission.sh"} < before
  said, told = start(place, launch="here").communicate(timeout=120)
  assert "written: " in said and told == ""
  assert {path.name for path in folder.iterdir()} == before
  (place / "queue").unlink()
  said, told = start(place).communicate(timeout=120)
  assert "written: " in said and told == ""
  assert {path.name for path in folder.iterdir()} == {"1_0_0_log.out", "1_submission.sh"}


def test_names_that_slurm_would_replace_are_refused(place, monkeypatch):
  launcher = start(place, f"--workdir={place}/a%j")
  said, told = launcher.communicate(timeout=120)
  assert (launcher.returncode, said) == (1, "")
  assert (
    told.startswith("error: --launch=slurm needs a workdir without %") and "\n" not in told[:-1]
  )
  assert not (place / "a%j").exists() and not (place / "calls").exists()
  monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
  for name in ("a\\b", "a\nb", "100%"):
    with pytest.raises(InputError, match="needs a workdir without %"):
      slurm.check(place / name)
  slurm.check(place / "a b")
