"""The program of every experiment, from its arguments to its exit status."""

import gc
import pathlib
import sys
from collections.abc import Sequence

import ml_collections
from absl import app, logging
from absl import flags as absl_flags
from ml_collections import config_flags

from qnn_jax.command import cluster, distributed, flags, run
from qnn_jax.command.mistakes import in_one_sentence
from qnn_jax.errors import InputError
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import configs, settings, signals


def main(experiment: Experiment) -> None:
  """Runs the command line of an `experiment`: parses the flags and does what they ask.

  Every mistake ends the program with one sentence. Every signal ends it with one line and the
  exit status that belongs to the signal; see `sweeps.signals`.
  """
  with signals.handled():
    _main(experiment)


def _main(experiment):
  # Imported objects stay alive. Without them, garbage collection over tens of thousands of rows is fast.
  gc.freeze()
  cluster.remember(sys.argv[1:])
  swept: dict[str, str] = {}
  named, arguments = "", sys.argv
  with in_one_sentence() as sentence:
    arguments, swept = settings.take_flags(sys.argv)
    arguments, named = flags.take_config(arguments, str(experiment.config_file))
    config = configs.load(named, experiment.config_file)
    sentence.fields = list(configs.fields(config))
    if experiment.config_file.is_file():
      configs.check_types(config, configs.load(str(experiment.config_file), experiment.config_file))
    like = ml_collections.ConfigDict(config.to_dict())
    sys.argv = arguments  # where a config flag looks for --config.FIELD
    config_flags.DEFINE_config_dict(
      "config",
      config,
      f"The configuration, FILE or FILE:PRESET; by default {experiment.config_file}.",
    )
  # For --help, which would otherwise show YAML with Python's types in it.
  each = (f"{name} = {settings.shown(value)}" for name, value in configs.fields(config).items())
  absl_flags.FLAGS["config"].default_as_str = "; ".join(each)
  preset = named.partition(":")[2]
  name = experiment.name
  default = pathlib.Path(f"results/{name}-{preset}" if preset else f"results/{name}")
  flags.define(default)

  def parsed_main(argv: Sequence[str]) -> None:
    # absl would show every library's INFO lines; --verbosity=0 brings them back.
    if not absl_flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    with in_one_sentence():
      if len(argv) > 1:
        raise InputError(f"unexpected argument '{argv[1]}'; options are written --name=value")
      configs.check_types(config, like)  # ml_collections does not check the elements of tuples
      flags.choose_platform()
      with distributed.joined() as job:
        command = flags.parsed(experiment, config, named, swept, default, job)
        status = run.do(experiment, command, job)
      sys.exit(status)

  app.run(parsed_main, flags_parser=lambda argv: _parse_flags(arguments))


def _parse_flags(arguments):
  with in_one_sentence():
    return absl_flags.FLAGS(arguments)
