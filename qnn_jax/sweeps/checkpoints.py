"""Checkpoints: the saved state of unfinished groups, in DIR/checkpoints, lane by lane.

A checkpoint holds a tree of arrays whose first axis is the lanes, and each lane's point. So a lane may
continue in another group than the one it was stopped in. A file is never changed, only removed.
"""

import contextlib
import hashlib
import os
import pathlib
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.sweeps import arrays, damage
from qnn_jax.sweeps.damage import Damaged, Unreadable
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.records import FORMAT


def write(
  workdir: pathlib.Path, lanes: Sequence[Point], step: int, tree: Any, points: Iterable[Point] = ()
) -> pathlib.Path:
  """Writes a tree of arrays, leaves [lanes, ...], after so many steps; earlier checkpoints stay.

  `points` are the points that the group works on: see `tidy`.

  Raises:
    OSError: it could not be written.
  """
  return _write(workdir, [lane.text() for lane in lanes], step, tree, sorted(_digests(points)))


def _write(workdir, texts, step, tree, digests):
  path = _folder(workdir) / f"step{step}-{zlib.crc32(repr(texts).encode()):08x}.npz"
  header = {"format": FORMAT, "lanes": texts, "step": step, "points": digests}
  arrays.write_tree(path, tree, header)
  return path


def _digests(points):
  return {hashlib.sha256(point.text().encode()).hexdigest()[:16] for point in points}


def read(
  workdir: pathlib.Path, lanes: Sequence[Point], most: int = sys.maxsize
) -> tuple[int, Any] | None:
  """(step, tree) of these lanes after the same, largest number of steps, at most `most`.

  None if some lane has no such checkpoint; a damaged file is named in a warning, set aside and ignored.

  Raises:
    InputError: a checkpoint is of another format.
  """
  wanted = [lane.text() for lane in lanes]
  found: dict[int, dict[str, tuple[pathlib.Path, int]]] = {}
  for path, header in _headers(workdir):
    if header["step"] <= most:
      for place, lane in enumerate(header["lanes"]):
        found.setdefault(header["step"], {})[lane] = path, place
  for step in sorted(found, reverse=True):
    if found[step].keys() >= set(wanted):
      trees = {path: _tree(workdir, path) for path in {found[step][w][0] for w in wanted}}
      if all(tree is not None for tree in trees.values()):
        places = [(trees[found[step][lane][0]], found[step][lane][1]) for lane in wanted]
        with contextlib.suppress(ValueError, LookupError, TypeError):  # lanes of different shapes
          each = [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for tree, i in places]
          return step, jax.tree.map(lambda *leaves: np.stack(leaves), *each)
  return None


def remove(workdir: pathlib.Path, lanes: Sequence[Point], before: int = sys.maxsize) -> None:
  """Removes the checkpoints of fewer steps than `before` that hold these lanes only."""
  mine = {lane.text() for lane in lanes}
  for path, header in _headers(workdir):
    if header["step"] < before and mine.issuperset(header["lanes"]):
      _unlink(path)


def release(workdir: pathlib.Path, lanes: Sequence[Point], most: int) -> None:
  """Removes these lanes from the checkpoints of at most `most` steps; other lanes stay there."""
  mine = {lane.text() for lane in lanes}
  for path, header in list(_headers(workdir)):
    if header["step"] > most or mine.isdisjoint(header["lanes"]):
      continue
    kept = [i for i, lane in enumerate(header["lanes"]) if lane not in mine]
    tree = _tree(workdir, path) if kept else None
    if kept:
      if tree is None:
        continue
      texts = [header["lanes"][i] for i in kept]
      try:
        part = jax.tree.map(lambda leaf, i=kept: leaf[i], tree)
        _write(workdir, texts, header["step"], part, header.get("points", []))
      except OSError:
        continue  # such as a full disk: the file stays as it is, which does no harm
    _unlink(path)


def tidy(workdir: pathlib.Path, done: Iterable[Point] = ()) -> None:
  """Removes the checkpoints of points that are all done, sets damaged ones aside, and removes an empty folder.

  A killed launcher may leave such checkpoints, because others may run its points in other groups.
  """
  digests = None
  for path, header in _headers(workdir):
    digests = digests if digests is not None else _digests(done)
    points = header.get("points")
    if isinstance(points, list) and points and digests.issuperset(map(str, points)):
      _unlink(path)
  with contextlib.suppress(OSError):
    _folder(workdir).rmdir()


def _headers(workdir):
  for path in sorted(_folder(workdir).glob("step*.npz")):
    content = _content(workdir, path, None)
    if content is None:
      continue
    header = content[0]
    found = header.get("format")
    if type(found) is int and FORMAT < found < 1000:
      raise InputError(
        f"{path} is a checkpoint of another format ({found}, where this version has "
        f"{FORMAT}); name another --workdir, or use the version that wrote it"
      )
    if found == FORMAT and _is_header(header):
      yield path, header
    else:
      _set_aside(workdir, path, Damaged("its header is impossible"))


def _is_header(header):
  lanes, step = header.get("lanes"), header.get("step")
  return type(step) is int and type(lanes) is list and all(type(lane) is str for lane in lanes)


def _tree(workdir, path):
  """The tree in a file, whose leaves have its lanes first; None if it is damaged or gone."""
  content = _content(workdir, path, [])
  if content is None:
    return None
  header, tree = content
  lanes = len(header["lanes"])
  if any(leaf.shape[:1] != (lanes,) for leaf in jax.tree.leaves(tree)):
    _set_aside(workdir, path, Damaged("its arrays do not fit its lanes"))
    return None
  return tree


def _content(workdir, path, within):
  try:
    return arrays.read_tree(path, within)
  except Damaged as error:
    _set_aside(workdir, path, error)
  except Unreadable as error:
    damage.name_once(path, f"cannot be read ({error}); its runs begin earlier")
  return None


def _set_aside(workdir, path, error):
  damage.set_aside(workdir, path, error, "its runs begin earlier")


def _unlink(path):
  with contextlib.suppress(OSError):  # a file that cannot be removed does no harm
    os.unlink(path)


def _folder(workdir):
  return workdir / "checkpoints"
