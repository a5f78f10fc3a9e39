"""Records: what is finished, on disk at once, for any number of writers.

DIR/records/ holds one JSON file for what was finished together: some seeds of all nets at one
training size and mark. A file is written whole or not at all, never changed and never removed, so
that workers, and machines that share the directory, need no lock; results.csv, tables and pictures
are made from the files. DIR/checkpoints/ holds the parameters of unfinished runs.
"""

import json
import pathlib
import pickle
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from qnn_jax.atomic import atomic_write_bytes, atomic_write_text
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


def _checkpoint_path(workdir: pathlib.Path, size: int, seeds: Sequence[int]) -> pathlib.Path:
  number = zlib.crc32(repr(tuple(seeds)).encode())
  return workdir / "checkpoints" / f"size{size}-seed{seeds[0]}-{number:08x}.ckpt"


def write_checkpoint(
  workdir: pathlib.Path, size: int, seeds: Sequence[int], epochs: int, params: Any
) -> None:
  """Keeps the parameters of these seeds after `epochs` passes, in the place of earlier ones."""
  path = _checkpoint_path(workdir, size, seeds)
  path.parent.mkdir(exist_ok=True)
  content = pickle.dumps((epochs, jax.tree.map(np.asarray, params)))
  atomic_write_bytes(path, zlib.crc32(content).to_bytes(4, "big") + content)


def read_checkpoint(
  workdir: pathlib.Path, size: int, seeds: Sequence[int]
) -> tuple[int, Any] | None:
  """(epochs, params) as last written for these seeds, or None; a damaged one counts as none."""
  path = _checkpoint_path(workdir, size, seeds)
  try:
    data = path.read_bytes()
  except OSError:
    return None
  if len(data) <= 4 or zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
    logging.warning("%s is damaged; its runs begin again", path)
    return None
  return pickle.loads(data[4:])


def remove_checkpoint(workdir: pathlib.Path, size: int, seeds: Sequence[int]) -> None:
  """Drops the parameters of seeds whose every record is on disk."""
  _checkpoint_path(workdir, size, seeds).unlink(missing_ok=True)


def unfinished(runs: Iterable[Run], cells: Sequence[Any], seeds: Sequence[int]) -> tuple[int, ...]:
  """The seeds that lack a run of any of these cells."""
  done = {(run.cell, run.seed) for run in runs}
  return tuple(seed for seed in seeds if any((cell, seed) not in done for cell in cells))
