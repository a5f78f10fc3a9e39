"""Any part of a data set, read in batches, from what TFDS has prepared in array_record format.

images = open_split("mnist", "train[:5000]")
pixels, labels = images.batch(np.arange(64))  # uint8 [64, 28, 28, 1], int32 [64]
"""

import dataclasses
import numbers
import os
from collections.abc import Sequence

import numpy as np

from qnn_jax.datasets import _prepared, _source, _splits
from qnn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Description:
  """The metadata of a prepared data set.

  Attributes:
    name: NAME or NAME/CONFIG.
    version: the version, such as "3.0.1".
    folder: the folder of that version.
    splits: split -> the number of its images.
    shape: (height, width, channels) of an image; None for a length that the metadata leaves open.
    classes: the number of classes.
    class_names: a name for each class; "0", "1", ... if TFDS has written no names.
  """

  name: str
  version: str
  folder: str
  splits: dict[str, int]
  shape: tuple[int | None, int | None, int | None]
  classes: int
  class_names: tuple[str, ...]


class Images:
  """Images with class labels, which can be read in any order in constant memory; `open_split` makes them.

  It can be pickled for other processes. Each copy opens its own files.

  Attributes:
    name: the data set, NAME or NAME/CONFIG.
    split: the notation that it was opened with.
    shape: (height, width, channels) of an image.
    classes: the number of classes.
    class_names: a name for each class.
    parts: what `__init__` joins: (source, first image, last image + 1) of each range.
  """

  def __init__(
    self,
    name: str,
    split: str,
    class_names: tuple[str, ...],
    parts: Sequence[tuple[_source.Source, int, int]],
  ):
    """Joins ranges of images.

    Args:
      name: the data set.
      split: the notation of the split.
      class_names: a name for each class.
      parts: (source, first image, last image + 1) of each range, with images of one shape.
    """
    self.name, self.split, self.class_names = name, split, class_names
    self.classes = len(class_names)
    self.shape = parts[0][0].shape
    self._parts = tuple(parts)
    self._ends = np.cumsum([stop - start for _, start, stop in parts])

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __repr__(self) -> str:
    return f"Images({self.name!r}, {self.split!r}: {len(self)} of shape {self.shape}, {self.classes} classes)"

  def batch(self, indices: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The images with the given indices.

    Args:
      indices: [B], from 0 to N - 1 in any order.

    Returns:
      (images uint8 [B, h, w, c], labels int32 [B]); the arrays are writable.

    Raises:
      InputError: the indices are not such a list, or an image cannot be read or has another size.
    """
    given = np.asarray(indices)
    if given.size == 0:
      given = given.astype(np.int64)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
      raise InputError(
        f"indices must be a list of integers, got {given.dtype} of shape {given.shape}"
      )
    if given.size and not 0 <= given.min() <= given.max() < len(self):
      wrong = given[(given < 0) | (given >= len(self))][0]
      raise InputError(f"indices must be from 0 to {len(self) - 1}, got {wrong}")
    of = np.searchsorted(self._ends, given, side="right")
    if len(set(of.tolist())) == 1:  # nearly always so
      return self._read(of[0], given)
    images = np.empty((len(given), *self.shape), np.uint8)
    labels = np.empty(len(given), np.int32)
    for part in set(of.tolist()):
      at = of == part
      images[at], labels[at] = self._read(part, given[at])
    return images, labels

  def shared(self, other: "Images") -> int:
    """The number of images of this split that are also in the `other`, a split of the same data set."""
    inside = 0
    for source, start, stop in self._parts:
      there = np.zeros(stop - start, bool)
      for its, first, last in other._parts:
        if its.holds == source.holds:
          there[max(first - start, 0) : max(last - start, 0)] = True
      inside += int(there.sum())
    return inside

  def labels(self) -> np.ndarray:
    """All labels, int32 [N]. No image is decoded, but a large data set is read once for them."""
    return np.concatenate([source.labels()[start:stop] for source, start, stop in self._parts])

  def _read(self, part: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source, start, stop = self._parts[part]
    return source.read(indices.astype(np.int64) - self._ends[part] + stop)


def describe(name: str = "mnist", data_dir: str | os.PathLike | None = None) -> Description:
  """Describes a prepared data set from its metadata alone.

  Args:
    name: NAME or NAME/CONFIG; the newest version is used.
    data_dir: a TFDS directory; by default `data/tfds` of the checkout.

  Returns:
    Its splits, shape and classes.

  Raises:
    InputError: the data set is missing or damaged, or does not hold images with class labels.

  >>> describe("mnist").splits
  {'train': 60000, 'test': 10000}
  """
  prepared = _prepared.find(name, data_dir)
  metadata = prepared.metadata
  height, width, channels = metadata.shape
  return Description(
    name,
    prepared.folder.name,
    str(prepared.folder),
    metadata.sizes,
    (height, width, channels),
    metadata.classes,
    metadata.class_names,
  )


def open_split(
  name: str = "mnist",
  split: str = "train",
  data_dir: str | os.PathLike | None = None,
  *,
  resize: tuple[int, int] | None = None,
  cache_dir: str | os.PathLike | None = None,
) -> Images:
  """Opens a part of a data set.

  A split of at most 2 GB when decoded is decoded once, into a cache file. Its name is a digest of the data
  directory's contents, so that later processes find it. The file is mapped into memory and checked by
  checksums. A larger split is decoded image by image when it is read, and so is a split whose cache
  cannot be written. The numbers are the same.

  Args:
    name: NAME or NAME/CONFIG; the newest version is used.
    split: in TFDS's notation: "train", "train[:5000]", "train[90%:]", "train+test", "all".
    data_dir: a TFDS directory: the folder that holds `NAME/VERSION` or `NAME/CONFIG/VERSION`, in
      array_record format. By default `data/tfds` of the checkout that the package is in.
    resize: (height, width) to which every image is resized by Pillow's bilinear filter; needed if the
      images have several sizes. None for the stored size.
    cache_dir: the folder of cache files; by default `$XDG_CACHE_HOME/qnn_jax`, or `~/.cache/qnn_jax`.

  Returns:
    The images.

  Raises:
    InputError: the data set is missing, damaged, or of another kind.
    MissingExtra: there is no cache file, and the packages that decode images are not installed.
  """
  size = _size(resize)
  folder = _source.cache_folder(cache_dir)
  prepared = _prepared.find(name, data_dir)
  ranges = _splits.parse(split, prepared.metadata.shards)
  sources = {
    each: _source.Source(prepared, each, size, folder, _source.CACHED_BYTES)
    for each in dict.fromkeys(each for each, _, _ in ranges)
  }
  first, *others = sources
  for other in others:
    if sources[other].shape != sources[first].shape:
      raise prepared.unfit(
        f"its {other} images have the shape {sources[other].shape}, those of {first} "
        f"{sources[first].shape}"
      )
  parts = [(sources[each], start, stop) for each, start, stop in ranges]
  return Images(name, split, prepared.metadata.class_names, parts)


def _size(resize) -> tuple[int, int] | None:
  if resize is None:
    return None
  whole = lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if (
    not isinstance(resize, Sequence)
    or len(resize) != 2
    or not all(whole(each) and each > 0 for each in resize)
  ):
    raise InputError(f"resize must be None or (height, width) in pixels, got {resize!r}")
  return int(resize[0]), int(resize[1])
