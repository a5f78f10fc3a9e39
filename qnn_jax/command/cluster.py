"""The flags for a Slurm cluster: `--launch=slurm`, and the queue in `--list` and `--cancel`."""

import contextlib
import pathlib
import re
from collections.abc import Callable, Sequence

from absl import flags

from qnn_jax.errors import InputError
from qnn_jax.sweeps import signals, slurm, submissions
from qnn_jax.sweeps.leases import Leases, unit_name
from qnn_jax.sweeps.plan import Sweep, plan
from qnn_jax.sweeps.slurm import Options
from qnn_jax.sweeps.store import Store

LAUNCHERS = ("here", "slurm")

_OF_SLURM = (
  "slurm_partition", "slurm_account", "slurm_time", "slurm_gpus", "slurm_cpus", "slurm_memory",
  "slurm_constraint", "slurm_option", "slurm_at_once", "slurm_groups",
)  # fmt: skip
FLAGS = ("launch", "cancel", "units", *_OF_SLURM)

# The options of sbatch that have a flag here, and those that the program itself must set.
_FLAG_OF = {
  "partition": "slurm_partition", "account": "slurm_account", "time": "slurm_time",
  "gpus": "slurm_gpus", "gpus-per-node": "slurm_gpus", "cpus-per-task": "slurm_cpus", "mem": "slurm_memory",
  "constraint": "slurm_constraint",
}  # fmt: skip
_OURS = {
  "array", "chdir", "error", "input", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output",
  "parsable", "signal", "test-only", "wait", "wrap",
}  # fmt: skip

_given: list[str] = []


def remember(arguments: Sequence[str]) -> None:
  """Keeps the original command line, because every task of the job array repeats it."""
  _given[:] = arguments


def define() -> None:
  """Defines the flags."""
  flags.DEFINE_string("launch", "here", "Where to run: 'here', or 'slurm' for one Slurm job array.")
  flags.DEFINE_bool("cancel", False, "Cancel all Slurm tasks of this workdir, queued and running.")
  flags.DEFINE_string(
    "units",
    None,
    "FILE:INDEX: the groups of one task of --launch=slurm, which sets this flag itself.",
  )
  flags.DEFINE_string("slurm_partition", None, "The partition, as sbatch's --partition.")
  flags.DEFINE_string("slurm_account", None, "The account, as sbatch's --account.")
  flags.DEFINE_string(
    "slurm_time",
    None,
    "Time limit of a task, minutes or D-HH:MM:SS. At the limit a task saves and is requeued.",
  )
  flags.DEFINE_integer("slurm_gpus", None, "GPUs for each task.")
  flags.DEFINE_integer("slurm_cpus", None, "CPUs for each task.")
  flags.DEFINE_string("slurm_memory", None, "Memory of each task, such as 8G.")
  flags.DEFINE_string("slurm_constraint", None, "Features of the nodes, as sbatch's --constraint.")
  flags.DEFINE_multi_string("slurm_option", [], "KEY=VALUE: a further option of sbatch.")
  flags.DEFINE_integer(
    "slurm_at_once", None, "The number of tasks that may run at once; by default all."
  )
  flags.DEFINE_integer(
    "slurm_groups",
    None,
    "Groups in each task; by default so many that there are --slurm_at_once tasks, or ten.",
  )


def units() -> frozenset[str] | None:
  """The units that --units names; None where it is not given."""
  named = flags.FLAGS.units
  for other in ("slice", "distributed"):
    if named is not None and flags.FLAGS[other].value:
      raise InputError(f"--units and --{other} exclude each other; give one of them")
  return None if named is None else submissions.units(named)


def options() -> Options | None:
  """The Slurm options in the flags; None without --launch=slurm.

  Raises:
    InputError: a value is wrong, or a flag is given that this launcher does not use.
  """
  values = flags.FLAGS
  if values.launch not in LAUNCHERS:
    raise InputError(f"--launch must be one of {', '.join(LAUNCHERS)}, got '{values.launch}'")
  if values.units is not None:
    return None
  if values.launch != "slurm":
    given = [name for name in _OF_SLURM if values[name].present]
    if given:
      raise InputError(f"--{given[0]} is for Slurm; give --launch=slurm with it")
    return None
  if values.slice is not None:
    raise InputError("--slice is for other schedulers; --launch=slurm divides the work itself")
  memory = _text("slurm_memory")
  if memory is not None and not re.fullmatch(r"\d+[KMGT]?", memory):
    raise InputError(f"--slurm_memory must be a number with K, M, G or T, such as 8G, got {memory}")
  time = _text("slurm_time")
  return Options(
    partition=_text("slurm_partition"),
    account=_text("slurm_account"),
    constraint=_text("slurm_constraint"),
    memory=memory,
    time=time,
    seconds=None if time is None else seconds_of(time),
    gpus=_positive("slurm_gpus"),
    cpus=_positive("slurm_cpus"),
    more=dict(map(_option, values.slurm_option)),
    at_once=_positive("slurm_at_once"),
    groups=_positive("slurm_groups"),
  )


def seconds_of(time: str) -> int:
  """The seconds of a time limit in sbatch's format: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

  Raises:
    InputError: it has another format, or is 0.
  """
  match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
  parts = [int(part) for part in match.groups()[1:] if part is not None] if match else []
  seconds = 0
  if match and match.group(1) is not None:
    for part, of in zip(parts, (3600, 60, 1)):
      seconds += part * of
    seconds += 86400 * int(match.group(1))
  elif match:
    of_parts = (3600, 60, 1) if len(parts) == 3 else (60, 1)
    seconds = sum(part * of for part, of in zip(parts, of_parts))
  if not seconds:
    raise InputError(
      f"--slurm_time must be minutes, or D-HH:MM:SS as sbatch takes it, such as 90 or 0-01:30:00, got {time}"
    )
  return seconds


def submit(sweep: Sweep, store: Store, asked: Options, say: Callable[[str], None]) -> None:
  """Submits what is neither on disk nor in the queue, and says so; one launcher at a time can submit.

  Raises:
    InputError: the job cannot be submitted; nothing is left of it.
    signals.Stopped: a signal came meanwhile; the job is submitted nevertheless.
  """
  slurm.check(sweep.workdir)
  wait = lambda: say("another launcher is submitting; this one waits for it")
  with submissions.claimed(sweep.workdir, sweep.lease_seconds, wait), signals.finishing():
    slurm.drop_unfinished(sweep.workdir)
    # The queue first: the results of what has left it are on disk by then.
    there = slurm.standing(slurm.queue(sweep.workdir))
    missing = slurm.missing_units(sweep, plan(sweep, store.read()))
    new = [unit for unit in missing if unit_name(unit.points) not in there]
    in_queue = len(missing) - len(new)
    if not missing:
      say("nothing to submit: all is on disk; --report_only makes the report")
    elif not new:
      what = f"all that is missing, {_groups(in_queue)}, is queued or running in Slurm"
      say(f"nothing to submit: {what}")
    else:
      command = slurm.python_command([*without_cluster(_given), "--launch=here"])
      made = slurm.submit(sweep, asked, command, new)
      tasks = "1 task" if len(made.tasks) == 1 else f"an array of {len(made.tasks)} tasks"
      others = f"; {_groups(in_queue)} more are queued or running already" if in_queue else ""
      say(
        f"submitted {_groups(len(new))} to Slurm as job {made.job}, {tasks}{others}; --list shows their "
        f"state, --cancel ends them, and their output is in {sweep.workdir}/slurm/{made.name}"
      )


def queue(workdir: pathlib.Path) -> tuple[dict[str, str], list[str]]:
  """(unit -> 'queued' or 'running', lines about the queue): both empty if nothing was submitted."""
  is_submitting = lambda: submissions.CLAIM in Leases(workdir).live()
  at_it = is_submitting()
  try:
    tasks = slurm.queue(workdir)
  except InputError as error:
    return {}, [f"the queue is not shown: {error}"]
  at_it = at_it or is_submitting()
  whole = [task for task in tasks if task.submission.job or at_it]
  begun = dict.fromkeys(t.job for t in tasks if t not in whole and (t.is_queued or t.is_running))
  return slurm.standing(whole), slurm.queue_lines(tasks) + [
    f"the launcher of job {job} was killed, and its tasks cannot run; --launch=slurm submits them again"
    for job in begun
  ]


def cancel(workdir: pathlib.Path) -> str:
  """Cancels all Slurm tasks of the workdir; returns the line to print."""
  queued, running = slurm.cancel(workdir)
  if not queued + running:
    return f"nothing to cancel: Slurm has no task of {workdir}"
  return (
    f"cancelled: {queued} queued and {running} running tasks; what is finished stays, and --launch=slurm "
    "submits the rest again"
  )


def tidy(sweep: Sweep) -> None:
  """Removes the files that the jobs of a finished sweep needed, if Slurm says that the jobs have ended."""
  with contextlib.suppress(InputError, OSError):  # such as a read-only disk
    if any(not submission.job for submission in submissions.read(sweep.workdir)):
      with submissions.claimed(sweep.workdir, sweep.lease_seconds, lambda: None):
        slurm.drop_unfinished(sweep.workdir)
    tasks = slurm.queue(sweep.workdir)
    at_work = (t for t in tasks if t.is_queued or t.is_running or t.state == "COMPLETING")
    submissions.tidy(sweep.workdir, {task.submission.name for task in at_work})


def without_cluster(arguments: Sequence[str]) -> list[str]:
  """A command line without the flags for Slurm."""
  rest, waiting = [], False
  for argument in arguments:
    match = re.fullmatch(r"--?(launch|slurm_\w+)(=.*)?", argument, re.DOTALL)
    if waiting:
      waiting = False
    elif match:
      waiting = match.group(2) is None
    else:
      rest.append(argument)
  return rest


def _option(text):
  key, equals, value = text.partition("=")
  key = key.strip().removeprefix("--").replace("_", "-")
  if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or (equals and not value.strip()):
    raise InputError(f"--slurm_option must be KEY=VALUE, such as qos=high, got {text!r}")
  if "clusters".startswith(key):  # sbatch accepts any abbreviation
    raise InputError(
      f"--slurm_option={key} cannot be set: --list and --cancel look at this machine's cluster alone; run the "
      "command on a machine of the other one"
    )
  if key in _FLAG_OF:
    raise InputError(f"--slurm_option={key} has a flag of its own; use --{_FLAG_OF[key]}")
  if key in _OURS:
    raise InputError(f"--slurm_option={key} cannot be set; the program sets it itself")
  return key, _line(f"slurm_option={key}", value) if equals else True


def _text(name):
  value = flags.FLAGS[name].value
  return None if value is None else _line(name, value)


def _line(name, value):
  if not value.strip() or not value.isprintable():
    raise InputError(f"--{name} must be one line of text, got {value!r}")
  return value.strip()


def _positive(name):
  value = flags.FLAGS[name].value
  if value is not None and value < 1:
    raise InputError(f"--{name} must be at least 1, got {value}")
  return value


def _groups(count):
  return "1 group" if count == 1 else f"{count:,} groups"
