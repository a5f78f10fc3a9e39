"""What a command does: runs, lists, or reports."""

from absl import flags
from rich.console import Console

from qnn_jax import experiment as experiments
from qnn_jax.command.flags import Command
from qnn_jax.errors import InputError
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import launch, progress, status
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.store import Store


def do(experiment: Experiment, command: Command) -> str | int:
  """Returns the exit status, or the sentence that says what went wrong."""
  console, sweep = Console(), command.sweep
  print_line = lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)
  if sum((flags.FLAGS.list, flags.FLAGS.dry_run, flags.FLAGS.report_only)) > 1:
    raise InputError("--list, --dry_run and --report_only exclude each other; give one of them")
  store = Store(sweep.workdir, experiment.name, sweep.task.axis_names)
  if flags.FLAGS.list:
    for line in status.list_lines(status.states(sweep, store.read())):
      print_line(line)
    return 0
  if flags.FLAGS.dry_run:
    for setting in command.settings:
      experiment.check_data(setting.config)
    for line in status.dry_run_lines(sweep, launch.plan(sweep, store.read())):
      print_line(line)
    return 0
  if flags.FLAGS.report_only:
    if not sweep.workdir.is_dir():
      raise InputError(f"there is no workdir {sweep.workdir} to report on; name one with --workdir")
    store.read()
    if not any(point in store.found for point in sweep.points):
      raise InputError(f"{sweep.workdir} holds no finished run of this configuration")
    _report(experiment, command, store, print_line, anew=True)
    return 0
  store.read()  # first: a workdir of an older format is left as it is
  there = sweep.workdir.exists()
  new = experiments.open_workdir(sweep.workdir, command.config, sweep.task)
  try:
    todo = launch.plan(sweep, store)
    for setting in command.settings if todo.groups else ():
      experiment.check_data(setting.config)
    watch = experiment.watch(command.config) if experiment.watch else None
    for line in watch(_rows_found(sweep, store)) if watch else ():
      print_line(line)
    failed = progress.show(launch.run(sweep, store, todo), todo, console, watch)
  except InputError:
    if new:  # so that the corrected command may have the same workdir
      experiments.release(sweep.workdir, made=not there)
    raise
  _report(experiment, command, store.read(), print_line, anew=False)
  if failed:
    groups = "1 group" if len(failed) == 1 else f"{len(failed)} groups"
    return (
      f"error: {groups} failed, the first with {failed[0].why} (see {sweep.workdir}/failures); "
      "all else is on disk, and the same command tries again"
    )
  return 0


def _rows_found(sweep, store):
  known = ((point, store.found.get(point)) for point in sweep.points)
  return [Row(point, row.metrics, row.status) for point, row in known if row is not None]


def _report(experiment, command, store, print_line, *, anew):
  if not any(point in store.found for point in command.sweep.points):
    return
  workdir = command.sweep.workdir
  written, said = experiments.write_report(experiment, command.settings, store, workdir, anew=anew)
  print_line(said)
  print_line(f"written: {workdir}/{', '.join(written)}")
