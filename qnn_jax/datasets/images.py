"""Data sets of images with class labels, as arrays: whatever TFDS has prepared in array_record format.

They are read without TensorFlow. Decoding images takes seconds, so the arrays are kept in a cache file,
and a process that finds it there imports no TFDS at all. A checkout has MNIST 3.0.1 in `data/tfds`.
"""

import functools
import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qnn_jax import _extras
from qnn_jax.datasets import _cache, _prepared


class Dataset(NamedTuple):
  """A data set in the order in which TFDS stores it, one image a row.

  Labels are uint8, or int32 where there are more than 256 classes.

  Attributes:
    train_images: uint8 [N, n], brightness 0 to 255, the picture's rows of pixels end to end; n is the
      product of `shape`.
    train_labels: [N], the class from 0 to classes - 1.
    test_images: uint8 [T, n].
    test_labels: [T].
    classes: how many there are.
    shape: of one picture, (height, width, channels).
    name: NAME or NAME/CONFIG.
  """

  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  classes: int
  shape: tuple[int, int, int]
  name: str


def load_dataset(
  name: str = "mnist",
  data_dir: str | os.PathLike | None = None,
  cache_dir: str | os.PathLike | None = None,
) -> Dataset:
  """Loads a data set, from the array cache if it has been decoded before.

  The cache is found by what the data directory contains, checked by a checksum, and made again if
  it is missing or damaged. Any number of processes may do so at once. Where it cannot be written,
  the data set is decoded each time.

  Args:
    name: of any TFDS data set with the features `image`, of one size, and `label`, and the splits
      train and test; `NAME/CONFIG` where it has configurations. The newest version that is there is
      loaded.
    data_dir: a TFDS directory: the folder that holds `NAME/VERSION` or `NAME/CONFIG/VERSION`, in
      array_record format. By default `data/tfds` of the checkout that the package is in.
    cache_dir: where the decoded arrays are kept, as large as they are, 55 MB for MNIST; by default
      `$XDG_CACHE_HOME/qnn_jax`, or `~/.cache/qnn_jax`.

  Returns:
    The training and the test set.

  Raises:
    InputError: one sentence on what is missing, damaged, or no data set of this kind.
    MissingExtra: the arrays are not in the cache, and what decodes them is not installed.
  """
  prepared = _prepared.find(name, data_dir)
  folder = _default_cache_dir() if cache_dir is None else _prepared.as_path("cache_dir", cache_dir)
  cache = folder / f"{name.replace('/', '-')}-{_prepared.digest(prepared)[:32]}.bin"
  found = _cache.read(cache, prepared.sizes, label_dtype(prepared.classes))
  if found is not None:
    return _dataset(*found, prepared.classes, name)
  dataset = _decode(prepared)
  try:
    _cache.write(cache, dataset[:4], dataset.shape)
  except OSError as error:
    _warn_once(f"{name} is decoded anew each time, for its cache cannot be written: {error}")
  return dataset


def decode_dataset(name: str = "mnist", data_dir: str | os.PathLike | None = None) -> Dataset:
  """Decodes a data set without the cache: about 6 seconds for MNIST.

  Args:
    name: as in `load_dataset`.
    data_dir: as in `load_dataset`.

  Returns:
    The training and the test set.

  Raises:
    InputError: as `load_dataset` does.
    MissingExtra: what decodes images is not installed.
  """
  return _decode(_prepared.find(name, data_dir))


def label_dtype(classes: int) -> np.dtype:
  """uint8 where it holds every class, else int32."""
  return np.dtype(np.uint8 if classes <= 256 else np.int32)


def _decode(prepared: _prepared.Prepared) -> Dataset:
  # A cache hit does without all of these; TFDS asks for the last two only while it reads.
  _extras.need(
    f"decoding {prepared.name}",
    *("tensorflow_datasets", "array_record", "importlib_resources", "PIL"),
  )
  from qnn_jax.datasets import _tfds

  decoded = _tfds.decode(prepared, label_dtype(prepared.classes))
  return _dataset(*decoded, prepared.classes, prepared.name)


def _dataset(arrays, shape, classes, name) -> Dataset:
  images, labels, test_images, test_labels = arrays
  return Dataset(images, labels, test_images, test_labels, classes, shape, name)


def _default_cache_dir() -> Path:
  base = os.environ.get("XDG_CACHE_HOME", "")
  # The XDG rules: a relative path is to be ignored.
  return Path(os.path.expanduser(base if os.path.isabs(base) else "~/.cache")) / "qnn_jax"


@functools.cache  # a sweep loads its data more than once
def _warn_once(message: str) -> None:
  logging.getLogger(__name__).warning(message)
