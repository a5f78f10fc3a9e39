"""The one-node Slurm of scripts/cluster/one_node_slurm.sh, and sweeps that are submitted to it."""

import collections
import csv
import json
import pathlib
import shutil
import subprocess
import time
from typing import NamedTuple

from command_line import ROOT, TOYS, run

SCRIPT = ROOT / "scripts/cluster/one_node_slurm.sh"
STEPS = str(TOYS / "steps.py")
# A start of a task takes a second; on a busy machine, or behind a node that was lost, much longer.
PATIENCE = 300


def why_not() -> str:
  """Why these tests cannot run here; empty if they can. A real cluster is left alone."""
  if shutil.which("sbatch") is None:
    return "there is no sbatch"
  shown = subprocess.run(
    ["scontrol", "show", "config"], check=False, capture_output=True, text=True
  )
  if shown.returncode:
    return "no controller of Slurm answers"
  if "= qnn-test" not in shown.stdout:
    return f"this Slurm is not the one of {SCRIPT.relative_to(ROOT)}"
  return ""


def slurm(*command):
  """What a program of Slurm prints."""
  done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done.stdout


def until(true, patience=PATIENCE):
  """Waits until this is true, and returns what it then is."""
  end = time.monotonic() + patience
  while not (found := true()):
    assert time.monotonic() < end, (
      f"waited {patience} s; the queue: {slurm('squeue', '--states=all')}"
    )
    time.sleep(0.2)
  return found


def steps(workdir, *arguments, program=STEPS):
  """Runs the toy's command, which must succeed, and returns what it prints."""
  done = run(program, f"--workdir={workdir}", "--workers=1", *arguments, cwd=TOYS)
  assert done.returncode == 0 and done.stderr == "", done.stderr + done.stdout
  return done.stdout


def launch(workdir, *arguments, **options):
  """Submits what is missing; the job's number."""
  said = steps(workdir, "--launch=slurm", "--slurm_cpus=1", *arguments, **options)
  assert said.startswith("submitted "), said
  return said.partition("as job ")[2].partition(",")[0]


def states(job):
  """Index of a task -> Slurm's word for what it is at."""
  lines = slurm("squeue", "-h", "-r", "--states=all", f"--jobs={job}", "-o", "%K|%T").split()
  found = dict(line.split("|") for line in lines)
  return {int(index) if index.isdigit() else 0: state for index, state in found.items()}


def hasten(job):
  """Lets what was put back into the queue begin at once; by itself it waits for two minutes."""
  for index, state in states(job).items():
    if state == "PENDING":
      task = f"JobId={job}_{index}"
      done = subprocess.run(
        ["scontrol", "update", task, "StartTime=now"], check=False, capture_output=True
      )
      if done.returncode:  # a single task is no array
        subprocess.run(
          ["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False, capture_output=True
        )


def ended(job, hastened_after=5.0):
  """Waits until the whole job has ended; its states.

  Args:
    job: its number.
    hastened_after: what is put back into the queue begins after so many seconds, not two minutes. Behind a
      lost node sooner is too soon: what Slurm still has to say of the lost task it then says of the new one.
  """
  pending = None

  def over():
    nonlocal pending
    now = states(job)
    if "PENDING" not in now.values():
      pending = None
    elif pending is None:
      pending = time.monotonic()
    elif time.monotonic() - pending > hastened_after:
      pending = time.monotonic()
      hasten(job)
    unfinished = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"}
    return None if unfinished & set(now.values()) else now or {0: "FORGOTTEN"}

  return until(over, 2 * PATIENCE)


class Note(NamedTuple):
  """A line of the toy's log."""

  when: float
  what: str
  seed: int
  step: int
  pid: int
  task: str
  under_srun: bool


def notes(workdir, what=None):
  """What the runs of a workdir have noted: that they begin, from which step, save, and end."""
  path = workdir / "log"
  found = []
  for line in path.read_text().splitlines() if path.exists() else ():
    when, said, seed, step, pid, task, srun = line.split()
    found.append(Note(float(when), said, int(seed), int(step), int(pid), task, srun == "True"))
  return [note for note in found if what in (None, note.what)]


def rows(workdir):
  """The lines of results.csv."""
  return list(csv.DictReader((workdir / "results.csv").read_text().splitlines()))


def doubled(workdir):
  """Points that stand in more than one record."""
  count: collections.Counter[str] = collections.Counter()
  for path in (workdir / "records").glob("*.json"):
    record = json.loads(path.read_text())
    count.update(
      json.dumps([record["fields"], row[: len(record["axes"])]]) for row in record["rows"]
    )
  return {point for point, times in count.items() if times > 1}


def assert_as_undisturbed(workdir, seeds, n=4):
  """The results are those of an undisturbed run, each row once, and nothing is left over."""
  assert [(int(r["seed"]), float(r["value"]), r["status"]) for r in rows(workdir)] == [
    (seed, (seed + 1) * n * (n + 1) / 2, "ok") for seed in range(seeds)
  ]
  assert not doubled(workdir)
  left = [p.name for p in workdir.iterdir() if p.name in ("checkpoints", "leases", "failures")]
  assert not left
  assert not list((workdir / "records").glob(".tmp-*"))


def alive(pid):
  """Whether there is such a process, not only its remains."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except OSError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"
