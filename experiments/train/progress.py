"""What a checkpoint holds beside arrays: numbers that JSON keeps to their last bit."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class Window:
  """Sums over some steps.

  Attributes:
    steps: how many.
    loss: the sum of their mean losses.
    right: images whose largest output was their label's.
    images: that they have seen.
  """

  steps: int = 0
  loss: float = 0.0
  right: int = 0
  images: int = 0

  def add(self, losses: list[float], right: int, images: int) -> None:
    """Takes some steps in, by the losses of each."""
    self.steps += len(losses)
    for loss in losses:  # one by one, so that the sum does not hang on where it was stopped
      self.loss += loss
    self.right += right
    self.images += images

  def means(self) -> dict[str, float]:
    """loss, and accuracy in percent."""
    return {"loss": self.loss / self.steps, "accuracy": 100 * self.right / self.images}


@dataclasses.dataclass
class Progress:
  """Where a run is.

  Attributes:
    step: steps that are done.
    epoch: sums of the epoch that it is in.
    line: sums since the last line of metrics.
    curve: a line an epoch: epoch, train_loss, train_accuracy, and loss and accuracy of the split that is
      tested on the way, None where it was not.
    best: the lowest of these losses; None before the first.
    best_epoch: when that was; 0 before.
    stale: tests since then.
    ended: why the run has ended before its last step; "" if it has not.
  """

  step: int = 0
  epoch: Window = dataclasses.field(default_factory=Window)
  line: Window = dataclasses.field(default_factory=Window)
  curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  best: float | None = None
  best_epoch: int = 0
  stale: int = 0
  ended: str = ""

  def as_json(self) -> dict[str, Any]:
    """What JSON holds."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, found: dict[str, Any]) -> "Progress":
    """`as_json` undone."""
    windows = {name: Window(**found[name]) for name in ("epoch", "line")}
    return cls(**{**found, **windows})
