"""Records: what is finished, on disk at once, for any number of writers.

DIR/records/ holds one JSON file for what was finished together: some seeds of all nets at one
training size and mark. A file is written whole or not at all, never removed and never changed (but
for a damaged one, in whose place the same results are written), so that workers, and machines that
share the directory, need no lock; results.csv, tables and pictures are made from the files.
DIR/checkpoints/ holds parameters of runs until the sweep is finished: unfinished ones' and last marks'.
"""

import json
import pathlib
import pickle
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from qnn_jax.atomic import atomic_write_bytes, atomic_write_text
from qnn_jax.reports.paper import Cell
from qnn_jax.reports.summary import Run


def write_record(workdir: pathlib.Path, runs: Sequence[Run]) -> None:
  """Puts runs of one training size and mark on disk."""
  size, epochs = runs[0].train_size, runs[0].epochs
  seeds = sorted({run.seed for run in runs})
  folder = workdir / "records"
  folder.mkdir(exist_ok=True)
  text = json.dumps([run._asdict() for run in runs], indent=0)
  name = f"size{size}-epochs{epochs}-seed{seeds[0]}-{zlib.crc32(text.encode()):08x}.json"
  atomic_write_text(folder / name, text)


def read_records(workdir: pathlib.Path) -> list[Run]:
  """Every finished run, once. A damaged file is left alone, named in a warning, and counts for none."""
  runs = {}
  for path in sorted((workdir / "records").glob("*.json")):
    try:
      found = [Run(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
      logging.warning("%s is damaged (%s); its runs are done again", path, error)
      continue
    runs |= {(run.cell, run.seed): run for run in found}
  return list(runs.values())


def write_checkpoint(
  workdir: pathlib.Path, size: int, seeds: Sequence[int], epochs: int, params: Any
) -> pathlib.Path:
  """Keeps the parameters, NumPy arrays, of these seeds after `epochs` passes, beside earlier ones."""
  number = zlib.crc32(repr(tuple(seeds)).encode())
  path = workdir / "checkpoints" / f"size{size}-epochs{epochs}-seed{seeds[0]}-{number:08x}.ckpt"
  path.parent.mkdir(exist_ok=True)
  content = pickle.dumps((tuple(seeds), epochs, params))
  atomic_write_bytes(path, zlib.crc32(content).to_bytes(4, "big") + content)
  return path


def read_checkpoint(
  workdir: pathlib.Path, size: int, seeds: Sequence[int], most: int = sys.maxsize
) -> tuple[int, Any] | None:
  """(epochs, params) of these seeds after the same, largest number of passes, at most `most`.

  The seeds may have been written in other companies, by other numbers of workers. None if some seed
  has no such checkpoint; a damaged file counts as none, and is named in a warning.
  """
  found: dict[int, dict[int, Any]] = {}
  for path in sorted((workdir / "checkpoints").glob(f"size{size}-*.ckpt")):
    content = _read_checkpoint_file(path)
    if content:
      written, epochs, params = content
      for place, seed in enumerate(written):
        found.setdefault(epochs, {})[seed] = params, place
  usable = [epochs for epochs, by in found.items() if epochs <= most and by.keys() >= set(seeds)]
  if not usable:
    return None
  places = [found[max(usable)][seed] for seed in seeds]
  each = [jax.tree.map(lambda leaf, i=place: leaf[i], params) for params, place in places]
  return max(usable), jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def remove_checkpoints(
  workdir: pathlib.Path, size: int, seeds: Iterable[int], before: int = sys.maxsize
) -> None:
  """Drops a training size's checkpoints of fewer passes than `before` with no seed but these."""
  seeds = set(seeds)
  for path in (workdir / "checkpoints").glob(f"size{size}-*.ckpt"):
    content = _read_checkpoint_file(path)
    if content and seeds.issuperset(content[0]) and content[1] < before:
      path.unlink(missing_ok=True)


def remove_all_checkpoints(workdir: pathlib.Path) -> None:
  """Drops every checkpoint, damaged and half-written ones too: for a sweep that is finished."""
  folder = workdir / "checkpoints"
  for path in folder.iterdir() if folder.is_dir() else ():
    path.unlink(missing_ok=True)


def _read_checkpoint_file(path):
  try:
    data = path.read_bytes()
  except OSError:
    return None  # another worker has just removed it
  if len(data) <= 4 or zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
    logging.warning("%s is damaged and counts for nothing", path)
    return None
  return pickle.loads(data[4:])  # our own file, whole as its checksum says


def finished(workdir: pathlib.Path) -> set[tuple[Cell, int]]:
  """The cells and seeds of every run that is on disk."""
  return {(run.cell, run.seed) for run in read_records(workdir)}
