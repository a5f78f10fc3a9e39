"""Orbax checkpoints of a run: where it has come to, so that it carries on with the same numbers."""

import contextlib
import fcntl
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from qnn_jax.sweeps import damage

_KEPT = 2  # the newest, and the one before it should that be damaged


class Keeper:
  """The checkpoints of a folder, by step.

  A checkpoint holds `state`, arrays by name, and `progress`, JSON. Orbax writes it beside the training and
  gives it its name when it is whole, so that a kill at any moment leaves the one before.
  """

  def __init__(self, workdir: pathlib.Path, folder: pathlib.Path):
    self._workdir, self._folder = workdir, folder.absolute()
    self._manager = self._open()

  def _open(self):
    options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, create=True)
    return ocp.CheckpointManager(self._folder, options=options)

  def save(self, step: int, state: Any, progress: dict[str, Any], *, wait: bool = False) -> bool:
    """Keeps a tree of arrays and what JSON holds; returns whether it could be begun.

    On a full disk it is named in a warning, and training goes on: its row may fit still.
    """
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(_named(state)), progress=ocp.args.JsonSave(progress)
    )
    try:
      if step not in self._manager.all_steps():
        self._manager.save(step, args=args)
      if wait:
        self._manager.wait_until_finished()
      return True
    except (OSError, ValueError) as error:
      damage.name_once(
        self._folder,
        f"cannot be written ({error}); the run goes on, and would begin earlier after a stop",
      )
      return False

  def newest(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
    """(state as a tree like this one, progress) of the newest checkpoint that can be read; None if none can.

    A damaged one is named in a warning and set aside.
    """
    wanted = _named(like)
    for step in sorted(self._manager.all_steps(), reverse=True):
      args = ocp.args.Composite(
        state=ocp.args.StandardRestore(jax.tree.map(_shape, wanted)),
        progress=ocp.args.JsonRestore(),
      )
      try:
        found = self._manager.restore(step, args=args)
      except Exception as error:  # Orbax promises no types for what is damaged
        why = " ".join(str(error).split())[:200]
        path = self._folder / str(step)
        damage.set_aside(self._workdir, path, damage.Damaged(why), "the run begins earlier")
        self._manager.close()
        if path.exists():  # it could not be moved: the run begins anew beside it
          return None
        self._manager = self._open()
        continue
      leaves = [found.state[name] for name in wanted]
      return jax.tree.unflatten(jax.tree.structure(like), leaves), found.progress
    return None

  def close(self) -> None:
    """Waits for what is being written."""
    with contextlib.suppress(OSError, ValueError):
      self._manager.wait_until_finished()
    self._manager.close()

  def remove(self) -> None:
    """Removes all checkpoints: the run's row is on disk."""
    self.close()
    shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def alone_in(folder: pathlib.Path) -> Iterator[None]:
  """Makes the folder, and waits until no other process is in it: one that was taken for dead may live."""
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / "lock").open("w") as file:
    with contextlib.suppress(OSError):  # a file system without locks
      fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _named(tree: Any) -> dict[str, Any]:
  """Arrays by their path, 'params.head.q': as Orbax wants them and a reader finds them."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="."): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _shape(leaf):
  # NumPy arrays come back: the program puts them where it wants them.
  return np.empty(leaf.shape, leaf.dtype)
