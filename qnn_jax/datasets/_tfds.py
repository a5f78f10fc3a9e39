"""Decoding with TFDS, without TensorFlow: slow to import, so only a cache miss imports this module."""

import contextlib
import itertools
import warnings
from typing import Any

import numpy as np
from absl import logging

from qnn_jax.datasets._prepared import SPLITS, Prepared
from qnn_jax.errors import InputError

Shape = tuple[int, ...]


@contextlib.contextmanager
def quiet():
  """Silences what TFDS and the libraries below it say about themselves while they are in use."""
  logger = logging.get_absl_logger()
  disabled = logger.disabled
  with warnings.catch_warnings():
    # Deprecations among third parties are no news for our user, nor a reason to fail for a program
    # that treats warnings as errors. Some appear at import, some with the first decoded image.
    warnings.simplefilter("ignore")
    logger.disabled = True  # "OpenCV is not installed ...", once a process.
    try:
      yield
    finally:
      logger.disabled = disabled


with quiet():
  import tensorflow_datasets as tfds
  from array_record.python.array_record_module import ArrayRecordReader
  from tensorflow_datasets.proto import tf_example_pb2


def decode(prepared: Prepared, label_dtype: np.dtype) -> tuple[list[np.ndarray], Shape]:
  """Decodes both splits.

  Args:
    prepared: the data set.
    label_dtype: of the labels returned.

  Returns:
    ([images uint8 [N, n], labels [N], images uint8 [T, n], labels [T]], a picture's shape).

  Raises:
    InputError: the files are damaged, images differ in size, or a label is outside the classes.
  """
  found: dict[str, list[np.ndarray]] = {}
  shape: Any = prepared.shape  # a None gives way to what the first image has
  try:
    with quiet():
      builder = tfds.builder_from_directory(str(prepared.folder))
      for split in sorted(SPLITS):  # Test first, which is smaller: fails sooner.
        *found[split], shape = _decode_split(prepared, builder, split, shape, label_dtype)
  except (InputError, MemoryError):
    raise
  # A damaged directory shows itself as whatever the JSON, protobuf, array_record, Pillow or TFDS
  # readers happen to raise: none of them promises a type.
  except Exception as error:
    raise prepared.damaged(str(error)) from error
  return list(itertools.chain.from_iterable(found[split] for split in SPLITS)), shape


def _decode_split(prepared, builder, split, shape, label_dtype):
  """(images [size, n], labels [size], shape): None in `shape` is what the first image has there."""
  size = prepared.sizes[SPLITS.index(split)]
  # TFDS takes the metadata's word for how many there are. A damaged file fails with its reason below.
  readers = [ArrayRecordReader(str(path)) for path in builder.info.splits[split].filepaths]
  stored = sum(reader.num_records() for reader in readers)
  if stored != size and all(reader.ok() for reader in readers):
    raise ValueError(f"its {split} split has {stored} images where its metadata says {size}")
  # Only what is asked for is decoded: of other features some need TensorFlow.
  raw = tfds.decode.DeserializeMethod.RAW_BYTES
  source = builder.as_data_source(split, deserialize_method=raw)
  image_feature = builder.info.features["image"]
  images, labels = None, np.empty(size, label_dtype)
  for i, record in enumerate(source):
    features = tf_example_pb2.Example.FromString(record).features.feature
    image = image_feature.decode_example_np(features["image"].bytes_list.value[0])
    label = features["label"].int64_list.value[0]
    if images is None:
      shape = tuple(b if a is None else a for a, b in zip(shape, image.shape))
      images = np.empty((size, np.prod(shape)), np.uint8)
    if image.shape != shape:
      raise prepared.unfit(f"its {split} image {i} has the shape {image.shape} and not {shape}")
    if not 0 <= label < prepared.classes:
      raise prepared.unfit(
        f"its {split} image {i} has the label {label}, outside its {prepared.classes} classes"
      )
    images[i], labels[i] = image.reshape(-1), label
  return images, labels, shape
