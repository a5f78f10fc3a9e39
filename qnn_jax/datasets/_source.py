"""One split of a prepared data set, read from the array cache or decoded from its records."""

import functools
import logging
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qnn_jax import _extras
from qnn_jax.datasets import _cache, _prepared

CACHED_BYTES = 2 * 2**30  # larger decoded splits have no cache file: images are decoded when read


class Reader(Protocol):
  """The interface of `_cache.Cache` and `_tfds.Records`."""

  shape: _cache.Shape

  def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B] -> images uint8 [B, h, w, c], labels int32 [B]."""

  def labels(self) -> np.ndarray:
    """int32 [N]."""


class Source:
  """A split. A copy by pickle opens its own files when it is first used."""

  def __init__(
    self,
    prepared: _prepared.Prepared,
    split: str,
    resize: tuple[int, int] | None,
    folder: Path,
    limit: float,
  ):
    """Opens the split's cache file; creates it if it is missing or damaged.

    Args:
      prepared: the data set.
      split: the name of a split that has images.
      resize: (height, width) to resize images to; None for the stored size.
      folder: the folder of cache files.
      limit: splits with more decoded bytes than this have no cache file.

    Raises:
      InputError: files are damaged, or the images have several sizes.
      MissingExtra: there is no cache file, and the packages that decode images are not installed.
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
    """The folder of the data set, and the split: equal for sources of the same images."""
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
    # A cache hit needs none of these packages.
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
        f"{self._prepared.name} is decoded again each time, because its cache cannot be written: {error}"
      )
      return records

  def _cache_file(self, folder: Path) -> Path | None:
    """The cache file; None for a large split, whose files would take minutes to read for their digest."""
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
  """The folder of cache files: the given one, or the user's cache folder."""
  if cache_dir is not None:
    return _prepared.as_path("cache_dir", cache_dir)
  base = os.environ.get("XDG_CACHE_HOME", "")
  # By the XDG specification a relative path is ignored.
  return Path(os.path.expanduser(base if os.path.isabs(base) else "~/.cache")) / "qnn_jax"


@functools.cache  # a sweep loads its data more than once
def _warn_once(message: str) -> None:
  logging.getLogger(__name__).warning(message)
