"""The command line that every experiment shares.

  python -m experiments.NAME --config=configs/NAME.py[:preset] --workdir=DIR [--config.key=value]

An experiment is a short file: `experiment.run('NAME', main, check)`, with `main(config, workdir)` doing
the work. What is shared is here: the two flags, one-sentence errors, and the claim on the workdir.
"""

import contextlib
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError, WorkerDied

Main = Callable[[ml_collections.ConfigDict, pathlib.Path], None]
Check = Callable[[ml_collections.ConfigDict], object]


def run(name: str, main: Main, check: Check) -> None:
  """Parses the flags and calls `main(config, workdir)` on a claimed workdir.

  Args:
    name: of the experiment; `configs/NAME.py` is its default config and `results/NAME`, or
      `results/NAME-PRESET`, its default workdir.
    main: the experiment. The config it gets is locked; the workdir exists and holds config.json.
    check: raises InputError for a config that makes no sense, before anything is on disk.
  """
  with _mistakes_told():
    # Defining the flag already loads the file and looks at --config.key, so mistakes begin here.
    config_flag = config_flags.DEFINE_config_file(
      "config", f"configs/{name}.py", "The configuration, FILE or FILE:PRESET."
    )
  workdir_flag = flags.DEFINE_string(
    "workdir", None, f"Where results go; by default results/{name}, or results/{name}-PRESET."
  )

  for shared in ("config", "workdir"):  # --help shows what the program itself has defined
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[shared])

  def absl_main(argv: Sequence[str]) -> None:
    # absl would show every library's INFO lines; --verbosity=0 brings them back.
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    try:
      if len(argv) > 1:
        raise InputError(f"unexpected argument '{argv[1]}'; options are written --name=value")
      with _mistakes_told():
        config = config_flag.value
        config.to_dict()  # a file that is not there is told of only now
      _, _, preset = flags.FLAGS["config"].config_filename.partition(":")
      check(config)
      default = f"results/{name}-{preset}" if preset else f"results/{name}"
      workdir = pathlib.Path(workdir_flag.value or default)
      new = claim(workdir, config)
      try:
        main(config, workdir)
      except InputError:
        if new:  # so that the corrected command may have the same workdir
          _release(workdir)
        raise
    except (InputError, WorkerDied) as error:
      sys.exit(f"error: {error}")
    except KeyboardInterrupt:
      sys.exit("interrupted; the same command carries on from what is finished")

  app.run(absl_main, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> Sequence[str]:
  with _mistakes_told():
    return flags.FLAGS(argv)


@contextlib.contextmanager
def _mistakes_told() -> Iterator[None]:
  """Ends the program with one sentence where a flag, or the config file it names, is wrong."""
  try:
    yield
  except flags.Error as error:
    # What a config file raised comes as the text of a traceback, its last line 'module.Error: why'.
    last_line = str(error).strip().splitlines()[-1]
    why = re.sub(r"^[\w.]+(Error|Exception): ", "", last_line)
    sys.exit(f"error: {why}")
  except InputError as error:
    sys.exit(f"error: {error}")
  except OSError:
    sys.exit(f"error: no configuration file '{_named_config()}'; see configs/ for those there are")
  except (AttributeError, KeyError) as error:
    while error.args and isinstance(error.args[0], Exception):  # as ml_collections nests them
      error = error.args[0]
    key = str(error.args[0] if error.args else "").partition("\n")[0].strip("\"'")
    sys.exit(f"error: the configuration has no field '{key}'; see {_named_config()} for its fields")
  except (TypeError, ValueError) as error:
    why = " ".join(str(error).split())
    sys.exit(f"error: {why}; see {_named_config()} for the fields and their types")


def _named_config() -> str:
  """The last --config of the command line, as far as it can be told before flags are parsed."""
  named = [arg.split("=", 1)[1] for arg in sys.argv if re.match("--?config=", arg)]
  return named[-1].partition(":")[0] if named else "the config file"


def claim(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> bool:
  """Makes `workdir` the place of this configuration's results, or finds that it is already.

  Writes DIR/config.json, the whole resolved configuration. The same configuration again is a rerun,
  which resumes.

  Returns:
    Whether the claim is new.

  Raises:
    InputError: the directory holds results of another configuration, or a config.json that cannot
      be read, or cannot be made; nothing in it is touched.
  """
  path = workdir / "config.json"
  text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      atomic_write_text(path, text)
      return True
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
      raise ValueError("no configuration")  # noqa: TRY004, as for text that is no JSON
  except OSError as error:
    raise InputError(
      f"cannot use {workdir} as a workdir: {error.strerror}; name a directory that can be written"
    ) from error
  except ValueError as error:
    raise InputError(
      f"{path} is damaged; restore or remove it, or name another --workdir"
    ) from error
  wanted = json.loads(text)
  if found != wanted:
    keys = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    changes = ", ".join(f"{k} = {found.get(k)!r} there, {wanted.get(k)!r} here" for k in keys)
    raise InputError(
      f"{workdir} holds results of another configuration ({changes}); "
      "name another --workdir or use that configuration"
    )
  return False


def _release(workdir: pathlib.Path) -> None:
  """Takes a claim back, if nothing has come of it."""
  if [path.name for path in workdir.iterdir()] == ["config.json"]:
    (workdir / "config.json").unlink()
