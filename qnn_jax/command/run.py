"""What a command does: runs, submits, lists, or reports."""

import hashlib
import pathlib
import signal
import sys
from collections.abc import Callable

from absl import flags
from rich.console import Console

from qnn_jax import experiment as experiments
from qnn_jax.command import cluster
from qnn_jax.command.flags import Command
from qnn_jax.command.job import Job
from qnn_jax.errors import InputError
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import compiling, failures, launch, progress, status
from qnn_jax.sweeps.plan import is_done
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.store import Store

# Flags that replace the run.
_INSTEAD = ("list", "dry_run", "report_only", "cancel")

Say = Callable[[str], None]


def do(experiment: Experiment, command: Command, job: Job | None = None) -> str | int:
  """Returns the exit status, or the sentence that says what went wrong.

  Args:
    experiment, command: what to do.
    job: the job of --distributed. Only its process 0 prints and reports, when all have finished.
  """
  console, sweep = _Console(quiet=job is not None and not job.reports), command.sweep
  say = lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)
  asked = [name for name in _INSTEAD if flags.FLAGS[name].value]
  if len(asked) > 1:
    names = f"--{', --'.join(_INSTEAD[:-1])} and --{_INSTEAD[-1]}"
    raise InputError(f"{names} exclude each other; give one of them")
  if sweep.retry_failed and asked and asked != ["dry_run"]:
    raise InputError(f"--retry_failed runs what has failed; leave out --{asked[0]}")
  store = Store(sweep.workdir, experiment.name, sweep.task.axis_names, sweep.task.possible)
  if asked == ["cancel"]:
    say(cluster.cancel(sweep.workdir))
    return 0
  if asked == ["list"]:
    standing, of_queue = cluster.queue(sweep.workdir)
    lines = status.list_lines(status.states(sweep, store.read(), standing)) + of_queue
  elif asked == ["dry_run"]:
    for setting in command.settings:
      experiment.check_data(setting.config)
    lines = status.dry_run_lines(sweep, launch.plan(sweep, store.read()))
  elif asked == ["report_only"]:
    return _only_report(experiment, command, store, say)
  else:
    return _run(experiment, command, store, console, say, job)
  for line in lines:
    say(line)
  return 0


def _only_report(experiment, command, store, say):
  workdir = command.sweep.workdir
  if not workdir.is_dir():
    raise InputError(f"there is no workdir {workdir} to report on; name one with --workdir")
  store.read()
  if not any(point in store.found for point in command.sweep.points):
    raise InputError(f"{workdir} holds no finished run of this configuration")
  _report(experiment, command, store, say, anew=True)
  return 0


def _run(experiment, command, store, console, say, job):
  sweep = command.sweep
  store.read()  # first: a workdir of an older format is left as it is
  made = [path for path in (sweep.workdir, *sweep.workdir.parents) if not path.exists()]
  if job and not job.reports:
    job.check(sweep.workdir, _asked_for(sweep))  # when process 0 has made it
  new = experiments.open_workdir(sweep.workdir, command.config, sweep.task)
  try:
    if job and job.reports:
      job.check(sweep.workdir, _asked_for(sweep))
    todo = launch.plan(sweep, store)
    if sweep.retry_failed and not todo.groups:
      say(status.nothing_to_retry(sweep))
    for setting in command.settings if todo.groups else ():
      experiment.check_data(setting.config)
    if command.slurm and todo.groups:
      cluster.submit(sweep, store, command.slurm, say)
      return 0
    if todo.groups and flags.FLAGS.compilation_cache != "":
      cache = flags.FLAGS.compilation_cache or sweep.workdir / "compilation_cache"
      compiling.keep_programs(pathlib.Path(cache))
    watch = experiment.watch(command.config) if experiment.watch else None
    for line in watch(_rows_found(sweep, store)) if watch else ():
      say(line)
    swept = list(command.settings[0].swept)
    failed = progress.show(launch.run(sweep, store, todo), todo, console, watch, swept)
  except Exception:
    if new:  # so that the corrected command may use the same workdir, unless something has run
      experiments.release(sweep.workdir, made)
    raise
  why = _failure(sweep, failed)
  if job:
    faults = job.end(why, say)
    if not job.reports:
      return f"error: {why}" if why else 0
    why = "; ".join(faults) or None
  store.read()
  if sweep.units is None or all(is_done(sweep, store, point) for point in sweep.points):
    _report(experiment, command, store, say, anew=False)
    if diverged := sum(row.status == "diverged" for row in _rows_found(sweep, store)):
      say(f"diverged: {diverged:,} of {_runs(len(sweep.points))}; see the column status")
  else:
    say("this task's part is on disk; the task that finishes the sweep writes the report")
  return f"error: {why}" if why else 0


def _asked_for(sweep):
  """A checksum of the runs of all slices, and of everything that changes their results."""
  texts = [str(sweep.keep_params), *(point.text() for point in sweep.points)]
  return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _failure(sweep, failed):
  if not failed:
    return None
  groups = "1 group failed" if len(failed) == 1 else f"{len(failed):,} groups failed, the first"
  return (
    f"{groups}: {failed[0].why} (see {sweep.workdir}/failures); "
    "all else is on disk; the same command with --retry_failed tries these again, and nothing else"
  )


class _Console(Console):
  """Ends the program quietly, with the usual exit status, if the reader of a pipe has ended."""

  def on_broken_pipe(self):
    try:
      super().on_broken_pipe()
    except SystemExit:
      sys.exit(128 + signal.SIGPIPE)


def _runs(count):
  return "1 run" if count == 1 else f"{count:,} runs"


def _rows_found(sweep, store):
  known = ((point, store.found.get(point)) for point in sweep.points)
  return [Row(point, row.metrics, row.status) for point, row in known if row is not None]


def _report(experiment, command, store, say, *, anew):
  workdir = command.sweep.workdir
  if not any(point in store.found for point in command.sweep.points):
    if failures.read(workdir):
      page = experiments.write_failures(experiment, command.settings, store, workdir)
      say(f"written: {workdir}/{page}")
    return
  written, said = experiments.write_report(experiment, command.settings, store, workdir, anew=anew)
  say(said)
  if written:
    say(f"written: {workdir}/{', '.join(written)}")
  sweep = command.sweep
  if sweep.units is None and all(is_done(sweep, store, point) for point in sweep.points):
    cluster.tidy(sweep)
