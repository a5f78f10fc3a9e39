"""metrics.jsonl, and the same metrics for TensorBoard.

metrics.jsonl has one line per logged step, in order, each step once. A training that resumes removes the lines after
its checkpoint, and writes TensorBoard's file again from the remaining lines. So both files hold every step once,
however often the training was killed.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from qnn_jax.atomic import atomic_write_text

NAME = "metrics.jsonl"


class Metrics:
  """The two metrics files of a folder, which grow line by line; a context manager."""

  def __init__(self, folder: pathlib.Path, step: int):
    """Opens the files and keeps their lines up to this step.

    Args:
      folder: the folder of the run.
      step: the step of the checkpoint at which the training begins; 0 for none.
    """
    self._path = folder / NAME
    kept = [line for line in read(self._path) if line["step"] <= step]
    atomic_write_text(self._path, "".join(map(_text, kept)))
    for old in folder.glob("events.out.tfevents.*"):
      old.unlink()
    # Imported only here, because a run without metrics does not need it.
    from tensorboardX import SummaryWriter

    self._writer = SummaryWriter(str(folder), flush_secs=10)
    self._file = self._path.open("a", encoding="utf-8")
    for line in kept:
      self._to_tensorboard(line)

  def write(self, line: Mapping[str, Any]) -> None:
    """Adds a line: `step` and numbers by name."""
    self._file.write(_text(line))
    self._file.flush()
    self._to_tensorboard(line)

  def sync(self) -> None:
    """Writes everything to disk; called before a checkpoint of the same step is saved."""
    os.fsync(self._file.fileno())
    self._writer.flush()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._file.close()
    self._writer.close()

  def _to_tensorboard(self, line):
    for name, value in line.items():
      if name != "step" and isinstance(value, (int, float)):
        self._writer.add_scalar(name, value, line["step"], walltime=line.get("time"))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a metrics.jsonl; [] if the file does not exist. A line that a kill cut off is left out."""
  found: list[dict[str, Any]] = []
  with contextlib.suppress(FileNotFoundError):
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
      try:
        line = json.loads(text)
        step = line["step"]
      except (ValueError, KeyError, TypeError):
        break
      if found and step <= found[-1]["step"]:
        break
      found.append(line)
  return found


def _text(line):
  return json.dumps(line) + "\n"
