"""Trees of arrays on disk, as .npz files of arrays and JSON: reading one runs no code."""

import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
from absl import logging

from qnn_jax.atomic import atomic_write_bytes

_HEADER = "header"

# What the readers of zip, JSON and NumPy's files raise where a bit is not what it was: a flag that says
# 'encrypted' or an unknown way to compress is a RuntimeError.
_DAMAGE = (
  OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError,
  zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_tree(path: pathlib.Path, tree: Any, header: Mapping[str, Any]) -> None:
  """Puts a tree (dicts with text or whole numbers as keys, and lists) of arrays at `path`, whole or not at all."""
  leaves, paths, dtypes = [], [], []
  for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    array = np.asarray(leaf)
    paths.append([_written(key) for key in keys])
    dtypes.append(array.dtype.name)
    # NumPy's files do not know bfloat16 and its like; their bytes they hold.
    leaves.append(array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}"))
  text = json.dumps({"header": header, "paths": paths, "dtypes": dtypes})
  buffer = io.BytesIO()
  names = {str(i): leaf for i, leaf in enumerate(leaves)}
  np.savez(buffer, **{_HEADER: np.frombuffer(text.encode(), np.uint8)}, **names)  # type: ignore[arg-type]
  path.parent.mkdir(parents=True, exist_ok=True)
  atomic_write_bytes(path, buffer.getvalue())


def read_tree(path: pathlib.Path, within: list | None = None) -> tuple[dict[str, Any], Any] | None:
  """(header, tree) of a file of `write_tree`; None, and a warning, if it is damaged; None if it is gone.

  Args:
    path: the file.
    within: read only what is below these keys of the tree; [] is all of it, None the header alone.
  """
  try:
    with zipfile.ZipFile(path) as file:
      text = json.loads(_array(file, _HEADER).tobytes())
      if within is None:
        return text["header"], None
      leaves = {}
      for i, (keys, dtype) in enumerate(zip(text["paths"], text["dtypes"], strict=True)):
        if keys[: len(within)] == within:
          leaves[tuple(map(_hashable, keys[len(within) :]))] = _array(file, str(i), dtype)
      return text["header"], _nested(leaves)
  except FileNotFoundError:
    return None  # another process has just removed it
  except _DAMAGE as error:
    logging.warning("%s is damaged (%s) and counts for nothing", path, error)
    return None


def _array(file: zipfile.ZipFile, name: str, dtype: str | None = None) -> np.ndarray:
  # The zip's own checksum is what finds damage; it is looked at when all of a member has been read.
  array = np.lib.format.read_array(io.BytesIO(file.read(f"{name}.npy")), allow_pickle=False)
  if dtype is None or array.dtype.name == dtype:
    return array
  return array.view(getattr(ml_dtypes, dtype))


def _written(key):
  # [i] is a place in a list; text and numbers are keys of a dict.
  if isinstance(key, jax.tree_util.SequenceKey):
    return [key.idx]
  return key.key


def _hashable(key):
  return tuple(key) if isinstance(key, list) else key


def _nested(leaves: Mapping[tuple, np.ndarray]) -> Any:
  if () in leaves:
    return leaves[()]
  parts: dict[Any, dict] = {}
  for (first, *rest), leaf in leaves.items():
    parts.setdefault(first, {})[tuple(rest)] = leaf
  nested = {key: _nested(part) for key, part in parts.items()}
  if nested and all(isinstance(key, tuple) for key in nested):
    return [nested[key] for key in sorted(nested)]
  return nested
