"""The flags of a command line, and what they ask for."""

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
  flags.DEFINE_float(
    "silence_seconds", None, "How long a worker process may give no sign before it is killed and started "
    f"again; by default {SILENCE_SECONDS:,.0f}. If given, even one worker is a process, and watched; "
    "not on an accelerator, which this process holds."
  )  # fmt: skip
  flags.DEFINE_bool("retry_failed", False, "Run only what has failed before, and nothing else.")
  flags.DEFINE_bool("dry_run", False, "Say what would run, in how many groups, and about how long.")
  flags.DEFINE_bool("list", False, "List every group, what it stands at, with counts and times.")
  flags.DEFINE_bool("report_only", False, "Make the report of what is in the workdir; run nothing.")
  flags.DEFINE_integer(
    "net_parts", None, "In how many parts the nets are divided among the devices; by default 1 on a CPU, and "
    "on accelerators as many as there are devices, or kinds of nets."
  )  # fmt: skip
  flags.DEFINE_string(
    "compilation_cache", None, "Where compiled programs are kept for other processes and later runs; by "
    "default WORKDIR/compilation_cache, and nowhere if it is empty."
  )  # fmt: skip
  distributed.define()
  cluster.define()
  for shared in _FLAGS:  # --help shows what the program itself has defined
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[shared])


def computes() -> bool:
  """Whether this command computes anything here; to list, to report, to cancel and to submit needs no device."""
  values = flags.FLAGS
  return not (values.list or values.report_only or values.cancel or values.launch == "slurm")


def choose_platform() -> None:
  """Leaves the accelerator alone where nothing is computed; before anything starts a back end of JAX.

  So no accelerator is taken from who needs it, and on one host of a TPU pod none is waited for.
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
  """What the flags ask for; InputError for what makes no sense.

  Args:
    experiment: the command's.
    config: with what --config.FIELD has changed.
    named: --config, as it was given.
    swept: field -> text of its values, of --sweep.FIELD.
    default: the workdir where none is named.
    job: of --distributed: this process runs its part.
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
    raise InputError("the configuration asks for no run at all; give every field a value")
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
    return count  # without a look at the devices, which would take them
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
