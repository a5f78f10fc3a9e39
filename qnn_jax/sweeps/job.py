"""What a group's `run` may ask of the engine while it runs: checkpoints, and whether to keep parameters."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from qnn_jax.sweeps import checkpoints, damage, signals
from qnn_jax.sweeps.points import Point


@dataclasses.dataclass
class Job:
  """One group's running.

  Attributes:
    workdir: of the sweep.
    keep_params: whether rows shall bring their final parameters (`Row.params`, `Row.network`).
    points: of the group.
    tell: called with each `save` and `load`, which are signs of life as the events are.
  """

  workdir: pathlib.Path
  keep_params: bool = False
  points: Sequence[Point] = ()
  tell: Callable[[], None] = lambda: None
  _lanes: list[Sequence[Point]] = dataclasses.field(default_factory=list)
  _last: int = 0
  _unsaved: bool = False

  @property
  def stopping(self) -> bool:
    """Whether the command is asked to stop: a `run` that sees it between its steps saves at once."""
    return signals.asked()

  def save(self, lanes: Sequence[Point], step: int, tree: Any) -> None:
    """Keeps a tree of arrays, leaves [lanes, ...], as where these lanes have come to.

    A lane is named by a point, or by what is left of it `without` the axes that its run has in common.
    What is saved is removed when the group has ended. If the command is asked to stop, the group ends
    here, with `signals.Stopped`, and the next command carries on from what was saved. On a full disk it is
    named in a warning, and the training goes on: its rows may fit still, and a stop would lose what
    this was to keep.
    """
    if lanes not in self._lanes:
      self._lanes.append(lanes)
    self._last = max(self._last, step)
    try:
      checkpoints.write(self.workdir, lanes, step, tree, self.points)
      self._unsaved = False
    except OSError as error:
      self._unsaved = True
      folder = pathlib.Path(self.workdir) / "checkpoints"
      damage.name_once(
        folder,
        f"cannot be written ({error.strerror or error}); runs go on, and would begin earlier after a stop",
      )
    self.tell()
    signals.check()

  def load(self, lanes: Sequence[Point], most: int = sys.maxsize) -> tuple[int, Any] | None:
    """(step, tree) of the last `save` of these lanes at the same step, at most `most`; or None."""
    if lanes not in self._lanes:
      self._lanes.append(lanes)
    found = checkpoints.read(self.workdir, lanes, most)
    self.tell()
    self._last = max(self._last, found[0] if found else 0)
    return found

  def drop(self, lanes: Sequence[Point], before: int) -> None:
    """Removes what was saved of these lanes at earlier steps, unless the last could not be saved."""
    if not self._unsaved:
      checkpoints.remove(self.workdir, lanes, before)

  def end(self) -> None:
    """Removes what was saved up to here: the engine calls it when the group's rows are on disk.

    What another command has saved of these lanes behind it, on the way to more epochs, stays.
    """
    for lanes in self._lanes:
      checkpoints.release(self.workdir, lanes, self._last)
