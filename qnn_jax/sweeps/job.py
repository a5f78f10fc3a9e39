"""A job: how the `run` of a group reaches the engine, for checkpoints and stops."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from qnn_jax.sweeps import checkpoints, damage, signals
from qnn_jax.sweeps.points import Point


@dataclasses.dataclass
class Job:
  """One run of a group.

  Attributes:
    workdir: the workdir of the sweep.
    keep_params: whether rows must have their final parameters (`Row.params`, `Row.network`).
    points: the points of the group.
    tell: called at each `save` and `load`: they show that the process is alive, as events do.
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
    """Whether the command is asked to stop. A `run` may check it between steps, and save at once."""
    return signals.asked()

  def save(self, lanes: Sequence[Point], step: int, tree: Any) -> None:
    """Saves a checkpoint of these lanes: the number `step`, and a tree of arrays with leaves [lanes, ...].

    A lane is named by its point, or by the point `without` the axes that do not distinguish lanes. The
    checkpoint is removed when the group has ended. If the command is asked to stop, the group ends here
    with `signals.Stopped`, and the next command resumes from this checkpoint. If the disk is full, a
    warning says so and the training continues: its rows may still fit, and a stop would lose the work.
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
        f"cannot be written ({error.strerror or error}); runs continue, but a stop would lose more work",
      )
    self.tell()
    signals.check()

  def load(self, lanes: Sequence[Point], most: int = sys.maxsize) -> tuple[int, Any] | None:
    """(step, tree) of the latest checkpoint that has all these lanes, at a step up to `most`; or None."""
    if lanes not in self._lanes:
      self._lanes.append(lanes)
    found = checkpoints.read(self.workdir, lanes, most)
    self.tell()
    self._last = max(self._last, found[0] if found else 0)
    return found

  def drop(self, lanes: Sequence[Point], before: int) -> None:
    """Removes these lanes' checkpoints of steps earlier than `before`, unless the last save failed."""
    if not self._unsaved:
      checkpoints.remove(self.workdir, lanes, before)

  def end(self) -> None:
    """Removes the checkpoints up to here: the engine calls it when the group's rows are on disk.

    Checkpoints of these lanes at later steps, which another command saved for more epochs, stay.
    """
    for lanes in self._lanes:
      checkpoints.release(self.workdir, lanes, self._last)
