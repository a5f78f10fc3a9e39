"""What a group's `run` may ask of the engine while it runs: checkpoints, and whether to keep parameters."""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from qnn_jax.sweeps import checkpoints
from qnn_jax.sweeps.points import Point


@dataclasses.dataclass
class Job:
  """One group's running.

  Attributes:
    workdir: of the sweep.
    keep_params: whether rows shall bring their final parameters (`Row.params`, `Row.network`).
  """

  workdir: pathlib.Path
  keep_params: bool = False
  _lanes: list[Sequence[Point]] = dataclasses.field(default_factory=list)
  _last: int = 0

  def save(self, lanes: Sequence[Point], step: int, tree: Any) -> pathlib.Path:
    """Keeps a tree of arrays, leaves [lanes, ...], as where these lanes have come to.

    A lane is named by a point, or by what is left of it `without` the axes that its run has in common.
    What is saved is removed when the group has ended.
    """
    if lanes not in self._lanes:
      self._lanes.append(lanes)
    self._last = max(self._last, step)
    return checkpoints.write(self.workdir, lanes, step, tree)

  def load(self, lanes: Sequence[Point], most: int = sys.maxsize) -> tuple[int, Any] | None:
    """(step, tree) of the last `save` of these lanes at the same step, at most `most`; or None."""
    if lanes not in self._lanes:
      self._lanes.append(lanes)
    found = checkpoints.read(self.workdir, lanes, most)
    self._last = max(self._last, found[0] if found else 0)
    return found

  def drop(self, lanes: Sequence[Point], before: int) -> None:
    """Removes what was saved of these lanes at earlier steps."""
    checkpoints.remove(self.workdir, lanes, before)

  def end(self) -> None:
    """Removes what was saved up to here: the engine calls it when the group's rows are on disk.

    What another command has saved of these lanes behind it, on the way to more epochs, stays.
    """
    for lanes in self._lanes:
      checkpoints.release(self.workdir, lanes, self._last)
