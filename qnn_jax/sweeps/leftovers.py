"""Removes the half-written files that killed writers leave behind."""

import contextlib
import pathlib

from qnn_jax import atomic

FOLDERS = ("records", "params", "checkpoints", "leases", "failures", "damaged", "slurm")


def remove(workdir: pathlib.Path, seconds: float) -> None:
  """Removes temporary files of dead writers in a workdir, and folders that are empty without them.

  Args:
    workdir: of a sweep.
    seconds: how long a writer of another machine must have given no sign.
  """
  atomic.remove_leftovers(workdir, seconds)
  for name in FOLDERS:
    atomic.remove_leftovers(workdir / name, seconds)
    if name in ("leases", "failures", "checkpoints", "damaged", "slurm"):
      with contextlib.suppress(OSError):  # there is something in it, or it is not there
        (workdir / name).rmdir()
