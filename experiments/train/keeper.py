"""Orbax checkpoints of a run, from which it resumes with the same numbers.

They are written while training waits, for a fraction of a second in every `checkpoint_seconds`. Orbax's own threads
would outlive a failed write, and fill the log with its errors.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from qnn_jax.sweeps import damage

_MARGIN = 1_000_000  # bytes
_KEPT = 2  # the newest, and the one before it in case the newest is damaged

Read = TypeVar("Read")


class Keeper:
  """The checkpoints in a folder, by step; no other process may use the folder.

  A checkpoint holds `state`, arrays by name, and `progress`, JSON. Orbax gives a checkpoint its final name when it
  is complete, so that a kill at any moment leaves the previous checkpoint intact.

  Args:
    workdir: the workdir of the sweep.
    folder: the folder of the checkpoints.
  """

  def __init__(self, workdir: pathlib.Path, folder: pathlib.Path):
    self._workdir, self._folder = workdir, folder.absolute()
    self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    self._remove_unfinished()

  def save(self, step: int, state: Any, progress: dict[str, Any]) -> None:
    """Saves a tree of arrays and a value for JSON.

    If a checkpoint cannot be written, a warning says so and training goes on: there may still be room for its row.
    """
    named = _named(state)
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(named), progress=ocp.args.JsonSave(progress)
    )
    try:
      self._folder.mkdir(exist_ok=True)
      # Checked before writing, because Orbax would first fill the disk and then the log.
      needed = sum(leaf.nbytes for leaf in named.values()) + _MARGIN
      if (free := shutil.disk_usage(self._folder).free) < needed:
        raise OSError(f"{needed / 1e6:,.1f} MB are needed, and {free / 1e6:,.1f} are free")
      with _quiet():
        self._checkpointer.save(self._folder / str(step), args=args, force=True)
    except (
      Exception
    ) as error:  # Orbax documents no exception types: OSError, ValueError, and XLA's own
      self._remove_unfinished()
      why = " ".join(str(error).split())[:200]
      damage.name_once(
        self._folder,
        f"cannot be written ({why}); the run goes on, and would begin earlier after a stop",
      )
      return
    for old in self._steps()[_KEPT:]:
      shutil.rmtree(self._folder / str(old), ignore_errors=True)

  def newest(self, like: Any, read: Callable[[Any], Read]) -> tuple[Any, Read] | None:
    """(state, as a tree like this one; `read` of the progress) from the newest checkpoint that can be read.

    A damaged checkpoint is named in a warning and set aside. Returns None if no checkpoint can be read.
    """
    for step in self._steps():
      try:
        with _quiet():
          return self._read(step, like, read)
      except Exception as error:  # Orbax documents no exception types for damaged files
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        path = self._folder / str(step)
        damage.set_aside(self._workdir, path, damage.Damaged(why), "the run begins earlier")
    return None

  def remove(self) -> None:
    """Removes all checkpoints, when the run's row is on disk."""
    shutil.rmtree(self._folder, ignore_errors=True)

  def close(self) -> None:
    """Leaves the folder, so that another process may use it."""
    self._checkpointer.close()

  def _read(self, step, like, read):
    wanted = _named(like)
    empty = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(empty), progress=ocp.args.JsonRestore()
    )
    found = self._checkpointer.restore(self._folder / str(step), args=args)
    for name, leaf in wanted.items():
      there = found.state[name]
      if (there.shape, there.dtype) != (leaf.shape, leaf.dtype):
        raise ValueError(
          f"{name} is {there.dtype}{list(there.shape)}, and {leaf.dtype}{list(leaf.shape)} in this network"
        )
    leaves = map(_as_in, jax.tree.leaves(like), (found.state[name] for name in wanted))
    return jax.tree.unflatten(jax.tree.structure(like), leaves), read(found.progress)

  def _steps(self) -> list[int]:
    """The steps of the checkpoints, newest first."""
    names = (path.name for path in self._folder.glob("*"))
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

  def _remove_unfinished(self):
    for path in self._folder.glob("*.orbax-checkpoint-tmp*"):
      shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: pathlib.Path) -> Iterator[None]:
  """Makes the folder and waits until no other process uses it: a process that was taken for dead may be alive."""
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / "lock").open("w") as file:
    # Some file systems, and Windows, have no such locks.
    with contextlib.suppress(OSError, ImportError):
      import fcntl

      fcntl.flock(file, fcntl.LOCK_EX)
    yield


@contextlib.contextmanager
def _quiet():
  """Silences Orbax's log; our own message says in one sentence what went wrong."""
  logger = logging.get_absl_logger()
  before, logger.disabled = logger.disabled, True
  try:
    yield
  finally:
    logger.disabled = before


def _named(tree: Any) -> dict[str, Any]:
  """Arrays by their path, such as 'state.params.head.q': the form that Orbax takes, and easy to read."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): _data(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _is_key(leaf) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf):
  """The numbers of an array, also of an array of random keys such as dropout's."""
  return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _as_in(like, data):
  return jax.random.wrap_key_data(data, impl=jax.random.key_impl(like)) if _is_key(like) else data
