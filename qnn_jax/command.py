"""The command line that every experiment has: its __main__.py calls `main`.

python -m experiments.NAME --config=configs/NAME.py[:PRESET] --workdir=DIR [--config.FIELD=VALUE]
  [--sweep.FIELD=VALUE,VALUE | --sweep=NAME] [--slice=I/N] [--workers=N]
  [--dry_run | --list | --report_only]
"""

import gc
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from qnn_jax import _extras
from qnn_jax import experiment as experiments

_extras.need("qnn_jax.command", "absl", "ml_collections", "rich")

import ml_collections  # noqa: E402
from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402
from rich.console import Console  # noqa: E402

from qnn_jax.errors import InputError, WorkerDied  # noqa: E402
from qnn_jax.experiment import Experiment  # noqa: E402
from qnn_jax.sweeps import configs, launch, progress, settings, status  # noqa: E402
from qnn_jax.sweeps.launch import Sweep  # noqa: E402
from qnn_jax.sweeps.points import Point, Row  # noqa: E402
from qnn_jax.sweeps.settings import Setting  # noqa: E402
from qnn_jax.sweeps.store import Store  # noqa: E402


class _Command(NamedTuple):
  """A command line, parsed and checked."""

  config: ml_collections.ConfigDict
  settings: list[Setting]
  sweep: Sweep


def main(experiment: Experiment) -> None:
  """Parses the flags and does what they ask; every mistake ends the program with one sentence."""
  # What was imported lives on; without it the collector's rounds over tens of thousands of rows are short.
  gc.freeze()
  swept: dict[str, str] = {}
  named, arguments = "", sys.argv
  with _mistakes_in_one_sentence():
    arguments, swept = settings.take_flags(sys.argv)
    arguments, named = _take_config(arguments, str(experiment.config_file))
    config = configs.load(named, experiment.config_file)
    if experiment.config_file.is_file():
      configs.check_types(config, configs.load(str(experiment.config_file), experiment.config_file))
    like = ml_collections.ConfigDict(config.to_dict())
    sys.argv = arguments  # where a config flag looks for --config.FIELD
    config_flags.DEFINE_config_dict(
      "config",
      config,
      f"The configuration, FILE or FILE:PRESET; by default {experiment.config_file}.",
    )
  preset = named.partition(":")[2]
  name = experiment.name
  default = pathlib.Path(f"results/{name}-{preset}" if preset else f"results/{name}")
  _define_flags(default)
  for shared in _FLAGS:  # --help shows what the program itself has defined
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[shared])

  def parsed_main(argv: Sequence[str]) -> None:
    # absl would show every library's INFO lines; --verbosity=0 brings them back.
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    with _mistakes_in_one_sentence():
      if len(argv) > 1:
        raise InputError(f"unexpected argument '{argv[1]}'; options are written --name=value")
      configs.check_types(config, like)  # of tuples, ml_collections does not look at the elements
      command = _parsed(experiment, config, named, swept, default)
      sys.exit(_do(experiment, command))

  app.run(parsed_main, flags_parser=lambda argv: _parse_flags(arguments))


_FLAGS = (
  "config", "workdir", "workers", "sweep", "slice", "lease_seconds", "dry_run", "list", "report_only",
)  # fmt: skip


def _define_flags(default):
  flags.DEFINE_string("workdir", None, f"Where results go; by default {default}.")
  flags.DEFINE_integer("workers", None, "Worker processes; by default what is fastest here.")
  flags.DEFINE_string(
    "sweep", None, "A named sweep: NAME of a function sweep_NAME beside the config. "
    "--sweep.FIELD=VALUE,VALUE sweeps over any field of the config."
  )  # fmt: skip
  flags.DEFINE_string(
    "slice", None, "I/N: run the I-th, from 0, of N disjoint, equally heavy parts."
  )
  flags.DEFINE_float(
    "lease_seconds", 60.0, "How long another launcher must give no sign before this one takes over."
  )
  flags.DEFINE_bool("dry_run", False, "Say what would run, in how many groups, and about how long.")
  flags.DEFINE_bool("list", False, "List every group, what it stands at, with counts and times.")
  flags.DEFINE_bool("report_only", False, "Make the report of what is in the workdir; run nothing.")


def _parsed(experiment, config, named, swept, default) -> _Command:
  task, values = experiment.task, flags.FLAGS
  changes: list[dict] = [{}]
  beside = named.partition(":")[0]
  path = experiment.config_file if beside.endswith(".json") else pathlib.Path(beside)
  if values.sweep is not None:
    changes = configs.named_sweep(path, values.sweep)
  fixed = ("keep_params",)
  of_sweep = settings.combine(config, swept, changes, fixed)
  points: dict[Point, None] = {}
  for setting in of_sweep:
    experiment.check(setting.config)
    points |= dict.fromkeys(task.points_of(setting.config))
  if not points:
    raise InputError("the configuration asks for no run at all; give every field a value")
  if not 0 < values.lease_seconds < 1e6:
    raise InputError(
      f"--lease_seconds must be positive and at most a million, got {values.lease_seconds}"
    )
  sweep = Sweep(
    task,
    list(points),
    pathlib.Path(values.workdir or default),
    keep_params=bool(config.get("keep_params", False)),
    part=_slice(values.slice),
    workers=values.workers,
    lease_seconds=values.lease_seconds,
    config_file=path.resolve(),
  )
  return _Command(config, of_sweep, sweep)


def _do(experiment: Experiment, command: _Command) -> str | int:
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


def _take_config(arguments, default):
  """(the other arguments, the last --config=FILE or the default)."""
  rest, named, waiting = [], default, False
  for argument in arguments:
    match = re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL)
    if waiting:
      named, waiting = argument, False
    elif match and match.group(1) is None:
      waiting = True
    elif match:
      named = match.group(1)
    else:
      rest.append(argument)
  if waiting or not named:
    raise InputError("--config names no file; write --config=FILE.py or --config=FILE.py:PRESET")
  return rest, named


def _slice(text: str | None) -> tuple[int, int] | None:
  if text is None:
    return None
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or not int(match.group(1)) < int(match.group(2)):
    raise InputError(f"--slice must be I/N with I from 0 to N - 1, such as 0/4, got {text}")
  return int(match.group(1)), int(match.group(2))


def _parse_flags(arguments):
  with _mistakes_in_one_sentence():
    return flags.FLAGS(arguments)


class _mistakes_in_one_sentence:
  """Ends the program with one sentence where something that is not a bug went wrong."""

  def __enter__(self):
    return self

  def __exit__(self, kind, error, traceback):
    if isinstance(error, (InputError, WorkerDied)):
      sys.exit(f"error: {error}")
    if isinstance(error, OSError) and error.strerror:
      where = f"{error.filename}: " if error.filename else ""
      sys.exit(f"error: {where}{error.strerror}; all that is on disk is as it was")
    if isinstance(error, KeyboardInterrupt):
      sys.exit("interrupted; the same command carries on from what is finished")
    if isinstance(error, flags.Error):
      # What ml_collections raised comes as the text of a traceback, its last line 'module.Error: why'.
      last_line = str(error).strip().splitlines()[-1]
      sys.exit(f"error: {re.sub(r'^[A-Za-z_.]+(Error|Exception): ', '', last_line)}")
    frames = _modules_of(traceback)
    if "ml_collections" not in frames:
      return False
    while error.args and isinstance(error.args[0], Exception):  # as ml_collections nests them
      error = error.args[0]
    if isinstance(error, (AttributeError, KeyError)):
      key = str(error.args[0] if error.args else "").partition("\n")[0].strip("\"'")
      sys.exit(f"error: the configuration has no field '{key}'; see the config file for its fields")
    if isinstance(error, (TypeError, ValueError)):
      why = " ".join(str(error).split())
      sys.exit(f"error: {why}; see the config file for the fields and their types")
    return False


def _modules_of(traceback):
  """The top-level packages whose code the traceback passes."""
  frames = []
  while traceback is not None:
    frames.append(traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0])
    traceback = traceback.tb_next
  return frames
