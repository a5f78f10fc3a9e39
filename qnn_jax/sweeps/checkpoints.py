"""Checkpoints: where unfinished groups have come to, in DIR/checkpoints, lane by lane.

A checkpoint holds a tree of arrays whose first axis is the lanes, and each lane's point, so that lanes
may carry on in another company than they were stopped in. A file is never changed, and only removed.
"""

import contextlib
import pathlib
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.sweeps import arrays
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.store import FORMAT


def write(workdir: pathlib.Path, lanes: Sequence[Point], step: int, tree: Any) -> pathlib.Path:
  """Keeps a tree of arrays, leaves [lanes, ...], after so many steps, beside earlier ones."""
  return _write(workdir, [lane.text() for lane in lanes], step, tree)


def _write(workdir, texts, step, tree):
  path = _folder(workdir) / f"step{step}-{zlib.crc32(repr(texts).encode()):08x}.npz"
  arrays.write_tree(path, tree, {"format": FORMAT, "lanes": texts, "step": step})
  return path


def read(
  workdir: pathlib.Path, lanes: Sequence[Point], most: int = sys.maxsize
) -> tuple[int, Any] | None:
  """(step, tree) of these lanes after the same, largest number of steps, at most `most`.

  None if some lane has no such checkpoint; a damaged file counts as none, and is named in a warning.

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
      trees = {path: arrays.read_tree(path, []) for path in {found[step][w][0] for w in wanted}}
      places = [(trees[found[step][lane][0]], found[step][lane][1]) for lane in wanted]
      if all(content for content, _ in places):
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], content[1]) for content, i in places]  # type: ignore[index]
        return step, jax.tree.map(lambda *leaves: np.stack(leaves), *each)
  return None


def remove(workdir: pathlib.Path, lanes: Sequence[Point], before: int = sys.maxsize) -> None:
  """Drops the checkpoints of fewer steps than `before` with no lane but these."""
  mine = {lane.text() for lane in lanes}
  for path, header in _headers(workdir):
    if header["step"] < before and mine.issuperset(header["lanes"]):
      path.unlink(missing_ok=True)


def release(workdir: pathlib.Path, lanes: Sequence[Point], most: int) -> None:
  """Drops these lanes from the checkpoints of at most so many steps; what other lanes have there stays."""
  mine = {lane.text() for lane in lanes}
  for path, header in list(_headers(workdir)):
    if header["step"] > most or mine.isdisjoint(header["lanes"]):
      continue
    kept = [i for i, lane in enumerate(header["lanes"]) if lane not in mine]
    content = arrays.read_tree(path, []) if kept else None
    if kept and content is None:
      continue
    if content:
      texts = [header["lanes"][i] for i in kept]
      _write(workdir, texts, header["step"], jax.tree.map(lambda leaf, i=kept: leaf[i], content[1]))
    path.unlink(missing_ok=True)


def tidy(workdir: pathlib.Path) -> None:
  """Drops what no launcher can use: damaged and half-written files, and the folder if nothing is left."""
  folder = _folder(workdir)
  usable = {path for path, _ in _headers(workdir)}
  for path in folder.iterdir() if folder.is_dir() else ():
    if path not in usable:
      path.unlink(missing_ok=True)
  with contextlib.suppress(OSError):
    folder.rmdir()


def _headers(workdir):
  for path in sorted(_folder(workdir).glob("step*.npz")):
    content = arrays.read_tree(path)
    if content is None:
      continue
    if content[0].get("format") != FORMAT:
      raise InputError(
        f"{path} is a checkpoint of another format ({content[0].get('format')}, where this version has "
        f"{FORMAT}); name another --workdir, or use the version that wrote it"
      )
    yield path, content[0]


def _folder(workdir):
  return workdir / "checkpoints"
