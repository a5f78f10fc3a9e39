"""Failures: what went wrong in a group, kept in DIR/failures until its points are done."""

import contextlib
import json
import pathlib
from collections.abc import Sequence

from qnn_jax.atomic import atomic_write_text
from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.points import Point


def write(workdir: pathlib.Path, points: Sequence[Point], why: str, text: str) -> None:
  """Keeps a sentence and the whole traceback."""
  folder = workdir / "failures"
  content = {"why": why, "points": [point.text() for point in points], "traceback": text}
  with contextlib.suppress(OSError):  # a full disk may be the failure
    folder.mkdir(exist_ok=True)
    atomic_write_text(folder / f"{unit_name(points)}.json", json.dumps(content, indent=1) + "\n")


def read(workdir: pathlib.Path) -> dict[str, str]:
  """`Point.text()` -> why its group failed."""
  found: dict[str, str] = {}
  for path in sorted((workdir / "failures").glob("*.json")):
    try:
      content = json.loads(path.read_text(encoding="utf-8"))
      found |= dict.fromkeys(content["points"], content["why"])
    except (OSError, ValueError, KeyError, TypeError):
      continue  # half a file, or gone: the points are missing all the same
  return found


def forget(workdir: pathlib.Path, points: Sequence[Point]) -> None:
  """Drops the failures of points that are done now."""
  done = {point.text() for point in points}
  for path in (workdir / "failures").glob("*.json"):
    try:
      if done.issuperset(json.loads(path.read_text(encoding="utf-8"))["points"]):
        path.unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
      continue
