"""Defines and checks the flags of the command line."""

import pathlib
import re
import sys
from typing import NamedTuple

import jax
import ml_collections
from absl import flags

from qnn_jax.command import cluster, distributed
from qnn_jax.errors import InputError
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import configs, settings
from qnn_jax.sweeps.plan import SILENCE_SECONDS, Sweep
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.settings import Setting
from qnn_jax.sweeps.slurm import Options
from qnn_jax.training import devices, sharded


class Command(NamedTuple):
  """A command line, parsed and checked."""

  config: ml_collections.ConfigDict
  settings: list[Setting]
  sweep: Sweep
  slurm: Options | None = None


_FLAGS = (
  "config", "workdir", "workers", "sweep", "slice", "lease_seconds", "silence_seconds", "retry_failed",
  "dry_run", "list", "report_only",
  "net_parts", "compilation_cache", *distributed.FLAGS,
  *cluster.FLAGS,
)  # fmt: skip


def define(default: pathlib.Path) -> None:
  """Defines all flags but --config; `default` is the workdir where none is named."""
  flags.DEFINE_string("workdir", None, f"The folder for the results; by default {default}.")
  flags.DEFINE_integer(
    "workers",
    None,
    "The number of worker processes; by default the fastest number for this machine.",
  )
  flags.DEFINE_string(
    "sweep", None, "A named sweep: NAME stands for the function sweep_NAME in the config file. "
    "--sweep.FIELD=VALUE,VALUE sweeps over any field of the config."
  )  # fmt: skip
  flags.DEFINE_string(
    "slice",
    None,
    "I/N: divide the runs into N parts of equal cost, and run part I (counted from 0).",
  )
  flags.DEFINE_float(
    "lease_seconds",
    60.0,
    "Take over a group if its launcher has given no sign of life for so many seconds.",
  )
  flags.DEFINE_float(
    "silence_seconds", None, "Kill a worker process that has given no sign of life for so many seconds, and "
    f"start it again; by default {SILENCE_SECONDS:,.0f}. If given, a single worker is a separate process "
    "too, except on an accelerator, which only this process can use."
  )  # fmt: skip
  flags.DEFINE_bool("retry_failed", False, "Run only the groups that have failed before.")
  flags.DEFINE_bool(
    "dry_run", False, "Print what would run, in how many groups, and about how long."
  )
  flags.DEFINE_bool("list", False, "List every group with its state, counts and times.")
  flags.DEFINE_bool(
    "report_only", False, "Write the report of the results in the workdir; run nothing."
  )
  flags.DEFINE_integer(
    "net_parts", None, "Divide the networks into so many parts, each on its own devices; by default 1 on a "
    "CPU, and on accelerators the number of devices or of kinds of networks, whichever is smaller."
  )  # fmt: skip
  flags.DEFINE_string(
    "compilation_cache", None, "The folder where compiled programs are kept for other processes and later "
    "runs; by default WORKDIR/compilation_cache. An empty value turns the cache off."
  )  # fmt: skip
  distributed.define()
  cluster.define()
  for shared in _FLAGS:  # --help shows what the program itself has defined
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[shared])


def computes() -> bool:
  """Whether this command trains anything here. Listing, reporting, cancelling and submitting need no device."""
  values = flags.FLAGS
  return not (values.list or values.report_only or values.cancel or values.launch == "slurm")


def choose_platform() -> None:
  """Uses the CPU if nothing is trained here. It must be called before anything starts JAX's back end.

  So the command does not take an accelerator from other programs, and on one host of a TPU pod it does
  not wait for the other hosts.
  """
  if not computes():
    jax.config.update("jax_platforms", "cpu")


def parsed(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  named: str,
  swept: dict[str, str],
  default: pathlib.Path,
  job: distributed.Job | None = None,
) -> Command:
  """The command that the flags describe. InputError if they are wrong.

  Args:
    experiment: the experiment of the command.
    config: the configuration with the changes of --config.FIELD.
    named: the text of --config.
    swept: field -> text of its values, from --sweep.FIELD.
    default: the workdir without --workdir.
    job: this process's place in a job of --distributed.
  """
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
    raise InputError("the configuration asks for no runs; give every field at least one value")
  if not 0 < values.lease_seconds < 1e6:
    raise InputError(
      f"--lease_seconds must be positive and at most a million, got {values.lease_seconds}"
    )
  if values.silence_seconds is not None and not 1 <= values.silence_seconds < 1e9:
    raise InputError(f"--silence_seconds must be at least 1, got {values.silence_seconds:g}")
  sharded.ask_for_parts(_net_parts(values.net_parts))
  sweep = Sweep(
    task,
    list(points),
    pathlib.Path(values.workdir or default),
    keep_params=bool(config.get("keep_params", False)),
    part=job.part if job else _slice(values.slice),
    units=cluster.units(),
    workers=values.workers,
    lease_seconds=values.lease_seconds,
    config_file=path.resolve(),
    silence_seconds=values.silence_seconds,
    retry_failed=values.retry_failed,
  )
  return Command(config, of_sweep, sweep, cluster.options())


def take_config(arguments: list[str], default: str) -> tuple[list[str], str]:
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


def _net_parts(count: int | None) -> int | None:
  if count is None or (count >= 1 and not computes()):
    return count  # without looking at the devices, since that would occupy them
  there = devices.count()
  if not 1 <= count <= there:
    raise InputError(f"--net_parts must be 1 to {there}, the devices of this process, got {count}")
  return count


def _slice(text: str | None) -> tuple[int, int] | None:
  if text is None:
    return None
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or not int(match.group(1)) < int(match.group(2)):
    raise InputError(f"--slice must be I/N with I from 0 to N - 1, such as 0/4, got {text}")
  return int(match.group(1)), int(match.group(2))
