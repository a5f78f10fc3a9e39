"""Trees of arrays on disk, as .npz files of arrays and JSON: reading one runs no code."""

import errno
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np

from qnn_jax.atomic import atomic_write_bytes
from qnn_jax.sweeps import damage
from qnn_jax.sweeps.damage import Damaged

_HEADER = "header"


def write_tree(path: pathlib.Path, tree: Any, header: Mapping[str, Any]) -> None:
  """Puts a tree (dicts with text or whole numbers as keys, and lists) of arrays at `path`, whole or not at all."""
  leaves, paths, dtypes = [], [], []
  for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    array = np.asarray(leaf)
    paths.append([_written(key) for key in keys])
    dtypes.append(array.dtype.name)
    # NumPy's files cannot hold bfloat16 and similar types, but they can hold their bytes.
    leaves.append(array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}"))
  text = json.dumps({"header": header, "paths": paths, "dtypes": dtypes})
  buffer = io.BytesIO()
  names = {str(i): leaf for i, leaf in enumerate(leaves)}
  np.savez(buffer, **{_HEADER: np.frombuffer(text.encode(), np.uint8)}, **names)  # type: ignore[arg-type]
  atomic_write_bytes(path, buffer.getvalue(), make_folder=True)


def read_tree(path: pathlib.Path, within: list | None = None) -> tuple[dict[str, Any], Any] | None:
  """(header, tree) of a file of `write_tree`; None if the file is gone.

  Args:
    path: the file.
    within: read only what is below these keys of the tree; [] is all of it, None the header alone.

  Raises:
    Damaged: the file is not what was written.
    Unreadable: the file cannot be read now.
  """
  try:
    with damage.opened(path) as (file, status):
      try:
        return _read(file, within)
      # Any error that the readers of zip, JSON and NumPy's files raise for a damaged file.
      except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ESTALE):
          raise  # an error of the disk; a position before the file's beginning means damage
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise Damaged(why, status) from None
  except FileNotFoundError:
    return None  # another process has just removed it


def _read(file, within):
  with zipfile.ZipFile(file) as members:
    text = json.loads(_array(members, _HEADER).tobytes())
    header = text["header"]
    if not isinstance(header, dict):
      raise ValueError("it has no header")  # noqa: TRY004, as for text that is no JSON
    if within is None:
      return header, None
    leaves = {}
    for i, (keys, dtype) in enumerate(zip(text["paths"], text["dtypes"], strict=True)):
      if keys[: len(within)] == within:
        leaves[tuple(map(_hashable, keys[len(within) :]))] = _array(members, str(i), dtype)
    return header, _nested(leaves)


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
