"""Trains a run from its start, or from its checkpoint, to its row.

The numbers of a run do not depend on where it was stopped: a step's batch follows from the seed and the step, and a
checkpoint holds everything else, including the sums of an unfinished epoch.
"""

import contextlib
import hashlib
import math
import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from experiments.train import settings
from experiments.train.data import data_of, in_order
from experiments.train.keeper import Keeper, alone_in
from experiments.train.metrics import Metrics
from experiments.train.program import Tested, program_of
from experiments.train.progress import Progress
from qnn_jax.sweeps import signals
from qnn_jax.sweeps.job import Job
from qnn_jax.sweeps.points import Compiled, Group, Point, Row, Said, Worked
from qnn_jax.sweeps.task import Event

_LOOK = 50  # steps between two checks of the losses
_MOST_CLASSES = 100  # the most classes for which a row holds the confusion matrix


def run(group: Group, job: Job) -> Iterator[Event]:
  """Trains each point of the group, and tests it."""
  for point in group.points:
    folder = job.workdir / "training" / folder_name(point)
    with alone_in(folder):
      keeper = Keeper(job.workdir, folder / "checkpoints")
      try:
        of_point = _Run(point, job, keeper, folder)
        yield from of_point.carry_on()
        yield from of_point.train(group.cost / len(group.points))
        yield of_point.row()
      finally:
        keeper.close()
      if not job.keep_params:  # after `yield`, the row is on disk
        keeper.remove()


def folder_name(point: Point) -> str:
  """The name of a run's folder below DIR/training: a short description, and a digest of all its values."""
  words = [settings.values_of(point)[name] for name in ("network", "head")]
  words += [f"{n}_{v}" for n, v in point.axes().items() if n not in ("network", "head")]
  digest = hashlib.sha256(point.text().encode()).hexdigest()[:8]
  return "-".join([*words, digest]).replace("/", "_").replace(":", "_")


class _Run:
  """One run. Its current position is `state`, `best` (the state with the lowest loss, or None) and `progress`."""

  def __init__(self, point: Point, job: Job, keeper: Keeper, folder: pathlib.Path):
    self.point, self.job, self.keeper, self.folder = point, job, keeper, folder
    self.values = values = settings.values_of(point) | settings.apart_of(job.workdir)
    self.data = data_of(values, point["seed"])
    train = self.data.batches.images
    shape = settings.shape_of(values, train.shape, train.classes, len(self.data.batches))
    self.program = program_of(shape)
    self.rates = {name: jnp.float32(values[name]) for name in settings.RATES}
    self.state: Any = None
    self.best: Any = None
    self.progress = Progress()
    self._told_s = self.program.compiled_s
    self._step_s: list[float] = []  # seconds per step, a mean between two checks
    self._resumed_at = 0

  def carry_on(self) -> Iterator[Event]:
    """The initial state, or the state of the newest checkpoint."""
    self.state = self.program.start(self.point["seed"], self.rates)
    found = self.keeper.newest(self._kept(), Progress.from_json)
    if found is not None:
      arrays, self.progress = found
      arrays = self.program.put(arrays)
      self.state = arrays["state"]
      self.best = arrays["best"] if self.progress.best is not None else None
    self._resumed_at = self.progress.step
    yield from self._compiled()

  def train(self, cost: float) -> Iterator[Event]:
    """Trains all remaining steps."""
    progress, batches = self.progress, self.data.batches
    cost_of_step = cost / max(1, len(batches))
    yield Worked(progress.step * cost_of_step, resumed=True)
    with contextlib.ExitStack() as stack:
      metrics = None
      if self.values["log_every"]:
        metrics = stack.enter_context(Metrics(self.folder, progress.step))
      pending: list[tuple[Any, Any]] = []
      saved = looked = time.monotonic()
      ahead = batches.ahead_from(progress.step, self.values["loaders"])
      while progress.step < len(batches) and not progress.ended:
        self.state, *found = self.program.step(self.state, self.rates, *next(ahead))
        pending.append(tuple(found))
        progress.step += 1
        if not (self._look(progress.step) or self.job.stopping):
          continue
        self._take(pending)
        seconds, steps = time.monotonic() - looked, len(pending)
        compiled = self.program.compiled_s > self._told_s
        if not compiled:
          self._step_s.append(seconds / steps)
        yield from self._compiled()
        yield Worked(steps * cost_of_step)
        pending.clear()
        line = None
        if metrics and self._logs(progress.step):
          line = self._line(None if compiled else seconds / steps)
        if progress.step % batches.an_epoch == 0 and not progress.ended:
          tested = yield from self._end_epoch()
          line = line if line is None else line | tested
        if metrics and line:
          metrics.write(line)
        if self.job.stopping or time.monotonic() - saved > self.values["checkpoint_seconds"]:
          self._save(metrics)
          saved = time.monotonic()
        looked = time.monotonic()
      if self.job.keep_params and progress.step > self._resumed_at:
        self._save(metrics)
    if progress.ended.startswith("the loss"):
      yield self._said(f"{progress.ended}; a lower learning_rate or a clip may help")

  def row(self) -> Row:
    """The run's row: with early stopping, for the parameters with the lowest validation loss."""
    if self.best is not None:
      self.state = self.state._replace(**self.best)
    tested = self._test(self.data.test)
    progress, curve = self.progress, self.progress.curve
    finite = math.isfinite(tested.loss) and not progress.ended.startswith("the loss")
    classes = self.program.classes
    metrics = {
      "accuracy": round(tested.accuracy, 4) if finite else None,
      "loss": tested.loss if finite else None,
      "epochs_run": len(curve),
      "best_epoch": progress.best_epoch,
      "parameters": self.program.parameters,
      "step_ms": round(1000 * statistics.median(self._step_s), 4) if self._step_s else None,
      "step_mb": round(self.program.step_bytes / 1e6, 3) if self.program.step_bytes else None,
      "ended": progress.ended,
      "watched": self.data.watched.split,
      "class_names": list(self.data.test.class_names) if classes <= _MOST_CLASSES else [],
      "confusion": tested.confusion.ravel().tolist() if classes <= _MOST_CLASSES else [],
    }
    for name in ("train_loss", "train_accuracy", "watched_loss", "watched_accuracy"):
      metrics[f"curve_{name}"] = [line[name] for line in curve]
    row = Row(self.point, metrics, "ok" if finite else "diverged")
    if self.job.keep_params:
      params, description = self.program.kept(self.state)
      row = row._replace(params=params, network=description)
    return row

  def _look(self, step: int) -> bool:
    """Whether to check the losses now. Each check waits for the device."""
    return step % _LOOK == 0 or step % self.data.batches.an_epoch == 0 or self._logs(step)

  def _logs(self, step: int) -> bool:
    every = self.values["log_every"]
    return bool(every) and (step % every == 0 or step % self.data.batches.an_epoch == 0)

  def _take(self, pending: list[tuple[Any, Any]]) -> None:
    found = jax.device_get(pending)
    losses, right = [float(loss) for loss, _ in found], sum(int(r) for _, r in found)
    for sums in (self.progress.epoch, self.progress.line):
      sums.add(losses, right, len(found) * self.data.batches.size)
    bad = [place for place, loss in enumerate(losses) if not math.isfinite(loss)]
    if bad:
      step = self.progress.step - len(losses) + 1 + bad[0]
      self.progress.ended = f"the loss became {losses[bad[0]]} at step {step}"

  def _line(self, seconds: float | None) -> dict[str, Any]:
    """The metrics line of the steps since the last line; `seconds` is per step, None if a step was compiled."""
    progress, an_epoch = self.progress, self.data.batches.an_epoch
    means = progress.line.means()
    progress.line = type(progress.line)()
    return {
      "step": progress.step,
      "epoch": progress.step / an_epoch,
      "time": time.time(),
      **{f"train_{name}": _finite(value) for name, value in means.items()},
      **self.program.learning_rates(progress.step - 1, self.rates),
      "images_per_second": None if seconds is None else self.data.batches.size / seconds,
    }

  def _end_epoch(self):
    """Adds a line to the curve and stops early if asked to; returns the test's part of a metrics line."""
    progress = self.progress
    number = len(progress.curve) + 1
    means, progress.epoch = progress.epoch.means(), type(progress.epoch)()
    line = {f"train_{name}": _finite(value) for name, value in means.items()}
    line |= {"watched_loss": None, "watched_accuracy": None}
    every, last = self.values["evaluate_every"], number == self.values["epochs"]
    found: dict[str, Any] = {}
    if every and (number % every == 0 or last):
      tested = self._test(self.data.watched)
      yield from self._compiled()
      line |= {"watched_loss": _finite(tested.loss), "watched_accuracy": tested.accuracy}
      split = "test" if self.data.validation is None else "validation"
      found = {f"{split}_loss": _finite(tested.loss), f"{split}_accuracy": tested.accuracy}
      if self.values["patience"]:
        self._compare(number, tested.loss)
      yield self._said(
        f"epoch {number} of {self.values['epochs']}, training loss "
        f"{means['loss']:.4f}, {split} accuracy {tested.accuracy:.2f} %"
      )
    progress.curve.append(line)
    return found

  def _compare(self, epoch: int, loss: float) -> None:
    progress = self.progress
    if math.isfinite(loss) and (progress.best is None or loss < progress.best):
      progress.best, progress.best_epoch, progress.stale = float(loss), epoch, 0
      self.best = jax.tree.map(
        lambda leaf: leaf.copy(), self._tested()
      )  # copied, because a step overwrites its input
      return
    progress.stale += 1
    if progress.stale >= self.values["patience"]:
      since = f"since epoch {progress.best_epoch}" if progress.best_epoch else "at all"
      progress.ended = f"no lower validation loss {since}"

  def _test(self, images) -> Tested:
    self.job.tell()
    return self.program.test(self.state, in_order(images, self.program.tested_at_once))

  def _save(self, metrics: Metrics | None) -> None:
    if metrics:
      metrics.sync()
    self.keeper.save(self.progress.step, self._kept(), self.progress.as_json())
    self.job.tell()
    signals.check()

  def _tested(self) -> dict[str, Any]:
    """What a test uses: the parameters and the other variables, such as normalisation statistics."""
    return {"params": self.state.params, "rest": self.state.rest}

  def _kept(self) -> dict[str, Any]:
    """The arrays that a checkpoint holds."""
    if not self.values["patience"]:
      return {"state": self.state}
    return {"state": self.state, "best": self._tested() if self.best is None else self.best}

  def _compiled(self) -> Iterator[Compiled]:
    seconds = self.program.compiled_s - self._told_s
    if seconds > 0:
      self._told_s = self.program.compiled_s
      yield Compiled(seconds)

  def _said(self, line: str) -> Said:
    return Said(line, (self.point,))


def _finite(value: float) -> float | None:
  return float(value) if math.isfinite(value) else None
