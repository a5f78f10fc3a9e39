"""A task of a Slurm array: runs the command in a process of its own, and requeues the task after a signal.

submitit pickles this module by value. It imports nothing but the standard library, so that it starts at once
and takes little memory. Slurm signals every process of a task: the command gets each signal too, saves what it
can and ends. This process passes no signal on, because the same signal twice would interrupt the saving.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

_STOPS = (signal.SIGTERM, signal.SIGUSR1)
_FRUITLESS = 3  # after so many time limits in a row without a new file a task is not requeued


class ArrayTask:
  """The callable that submitit runs in a task.

  When a signal announces a time limit or a preemption, the task is requeued and continues later. Slurm itself
  requeues a task when a node fails, or where the partition's PreemptMode is REQUEUE. After scancel a task is
  not requeued.
  """

  def __init__(self, command: list[str], cwd: str, workdir: str, mark: str):
    """`mark` is a file of this task, which counts the time limits that brought nothing new."""
    self.command, self.cwd, self.workdir, self.mark = command, cwd, workdir, mark

  def __call__(self) -> None:
    """Runs the command; raises SystemExit with its exit status if that is not 0."""
    signals: list[int] = []
    for number in _STOPS:  # in place of submitit's handlers, which ignore SIGTERM
      signal.signal(number, lambda number, _: signals.append(number))
    before = self._results()
    code = subprocess.call(self.command, cwd=self.cwd)
    if code == 0:
      return
    if signals or code in (*(-n for n in _STOPS), *(128 + n for n in _STOPS)):
      self._stopped(bool(self._results() - before))
    sys.exit(code if code > 0 else 128 - code)

  def _stopped(self, fruitful: bool) -> None:
    job = _job()
    if job.get("JobState") != "RUNNING":  # scancel, or Slurm itself requeues the task
      print(f"stopped, and left to Slurm ({job.get('JobState', 'which does not answer')})")
      return
    mark = pathlib.Path(self.mark)
    if fruitful or job.get("PreemptTime", "None") != "None":
      mark.unlink(missing_ok=True)
    else:
      fruitless = 1 + (int(mark.read_text() or 0) if mark.exists() else 0)
      if fruitless >= _FRUITLESS:
        mark.unlink(missing_ok=True)
        print(
          f"{fruitless} times in a row the time limit has come before anything new was on disk: not put "
          "back into the queue; submit again with more --slurm_time"
        )
        return
      mark.write_text(str(fruitless))
    me = _array_task()
    done = subprocess.run(["scontrol", "requeue", me], check=False, capture_output=True, text=True)
    print(
      f"could not put {me} back into the queue: {done.stderr.strip()}"
      if done.returncode
      else f"{me} is back in the queue"
    )

  def _results(self) -> set[str]:
    found: set[str] = set()
    for name in ("records", "checkpoints"):
      with contextlib.suppress(OSError):
        found.update(os.listdir(os.path.join(self.workdir, name)))
    return found


def _array_task() -> str:
  """JOBID_TASKID, the name of a task of an array in Slurm."""
  array = os.environ.get("SLURM_ARRAY_JOB_ID")
  return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _job() -> dict[str, str]:
  show = ["scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]]
  done = subprocess.run(show, check=False, capture_output=True, text=True)
  return dict(re.findall(r"(\w+)=(\S*)", done.stdout))
