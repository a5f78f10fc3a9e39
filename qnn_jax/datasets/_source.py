"""One split of a prepared data set: from the array cache, or decoded from its records when asked for."""

import functools
import logging
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qnn_jax import _extras
from qnn_jax.datasets import _cache, _prepared

CACHED_BYTES = 2 * 2**30  # decoded; splits larger than that are decoded when they are asked for


class Reader(Protocol):
  """What `_cache.Cache` and `_tfds.Records` are."""

  shape: _cache.Shape

  def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B] -> images uint8 [B, h, w, c], labels int32 [B]."""

  def labels(self) -> np.ndarray:
    """int32 [N]."""


class Source:
  """A split; a copy by pickle opens its files for itself, when it is first used."""

  def __init__(
    self,
    prepared: _prepared.Prepared,
    split: str,
    resize: tuple[int, int] | None,
    folder: Path,
    limit: float,
  ):
    """Opens the split's cache file; makes it if it is missing or damaged.

    Args:
      prepared: the data set.
      split: its name; it has images.
      resize: (height, width) of pictures; None: as they are stored.
      folder: of cache files.
      limit: decoded bytes beyond which there is no cache file.

    Raises:
      InputError: files are damaged, or the images are of several sizes.
      MissingExtra: there is no cache file, and what decodes images is not installed.
    """
    self._prepared, self._split, self._resize, self._limit = prepared, split, resize, limit
    self._size = prepared.metadata.sizes[split]
    self._path = self._cache_file(folder)
    self._reader: Reader | None = None
    self.shape = self._open().shape

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {"_reader": None}

  @property
  def holds(self) -> tuple[Path, str]:
    """Whose images these are: the folder of the data set, and the split."""
    return self._prepared.folder, self._split

  def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B] -> images uint8 [B, h, w, c], labels int32 [B]."""
    try:
      return self._open().read(indices)
    except _cache.Damaged:
      self._reader = self._make()
      return self._reader.read(indices)

  def labels(self) -> np.ndarray:
    """int32 [N]."""
    return self._open().labels()

  def _open(self) -> Reader:
    if self._reader is None:
      try:
        self._reader = self._cached()
      except (OSError, _cache.Damaged):
        self._reader = self._make()
    return self._reader

  def _cached(self) -> Reader:
    if self._path is None:
      raise _cache.Damaged
    return _cache.Cache(self._path, self._size)

  def _make(self) -> Reader:
    """Decodes the split into its cache file, unless it is large or the file cannot be written."""
    # A cache hit does without all of these.
    _extras.need(
      f"decoding {self._prepared.name}",
      *("tensorflow_datasets", "array_record", "importlib_resources", "PIL"),
    )
    from qnn_jax.datasets import _tfds

    records = _tfds.Records(self._prepared, self._split, self._resize)
    if self._path is None or self._size * math.prod(records.shape) > self._limit:
      return records
    records.check()
    try:
      _cache.write(self._path, self._size, records.shape, records.read)
      return self._cached()
    except (OSError, _cache.Damaged) as error:
      _warn_once(
        f"{self._prepared.name} is decoded anew each time, for its cache cannot be written: {error}"
      )
      return records

  def _cache_file(self, folder: Path) -> Path | None:
    """None for a large split: to read all of its files for their digest would take minutes."""
    metadata = self._prepared.metadata
    shape = metadata.shape if self._resize is None else (*self._resize, metadata.shape[2])
    decoded = self._size * math.prod(length or 1 for length in shape)
    if max(decoded, _prepared.stored(self._prepared)) > self._limit:
      return None
    size = "" if self._resize is None else "-{}x{}".format(*self._resize)
    name = self._prepared.name.replace("/", "-")
    digest = _prepared.digest(self._prepared)[:32]
    return folder / f"{name}-{self._split}{size}-{digest}.bin"


def cache_folder(cache_dir: str | os.PathLike | None) -> Path:
  """The folder of cache files: as given, or the user's own."""
  if cache_dir is not None:
    return _prepared.as_path("cache_dir", cache_dir)
  base = os.environ.get("XDG_CACHE_HOME", "")
  # The XDG rules: a relative path is to be ignored.
  return Path(os.path.expanduser(base if os.path.isabs(base) else "~/.cache")) / "qnn_jax"


@functools.cache  # a sweep loads its data more than once
def _warn_once(message: str) -> None:
  logging.getLogger(__name__).warning(message)
