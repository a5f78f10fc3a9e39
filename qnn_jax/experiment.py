"""The command line that every experiment shares.

  python -m experiments.NAME --config=configs/NAME.py[:preset] --workdir=DIR [--config.key=value]

An experiment is a short file: `experiment.run('NAME', main)`, with `main(config, workdir)` doing the
work. What is shared is here: the two flags, one-sentence errors, and the claim on the workdir.
"""

import json
import pathlib
import sys
from collections.abc import Callable, Sequence

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError

Main = Callable[[ml_collections.ConfigDict, pathlib.Path], None]


def run(name: str, main: Main) -> None:
  """Parses the flags and calls `main(config, workdir)` on a claimed workdir.

  Args:
    name: of the experiment; `configs/NAME.py` is its default config and `results/NAME`, or
      `results/NAME-PRESET`, its default workdir.
    main: the experiment. The config it gets is locked; the workdir exists and holds config.json.
  """
  config_flag = config_flags.DEFINE_config_file(
      'config', f'configs/{name}.py', 'The configuration, FILE or FILE:PRESET.'
  )
  workdir_flag = flags.DEFINE_string(
      'workdir', None, f'Where results go; by default results/{name}, or results/{name}-PRESET.'
  )

  def absl_main(argv: Sequence[str]) -> None:
    # absl would show every library's INFO lines; --verbosity=0 brings them back.
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    try:
      if len(argv) > 1:
        raise InputError(f"unexpected argument '{argv[1]}'; options are written --name=value")
      config = config_flag.value
      _, _, preset = flags.FLAGS['config'].config_filename.partition(':')
      default = f'results/{name}-{preset}' if preset else f'results/{name}'
      workdir = pathlib.Path(workdir_flag.value or default)
      claim(workdir, config)
      main(config, workdir)
    except InputError as error:
      sys.exit(f'error: {error}')
    except KeyboardInterrupt:
      sys.exit('interrupted; the same command carries on from what is finished')

  app.run(absl_main, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> Sequence[str]:
  """absl's parser, with config files' mistakes told in one sentence."""
  try:
    # A config flag loads its file while flags are parsed, so all that can be wrong in one ends here.
    return flags.FLAGS(argv)
  except flags.Error as error:
    sys.exit(f'error: {error}')
  except InputError as error:
    sys.exit(f'error: {error}')
  except FileNotFoundError as error:
    sys.exit(f'error: no configuration file {error.filename or error}; see configs/ for those there are')
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(f"error: {' '.join(str(error).split())}; see the config file for its fields and types")


def claim(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
  """Makes `workdir` the place of this configuration's results, or finds that it is already.

  Writes DIR/config.json, the whole resolved configuration. The same configuration again is a rerun,
  which resumes.

  Raises:
    InputError: the directory holds results of another configuration, or a config.json that cannot
      be read, or cannot be made; nothing in it is touched.
  """
  path = workdir / 'config.json'
  text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      atomic_write_text(path, text)
      return
    found = json.loads(path.read_text(encoding='utf-8'))
  except OSError as error:
    raise InputError(
        f'cannot use {workdir} as a workdir: {error.strerror}; name a directory that can be written'
    ) from error
  except ValueError as error:
    raise InputError(
        f'{path} is damaged; restore or remove it, or name another --workdir'
    ) from error
  wanted = json.loads(text)
  if found != wanted:
    keys = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    changes = ', '.join(f'{k} = {found.get(k)!r} there, {wanted.get(k)!r} here' for k in keys)
    raise InputError(
        f'{workdir} holds results of another configuration ({changes}); '
        'name another --workdir or use that configuration'
    )
