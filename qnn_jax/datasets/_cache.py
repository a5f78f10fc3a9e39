"""The array cache: a split's images and labels in one file, mapped into memory and checked by CRC-32s.

The file holds, in this order: the images; the labels, int32; a CRC-32 for each block of images and one
for the labels; five 64-bit integers, which are the number of images, the shape of an image, and the
number of images in a block; a CRC-32 of these integers and of the CRC-32s before them. All numbers are
little-endian.

A block is about a megabyte. It is checked when the first of its images is read, so that a process that
uses a part of a split reads only that part.
"""

import math
import os
import secrets
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Shape = tuple[int, int, int]
Read = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # indices -> images, labels

_BLOCK = 2**20  # bytes
_NUMBERS = struct.Struct("<5Q")
_CHECKSUM = 4


class Damaged(Exception):
  """The file does not hold what was written."""


class Cache:
  """An open cache file: the labels are in memory, the images stay on disk.

  Attributes:
    shape: the shape of an image.
  """

  def __init__(self, path: Path, size: int):
    """Opens the file.

    Args:
      path: the file.
      size: N, the number of images that the file must have.

    Raises:
      OSError: the file cannot be read.
      Damaged: it is not a cache file of so many images, or the part after the images is damaged.
    """
    with path.open("rb") as stream:
      length = stream.seek(0, os.SEEK_END)
      tail = _NUMBERS.size + _CHECKSUM
      stream.seek(max(0, length - tail))
      end = stream.read()
      if len(end) != tail:
        raise Damaged
      count, *shape, self._block = _NUMBERS.unpack(end[: _NUMBERS.size])
      self.shape: Shape = (shape[0], shape[1], shape[2])
      pixels = math.prod(shape)
      blocks = -(-count // self._block) if self._block else 0
      start = count * pixels  # where the labels start
      if count != size or length != start + 4 * count + _CHECKSUM * (blocks + 1) + tail:
        raise Damaged
      stream.seek(start)
      behind = stream.read()
    labels, checksums = behind[: 4 * count], behind[4 * count : -tail]
    if zlib.crc32(checksums + end[:-_CHECKSUM]) != int.from_bytes(end[-_CHECKSUM:], "little"):
      raise Damaged
    self._checksums = np.frombuffer(checksums, "<u4")
    if zlib.crc32(labels) != self._checksums[-1]:
      raise Damaged
    self._labels = np.frombuffer(labels, "<i4").astype(np.int32)
    self._images = np.memmap(path, np.uint8, "r", shape=(count, *self.shape))
    self._checked = np.zeros(blocks, bool)

  def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices [B] -> images uint8 [B, h, w, c], labels int32 [B]. Raises Damaged if an image is damaged."""
    for block in np.unique(indices // self._block):
      if not self._checked[block]:
        part = self._images[block * self._block : (block + 1) * self._block]
        if zlib.crc32(part.data) != self._checksums[block]:
          raise Damaged
        self._checked[block] = True
    return np.asarray(self._images)[indices], self._labels[indices]

  def labels(self) -> np.ndarray:
    """int32 [N]."""
    return self._labels


def write(path: Path, size: int, shape: Shape, read: Read) -> None:
  """Writes the cache file under a temporary name, then renames it: no reader sees half a file.

  Only a block of images is in memory at a time.

  Args:
    path: the file; its folder is created.
    size: the number of images.
    shape: the shape of an image.
    read: decodes the images with the given indices.

  Raises:
    OSError: the file cannot be written.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
  block = max(1, _BLOCK // math.prod(shape))
  try:
    with temporary.open("xb") as stream:
      checksums, labels = [], []
      for start in range(0, size, block):
        images, some = read(np.arange(start, min(start + block, size)))
        stream.write(images.data)
        checksums.append(zlib.crc32(images.data))
        labels.append(some)
      behind = np.concatenate(labels).astype("<i4").tobytes()
      checksums.append(zlib.crc32(behind))
      end = np.array(checksums, "<u4").tobytes() + _NUMBERS.pack(size, *shape, block)
      stream.write(behind + end + zlib.crc32(end).to_bytes(_CHECKSUM, "little"))
      stream.flush()
      os.fsync(stream.fileno())
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)
