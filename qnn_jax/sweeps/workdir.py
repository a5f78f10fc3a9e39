"""A workdir holds the results of one configuration: how a command claims it, and gives it back."""

import contextlib
import json
import pathlib
import shutil
import time
from collections.abc import Sequence

from qnn_jax import living
from qnn_jax.atomic import atomic_write_text, create_exclusively
from qnn_jax.errors import InputError, WorkdirError
from qnn_jax.sweeps import damage
from qnn_jax.sweeps.configs import Config
from qnn_jax.sweeps.task import Task

# How often to look at what another launcher is doing, and the seconds between two looks.
_TRIES, _A_MOMENT = 20, 0.02


def open_workdir(workdir: pathlib.Path, config: Config, task: Task) -> bool:
  """Claims `workdir` for the results of this config of the `task`, or finds that it has it already.

  Writes DIR/config.json, the whole resolved configuration. With the same configuration a sweep resumes.
  The axes may grow or shrink (more seeds, other sizes): only new points run.

  Returns:
    Whether the workdir had no configuration before.

  Raises:
    InputError: the directory holds results of another configuration, has a config.json that cannot be
      read, or cannot be created; nothing in it is changed.
  """
  path, wanted = workdir / "config.json", config.to_dict()
  text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
  wanted = json.loads(text)
  try:
    for _ in range(_TRIES):
      with contextlib.suppress(FileNotFoundError):  # another launcher has just released the workdir
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists() and create_exclusively(path, text.encode()):
          return True
        found = _read_config(path)
        _refuse_another(workdir, found, wanted, task)
        # Read again: meanwhile the workdir may have been released and claimed by another launcher.
        if _keep_from_release(workdir) and _read_config(path) == found:
          break
      time.sleep(_A_MOMENT)
    else:
      raise InputError(
        f"{workdir / 'records'} is not a folder, or other launchers keep releasing {workdir}; "
        "name another --workdir"
      )
  except OSError as error:
    raise WorkdirError(
      f"cannot use {workdir} as a workdir: {error.strerror}; name a directory that can be written"
    ) from error
  if found != wanted:
    # Only for people to read. A read-only disk may hold all results already; if not, the runs will fail.
    with contextlib.suppress(OSError):
      atomic_write_text(path, text)
  return False


def _read_config(path):
  """The configuration in a file. On a disk without hard links another launcher may still be writing it."""
  for left in reversed(range(_TRIES)):
    try:
      found = json.loads(damage.read_file(path)[0].decode("utf-8"))
      if isinstance(found, dict):
        return found
    except damage.Unreadable as error:
      raise WorkdirError(f"cannot read {path}: {error}; name another --workdir") from error
    except (ValueError, RecursionError, damage.Damaged):
      pass
    if left:
      time.sleep(_A_MOMENT)
  raise InputError(f"{path} is damaged; restore or remove it, or name another --workdir")


def _refuse_another(workdir, found, wanted, task):
  free = task.not_fields()
  keys = sorted(k for k in {*found, *wanted} - free if found.get(k) != wanted.get(k))
  if keys:
    changes = ", ".join(f"{k} = {found.get(k)!r} there, {wanted.get(k)!r} here" for k in keys)
    raise InputError(
      f"{workdir} holds results of another configuration ({changes}); "
      "name another --workdir or use that configuration"
    )


def _keep_from_release(workdir):
  """Makes DIR/records, so that no launcher releases the workdir. False if one is just doing so.

  `release` makes a file of that name: one of the two comes first, and the other sees it.
  """
  records = workdir / "records"
  try:
    records.mkdir(exist_ok=True)
  except FileExistsError:
    with contextlib.suppress(OSError):
      releasing = living.of_tag(records.read_text(encoding="utf-8"))
      if releasing is not None and living.is_dead(releasing):
        records.unlink()
    return False
  except FileNotFoundError:
    raise
  except OSError:
    pass  # on a read-only disk nobody can release the workdir
  return True


def release(workdir: pathlib.Path, made: Sequence[pathlib.Path] = ()) -> None:
  """Undoes `open_workdir` if no results were written.

  If another launcher has accepted the configuration meanwhile, it has made DIR/records, and the workdir
  stays.

  Args:
    workdir: the directory.
    made: the folders that `open_workdir` created, the innermost first; the empty ones are removed.
  """
  records, cache = workdir / "records", workdir / "compilation_cache"
  with contextlib.suppress(OSError):
    there = {path.name for path in workdir.iterdir() if not path.name.startswith(".")}
    if "config.json" in there and there <= {"config.json", cache.name}:
      if create_exclusively(records, living.tag().encode()):
        shutil.rmtree(cache, ignore_errors=True)
        (workdir / "config.json").unlink()
        records.unlink()
      for folder in made:
        folder.rmdir()
