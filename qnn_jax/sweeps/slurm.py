"""Slurm: submits the missing runs as one job array with submitit, reads the queue, and cancels tasks."""

import collections
import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from qnn_jax import _extras
from qnn_jax.errors import InputError
from qnn_jax.sweeps import slurm_task, submissions
from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.plan import Plan, Sweep
from qnn_jax.sweeps.points import Group, in_slices
from qnn_jax.sweeps.submissions import Submission

_TASKS = 10  # in an array, unless the options say otherwise

# Slurm's names for the states of a job that waits in the queue, and of one that runs. A COMPLETING job is
# neither: the runs that it has not finished count as missing.
_QUEUED = {
  "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD",
}  # fmt: skip
_RUNNING = {"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"}


@dataclasses.dataclass(frozen=True)
class Options:
  """The options of a Slurm job; None leaves an option to the cluster.

  Attributes:
    partition, account, constraint, memory: as in sbatch.
    time: the time limit of a task, in the format of sbatch.
    seconds: the same limit as a number.
    gpus, cpus: their number for each task.
    more: further options of sbatch; True for those without a value.
    at_once: how many tasks may run at the same time.
    groups: how many groups each task has.
  """

  partition: str | None = None
  account: str | None = None
  constraint: str | None = None
  memory: str | None = None
  time: str | None = None
  seconds: int | None = None
  gpus: int | None = None
  cpus: int | None = None
  more: Mapping[str, str | bool] = dataclasses.field(default_factory=dict)
  at_once: int | None = None
  groups: int | None = None


class Queued(NamedTuple):
  """A task in Slurm's queue.

  Attributes:
    submission: the submission that the task belongs to.
    job: the number of the array.
    number: the index of the task in the array.
    state: the name of its state in Slurm, such as PENDING.
    reason: why it waits.
  """

  submission: Submission
  job: str
  number: int
  state: str
  reason: str

  @property
  def is_queued(self) -> bool:
    """Whether it waits in the queue."""
    return self.state in _QUEUED

  @property
  def is_running(self) -> bool:
    """Whether it runs."""
    return self.state in _RUNNING

  @property
  def units(self) -> Sequence[str]:
    """The names of its units."""
    return self.submission.tasks[self.number]


def missing_units(sweep: Sweep, todo: Plan) -> list[Group]:
  """The smallest groups that still have work to do; they are the same in every launcher of the configuration."""
  missing = {point for group in todo.groups for point in group.points}
  finest = sweep.task.groups(sweep.points, len(sweep.points))
  return [group for group in finest if not missing.isdisjoint(group.points)]


def check(workdir: pathlib.Path) -> None:
  """Checks that jobs of this workdir can be submitted on this machine.

  Raises:
    InputError: there is no Slurm, or the workdir's path has characters that Slurm would replace.
    MissingExtra: submitit is not installed.
  """
  _extras.need("--launch=slurm", "submitit", extra="slurm")
  _need("sbatch", "--launch=slurm")
  place = str(workdir.resolve())
  if "%" in place or "\\" in place or not place.isprintable():
    raise InputError(
      f"--launch=slurm needs a workdir without %, \\ and line breaks in its path, which Slurm would replace; "
      f"name another --workdir than {place!r}"
    )


def drop_unfinished(workdir: pathlib.Path) -> None:
  """Cancels and removes submissions that a killed launcher left incomplete. The caller must hold the claim.

  Such a submission has no job number. If Slurm has its job nevertheless, the job is cancelled.

  Raises:
    InputError: Slurm does not answer, or refuses.
  """
  left = [submission for submission in submissions.read(workdir) if not submission.job]
  if left:
    _cancel(task for task in queue(workdir) if not task.submission.job)
  for submission in left:
    submissions.remove(workdir, submission.name)


def submit(
  sweep: Sweep, options: Options, command: Sequence[str], units: Sequence[Group]
) -> Submission:
  """Submits units to Slurm, as tasks of about equal cost in one array, and returns at once.

  Args:
    sweep: the sweep of the units.
    options: of the job.
    command: the command line of a task. `--units=FILE:INDEX` is added to it, and it runs in the current directory.
    units: from `missing_units`, at least one.

  Raises:
    InputError: Slurm rejects the job; nothing is left of the submission.
  """
  count = options.at_once or _TASKS
  if options.groups is not None:
    count = -(-len(units) // options.groups)
  tasks = [[unit_name(unit.points) for unit in of_task] for of_task in in_slices(units, count)]
  name = f"{sweep.task.name}-{uuid.uuid4().hex[:8]}"
  given = {key: value for key, value in dataclasses.asdict(options).items() if value}
  place = str(sweep.workdir.resolve())
  submission = Submission(name, tasks, list(command), given, place)
  path = submissions.write(sweep.workdir, submission)
  try:
    job = _sbatch(path.absolute(), options, submission)
  except BaseException:
    with contextlib.suppress(InputError):
      drop_unfinished(sweep.workdir)
    submissions.remove(sweep.workdir, name)
    raise
  submission = dataclasses.replace(submission, job=job)
  submissions.write(sweep.workdir, submission)
  return submission


def _sbatch(path, options, submission):
  import cloudpickle
  import submitit

  # So the task does not need the modules that this program has imported.
  cloudpickle.register_pickle_by_value(slurm_task)
  folder = path.with_suffix("")
  folder.mkdir()
  executor = submitit.SlurmExecutor(folder)
  executor.update_parameters(**_parameters(options, submission))
  place = os.getcwd(), str(path.parents[1])
  each = [
    slurm_task.ArrayTask(
      [*submission.command, f"--units={path}:{i}"], *place, f"{folder}/fruitless-{i}"
    )
    for i in range(len(submission.tasks))
  ]
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):  # submitit prints the reason there too
      jobs = executor.submit_array(each)
  except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
    raise InputError(f"Slurm does not take the job: {_sentence(str(error))}") from error
  return jobs[0].job_id.partition("_")[0]


def _parameters(options, submission):
  # Slurm sends the signal so many seconds before the time limit, or half a minute earlier; submitit's default is 90.
  notice = 90 if options.seconds is None else max(5, min(90, options.seconds // 6))
  cpus = [f"--cpus-per-task={options.cpus}"] if options.cpus else []  # srun needs the option again
  return {
    "job_name": submission.name,
    "partition": options.partition,
    "account": options.account,
    "constraint": options.constraint,
    "mem": options.memory,
    "time": options.time,
    "gpus_per_node": options.gpus,
    "cpus_per_task": options.cpus,
    "array_parallelism": options.at_once or len(submission.tasks),
    "wckey": None,
    "srun_args": cpus,
    # The command handles SIGUSR1; submitit's default, SIGUSR2, would kill it.
    "additional_parameters": {"signal": f"USR1@{notice}", "requeue": True, **options.more},
  }


def queue(workdir: pathlib.Path) -> list[Queued]:
  """The tasks of this workdir's submissions that Slurm knows, including those that ended a short while ago.

  Raises:
    InputError: Slurm does not answer.
  """
  known = {submission.name: submission for submission in submissions.read(workdir)}
  if not known:
    return []
  _need("squeue", "reading the queue")
  form = "%j|%F|%K|%T|%r"
  lines = _call("squeue", "-h", "-r", "--states=all", f"--name={','.join(known)}", "-o", form)
  found = []
  for line in lines.splitlines():
    name, job, index, state, reason = line.split("|", 4)
    number = int(index) if index.isdigit() else 0  # a single task is no array
    if name in known and number < len(known[name].tasks):
      found.append(Queued(known[name], job, number, state, reason))
  return found


def standing(tasks: Iterable[Queued]) -> dict[str, str]:
  """unit -> 'queued' or 'running', for units in one of these states."""
  found: dict[str, str] = {}
  for task in tasks:
    if task.is_queued or task.is_running:
      found |= dict.fromkeys(task.units, "running" if task.is_running else "queued")
  return found


def queue_lines(tasks: Iterable[Queued]) -> list[str]:
  """One line for each job: how many of its tasks are in which state."""
  of_job: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
  for task in tasks:
    why = f" ({task.reason})" if task.is_queued and task.reason != "None" else ""
    of_job[task.job][f"{task.state.lower()}{why}"] += 1
  return [
    f"Slurm's job {job}: " + ", ".join(f"{count} {state}" for state, count in states.items())
    for job, states in of_job.items()
  ]


def cancel(workdir: pathlib.Path) -> tuple[int, int]:
  """Cancels all tasks of this workdir's submissions; returns how many were queued and how many were running.

  Raises:
    InputError: Slurm does not answer, or refuses.
  """
  return _cancel(queue(workdir))


def _cancel(tasks):
  mine = [task for task in tasks if task.is_queued or task.is_running]
  if mine:
    _need("scancel", "--cancel")
    _call("scancel", *sorted({task.job for task in mine}))
  return sum(task.is_queued for task in mine), sum(task.is_running for task in mine)


def _need(program, what):
  if shutil.which(program) is None:
    raise InputError(f"{what} needs Slurm's {program}, which is not on this machine's PATH")


def _call(*command):
  try:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
  except subprocess.TimeoutExpired as error:
    raise InputError(f"Slurm's {command[0]} gave no answer for two minutes") from error
  if done.returncode:
    raise InputError(f"Slurm's {command[0]} failed: {_sentence(done.stderr)}")
  return done.stdout


def _sentence(text):
  """The error message of a Slurm program in one line, without the program's name."""
  lines = [line.partition("error: ")[2] or line for line in text.strip().splitlines()]
  return "; ".join(dict.fromkeys(line.strip() for line in lines)) or "it gives no reason"


def python_command(arguments: Sequence[str]) -> list[str]:
  """The running program's command line, with these arguments."""
  spec = sys.modules["__main__"].__spec__
  if spec is None:
    return [sys.executable, os.path.abspath(sys.argv[0]), *arguments]
  return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *arguments]
