"""Reads and decodes records without TensorFlow. Slow to import, so only a cache miss imports this module."""

import contextlib
import dataclasses
import io
import warnings
from typing import Any

import numpy as np
from absl import logging

from qnn_jax.datasets._cache import Shape
from qnn_jax.datasets._prepared import Prepared
from qnn_jax.errors import InputError


@contextlib.contextmanager
def quiet():
  """Silences the messages of TFDS and its libraries while they are imported."""
  logger = logging.get_absl_logger()
  disabled = logger.disabled
  with warnings.catch_warnings():
    # Deprecations in third-party code do not concern our user. A program that treats warnings as
    # errors must not fail because of them.
    warnings.simplefilter("ignore")
    logger.disabled = True
    try:
      yield
    finally:
      logger.disabled = disabled


with quiet():
  import tensorflow_datasets as tfds
  from array_record.python.array_record_data_source import ArrayRecordDataSource
  from array_record.python.array_record_module import ArrayRecordReader
  from PIL import Image
  from tensorflow_datasets.proto import tf_example_pb2

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels -> Pillow's name for them
_CHANNELS = {"1": 1, "L": 1, "RGBA": 4}  # by Pillow's mode, if the metadata leaves it open; else 3


@dataclasses.dataclass(frozen=True)
class _File:
  """One file of records, in the form that `ArrayRecordDataSource` needs."""

  filename: str
  take: int
  skip: int = 0

  @property
  def examples_in_shard(self) -> int:
    return self.take


class Records:
  """A split whose images are decoded when they are read. A copy by pickle opens its own files.

  Attributes:
    size: the number of images.
    shape: the shape of an image as it is read.
  """

  def __init__(self, prepared: Prepared, split: str, resize: tuple[int, int] | None):
    """Prepares to read; files are opened later. A shape that the metadata leaves open is that of image 0.

    Args:
      prepared: the data set.
      split: the name of the split.
      resize: (height, width) to resize images to; None for the stored size.

    Raises:
      InputError: the files are damaged.
    """
    self._prepared, self._split, self._resize = prepared, split, resize
    metadata = prepared.metadata
    lengths = metadata.shards[split]
    template = tfds.core.ShardedFileTemplate(
      data_dir=prepared.folder,
      dataset_name=metadata.files,
      split=split,
      filetype_suffix="array_record",
      template=metadata.templates[split],
    )
    self._files = [
      _File(str(path), length)
      for path, length in zip(template.sharded_filepaths(len(lengths)), lengths, strict=True)
    ]
    self.size = sum(lengths)
    self._records = ArrayRecordDataSource([file for file in self._files if file.take])
    shape: Any = metadata.shape if resize is None else (*resize, metadata.shape[2])
    self._channels = shape[2]
    if None in shape:
      with self._told():
        first = self._image(self._example(self._records[0]))
      shape = tuple(b if a is None else a for a, b in zip(shape, first.shape))
      self._channels = shape[2]
    self.shape: Shape = shape

  def check(self) -> None:
    """Raises InputError if the files do not hold as many records as the metadata says."""
    with self._told():
      readers = [ArrayRecordReader(file.filename) for file in self._files]
      stored = sum(reader.num_records() for reader in readers)
      # Reading a damaged file raises an error with the reason.
      if stored != self.size and all(reader.ok() for reader in readers):
        raise ValueError(
          f"its {self._split} split has {stored} images, but its metadata says {self.size}"
        )

  def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B] -> images uint8 [B, h, w, c], labels int32 [B].

    Raises:
      InputError: a file is damaged, an image has another shape, or a label is outside the classes.
    """
    images = np.empty((len(indices), *self.shape), np.uint8)
    labels = np.empty(len(indices), np.int32)
    with self._told():
      for at, (i, record) in enumerate(zip(indices, self._get(indices), strict=True)):
        example = self._example(record)
        image = self._image(example)
        if image.shape != self.shape:
          raise self._prepared.unfit(
            f"its {self._split} image {i} has the shape {image.shape} and not {self.shape}"
          )
        images[at], labels[at] = image, self._label(example, i)
    return images, labels

  def labels(self) -> np.ndarray:
    """int32 [N], read from all records; no image is decoded."""
    found = np.empty(self.size, np.int32)
    with self._told():
      for start in range(0, self.size, 1024):
        indices = range(start, min(start + 1024, self.size))
        for i, record in zip(indices, self._get(indices), strict=True):
          found[i] = self._label(self._example(record), i)
    return found

  def _get(self, indices) -> Any:
    return self._records.__getitems__(indices) if len(indices) else []

  @contextlib.contextmanager
  def _told(self):
    """Turns every error into one InputError.

    For damaged files the protobuf, array_record and Pillow readers raise exceptions of many types: none
    of them documents which.
    """
    try:
      yield
    except (InputError, MemoryError):
      raise
    except Exception as error:
      raise self._prepared.damaged(str(error) or type(error).__name__) from error

  def _example(self, record: bytes) -> Any:
    return tf_example_pb2.Example.FromString(record).features.feature

  def _one(self, example, name: str, kind: str) -> Any:
    values = getattr(example[name], kind).value
    if len(values) != 1:
      raise ValueError(f"a record of its {self._split} split has no {name}, or several")
    return values[0]

  def _image(self, example) -> np.ndarray:
    """The image uint8 [h, w, c], converted to the wanted colours and size."""
    content = self._one(example, self._prepared.metadata.image, "bytes_list")
    with Image.open(io.BytesIO(content)) as image:
      if image.mode[:1] in ("I", "F"):
        raise self._prepared.unfit(
          f"its {self._split} split has images of Pillow's mode {image.mode}"
        )
      mode = _MODES[self._channels or _CHANNELS.get(image.mode, 3)]
      picture: Image.Image = image if image.mode == mode else image.convert(mode)
      if self._resize is not None:
        picture = picture.resize(self._resize[::-1], Image.Resampling.BILINEAR)
      pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels

  def _label(self, example, i: int) -> int:
    label = self._one(example, self._prepared.metadata.label, "int64_list")
    classes = self._prepared.metadata.classes
    if not 0 <= label < classes:
      raise self._prepared.unfit(
        f"its {self._split} image {i} has the label {label}, outside its {classes} classes"
      )
    return label
