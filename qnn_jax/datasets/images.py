"""Data sets of images with class labels, as arrays, from what TFDS has prepared in array_record format.

They are read without TensorFlow. Decoding the images takes seconds, so the arrays are kept in cache
files. A process that finds its arrays there does not import TFDS. A checkout has MNIST 3.0.1 in
`data/tfds`.
"""

import os
from typing import NamedTuple

import numpy as np

from qnn_jax.datasets import _prepared, _source


class Dataset(NamedTuple):
  """A data set in the order in which TFDS stores it, one image a row.

  Labels are uint8, or int32 where there are more than 256 classes.

  Attributes:
    train_images: uint8 [N, n], brightness 0 to 255. An image is one row, its lines of pixels end to end;
      n is the product of `shape`.
    train_labels: [N], classes from 0 to classes - 1.
    test_images: uint8 [T, n].
    test_labels: [T].
    classes: the number of classes.
    shape: (height, width, channels) of an image.
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

  The name of the cache file is a digest of the data directory's contents. The cache is checked by
  checksums, and made again if it is missing or damaged. Any number of processes may do this at once. If
  the cache cannot be written, the data set is decoded each time.

  Args:
    name: a TFDS data set of images of one size, with one class label each and the splits train and test;
      `NAME/CONFIG` if it has configurations. The newest version in the directory is loaded.
    data_dir: a TFDS directory: the folder that holds `NAME/VERSION` or `NAME/CONFIG/VERSION`, in
      array_record format. By default `data/tfds` of the checkout that the package is in.
    cache_dir: the folder for the decoded arrays (55 MB for MNIST); by default `$XDG_CACHE_HOME/qnn_jax`,
      or `~/.cache/qnn_jax`.

  Returns:
    The training and the test set.

  Raises:
    InputError: the data set is missing, damaged, or of another kind.
    MissingExtra: the arrays are not in the cache, and the packages that decode them are not installed.
  """
  folder = _source.cache_folder(cache_dir)
  prepared = _prepared.find(name, data_dir)
  sizes = prepared.metadata.sizes
  for split in ("train", "test"):
    if not sizes.get(split):
      raise prepared.unfit(f"it has no {split} split, only {', '.join(sizes) or 'nothing'}")
  classes = prepared.metadata.classes
  dtype = np.uint8 if classes <= 256 else np.int32
  arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
  shape = None
  for split in ("test", "train"):  # test is smaller, so that errors come sooner
    source = _source.Source(prepared, split, None, folder, np.inf)
    shape = shape or source.shape
    if source.shape != shape:
      raise prepared.unfit(f"its {split} images have the shape {source.shape}, not {shape}")
    images, labels = source.read(np.arange(sizes[split]))
    arrays[split] = images.reshape(len(images), -1), labels.astype(dtype)
  assert shape is not None
  return Dataset(*arrays["train"], *arrays["test"], classes, shape, name)
