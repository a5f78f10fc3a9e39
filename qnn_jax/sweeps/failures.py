"""Failures: the errors of groups, kept in DIR/failures until the groups' points are done."""

import contextlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qnn_jax.atomic import atomic_write_bytes
from qnn_jax.sweeps import damage
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.points import Point


def write(workdir: pathlib.Path, points: Sequence[Point], why: str, text: str) -> None:
  """Writes a failure, a sentence and the traceback, in place of earlier failures of these points."""
  forget(workdir, points)
  content = {
    "why": why,
    "attempt": uuid.uuid4().hex,
    "points": [point.text() for point in points],
    "traceback": text,
  }
  _write(workdir / "failures" / f"{unit_name(points)}.json", content)


def read(workdir: pathlib.Path) -> dict[str, str]:
  """`Point.text()` -> why its group failed."""
  return {text: content["why"] for _, content in _all(workdir) for text in content["points"]}


Entries = Mapping[tuple[str, int], dict[str, Any]]


def entries(workdir: pathlib.Path, known: Entries) -> Entries:
  """(name, time of writing) -> content of every failure; files in `known` are not read again.

  A content has `points`, as `Point.text()`, `why`, and `attempt`, a text that is new for each failure.
  """
  there: set[tuple[str, int]] = set()
  with contextlib.suppress(OSError), os.scandir(workdir / "failures") as files:
    there = {(file.name, file.stat().st_mtime_ns) for file in files}
  if there <= known.keys():
    return {file: known[file] for file in there}
  new = {name for name, time in there if (name, time) not in known}
  read = {path.name: content for path, content in _all(workdir, new)}
  return {
    file: known[file] if file in known else read[file[0]]
    for file in there
    if file in known or file[0] in read
  }


def forget(workdir: pathlib.Path, points: Sequence[Point]) -> None:
  """Removes the failures of these points, whatever groups they were in."""
  done = None
  for path, content in _all(workdir):
    done = done if done is not None else {point.text() for point in points}
    left = [text for text in content["points"] if text not in done]
    if not left:
      with contextlib.suppress(OSError):
        path.unlink()
    elif len(left) < len(content["points"]):
      _write(path, content | {"points": left})
  with contextlib.suppress(OSError):  # others have failures there, or there are none
    (workdir / "failures").rmdir()


def _write(path, content):
  with contextlib.suppress(OSError):  # a full disk may be the failure
    text = json.dumps(content, indent=1) + "\n"
    atomic_write_bytes(path, text.encode(), make_folder=True)


def _all(workdir, only=None) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
  for path in sorted((workdir / "failures").glob("[!.]*.json")):
    if only is not None and path.name not in only:
      continue
    try:
      data, status = damage.read_file(path)
      yield path, _checked(data, status)
    except FileNotFoundError:
      continue  # another process has just removed it
    except Damaged as error:
      damage.set_aside(workdir, path, error, "the reason of the failure is lost, but no run is")
    except Unreadable as error:
      damage.name_once(path, f"cannot be read ({error})")


def _checked(data, status):
  try:
    content = json.loads(data.decode("utf-8"))
  except (ValueError, RecursionError) as error:
    raise Damaged("it is no JSON", status) from error
  kinds = {"why": str, "points": list, "attempt": str}
  whole = isinstance(content, dict) and all(type(content.get(k)) is v for k, v in kinds.items())
  if not whole or not all(type(text) is str for text in content["points"]):
    raise Damaged("it is not what was written", status)
  return content
