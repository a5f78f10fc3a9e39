"""What a checkpoint holds besides arrays: numbers, which JSON keeps exactly."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class Window:
  """Sums over some steps.

  Attributes:
    steps: the number of steps.
    loss: the sum of the mean losses of the steps.
    right: the number of images whose largest output was that of their label.
    images: the number of images in the steps.
  """

  steps: int = 0
  loss: float = 0.0
  right: int = 0
  images: int = 0

  def add(self, losses: list[float], right: int, images: int) -> None:
    """Adds some steps, given the loss of each."""
    self.steps += len(losses)
    for (
      loss
    ) in losses:  # one by one, so that the rounded sum does not depend on where the run was stopped
      self.loss += loss
    self.right += right
    self.images += images

  def means(self) -> dict[str, float]:
    """The mean loss, and accuracy in percent."""
    return {"loss": self.loss / self.steps, "accuracy": 100 * self.right / self.images}


@dataclasses.dataclass
class Progress:
  """The progress of a run.

  Attributes:
    step: the number of finished steps.
    epoch: sums over the current epoch.
    line: sums since the last line of metrics.
    curve: one line per epoch: epoch, train_loss, train_accuracy, and loss and accuracy of the split that is tested
      during training (None for epochs without a test).
    best: the lowest of these test losses; None before the first test.
    best_epoch: the epoch of that loss; 0 before the first test.
    stale: the number of tests since then.
    ended: why the run ended before its last step; "" if it did not.
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
    """The progress in a form that JSON can hold."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, found: dict[str, Any]) -> "Progress":
    """The inverse of `as_json`."""
    windows = {name: Window(**found[name]) for name in ("epoch", "line")}
    return cls(**{**found, **windows})
