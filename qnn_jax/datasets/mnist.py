"""MNIST, read from a TFDS directory without TensorFlow and kept in an array cache.

The package ships MNIST 3.0.1 as TensorFlow Datasets prepares it, in array_record format. Decoding
its 70,000 PNG images takes seconds, so the arrays are kept in a cache file, and a process that
finds it there imports no TFDS at all.
"""

import contextlib
import hashlib
import os
import secrets
import shlex
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from qnn_jax.errors import InputError

DEFAULT_DATA_DIR = Path(__file__).parent / "tfds"
VERSION = "3.0.1"

PIXELS = 28 * 28
TRAIN_SIZE = 60_000
TEST_SIZE = 10_000


class Mnist(NamedTuple):
  """The handwritten digits, in the order in which TFDS stores them, one image a row.

  Attributes:
    train_images: uint8 [60000, 784], brightness 0 to 255, rows of the 28 x 28 picture end to end.
    train_labels: uint8 [60000], the digit 0 to 9.
    test_images: uint8 [10000, 784].
    test_labels: uint8 [10000].
  """

  train_images: np.ndarray
  train_labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray


_SHAPES = Mnist((TRAIN_SIZE, PIXELS), (TRAIN_SIZE,), (TEST_SIZE, PIXELS), (TEST_SIZE,))


def load_mnist(
  data_dir: str | os.PathLike | None = None, cache_dir: str | os.PathLike | None = None
) -> Mnist:
  """Loads MNIST, from the array cache if it has been decoded before.

  The cache is found by what the data directory contains, checked by a checksum, and made again if
  it is missing or damaged. Any number of processes may do so at once. Where it cannot be written,
  MNIST is decoded each time.

  Args:
    data_dir: a TFDS directory: the folder that holds `mnist/3.0.1`, in array_record format. By
      default the one that comes with the package.
    cache_dir: where the decoded arrays are kept, 55 MB a data directory; by default
      `$XDG_CACHE_HOME/qnn_jax`, or `~/.cache/qnn_jax`.

  Returns:
    The training and the test set, uint8.

  Raises:
    InputError: data_dir does not exist, holds no MNIST, or what it holds is damaged.
  """
  data_dir = DEFAULT_DATA_DIR if data_dir is None else _path(data_dir)
  digest = _digest(data_dir)
  folder = _default_cache_dir() if cache_dir is None else _path(cache_dir)
  cache = folder / f"mnist-{digest[:32]}.bin"
  mnist = _read_cache(cache)
  if mnist is None:
    mnist = decode_mnist(data_dir)
    try:
      _write_cache(cache, mnist)
    except OSError as error:
      logging.log_first_n(
        logging.WARNING,
        "MNIST is decoded anew each time, for its cache cannot be written: %s",
        1,
        error,
      )
  return mnist


def decode_mnist(data_dir: str | os.PathLike) -> Mnist:
  """Decodes the MNIST of a TFDS directory, without the cache: about 6 seconds.

  Args:
    data_dir: as in `load_mnist`.

  Returns:
    The training and the test set, uint8.

  Raises:
    InputError: data_dir does not exist, holds no MNIST, or what it holds is damaged.
  """
  data_dir = _path(data_dir)
  _files(data_dir)
  with _quiet():
    import tensorflow_datasets as tfds  # Slow to import, and a cache hit does without it.
  try:
    with _quiet():
      builder = tfds.builder(f"mnist:{VERSION}", data_dir=data_dir, file_format="array_record")
      sources = builder.as_data_source()
      test = _decode_split(sources, "test", TEST_SIZE)  # The smaller first: fails sooner.
      train = _decode_split(sources, "train", TRAIN_SIZE)
  except (ImportError, MemoryError):
    raise
  # A damaged directory shows itself as whatever the JSON, protobuf, array_record, Pillow or TFDS
  # readers happen to raise: none of them promises a type.
  except Exception as error:
    reason = " ".join(str(error).split()).rstrip(".").replace(". ", ", ")
    raise InputError(
      f"cannot read MNIST from {_folder(data_dir)} ({reason}); {_remedy(data_dir, overwrite=True)}"
    ) from error
  return Mnist(*train, *test)


def _decode_split(sources, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Decodes one split into images [size, 784] and labels [size]."""
  if split not in sources:
    raise ValueError(f"its metadata names no {split} split")
  source = sources[split]
  if len(source) != size:
    raise ValueError(f"its {split} split has {len(source)} images where MNIST has {size}")
  images = np.empty((size, PIXELS), np.uint8)
  labels = np.empty(size, np.uint8)
  for i, example in enumerate(source):
    image, label = example["image"], example["label"]
    if image.size != PIXELS or not 0 <= label <= 9:
      raise ValueError(f"its {split} image {i} has shape {image.shape} and label {label}")
    images[i], labels[i] = image.reshape(-1), label
  return images, labels


@contextlib.contextmanager
def _quiet():
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


def _path(name: str | os.PathLike) -> Path:
  return Path(os.path.expanduser(name))


def _folder(data_dir: Path) -> Path:
  return data_dir / "mnist" / VERSION


def _remedy(data_dir: Path, overwrite: bool = False) -> str:
  """The end of an error's sentence: what would be right, and how to get there."""
  command = f"python scripts/prepare_mnist.py --data_dir={shlex.quote(str(data_dir))}"
  if overwrite:
    command += " --overwrite"
  if data_dir == DEFAULT_DATA_DIR:
    return f"install the package anew, or prepare MNIST with `{command}`"
  return (
    f"leave data_dir out to use the MNIST that comes with the package, or name a TFDS directory "
    f"with mnist/{VERSION} in array_record format, such as `{command}` makes"
  )


def _files(data_dir: Path) -> list[Path]:
  """The files of the prepared dataset, sorted; InputError if there are none to speak of."""
  if not data_dir.is_dir():
    raise InputError(f"data_dir {data_dir} is not a directory; {_remedy(data_dir)}")
  folder = _folder(data_dir)
  try:
    files = sorted(path for path in folder.iterdir() if path.is_file())
  except (FileNotFoundError, NotADirectoryError):
    raise InputError(f"data_dir {data_dir} holds no mnist/{VERSION}; {_remedy(data_dir)}") from None
  except OSError as error:
    raise InputError(f"cannot read {folder} ({error.strerror}); {_remedy(data_dir)}") from error
  # Without its metadata TFDS would treat the dataset as not prepared yet.
  if not any(path.name == "dataset_info.json" for path in files):
    raise InputError(f"{folder} has no dataset_info.json; {_remedy(data_dir, overwrite=True)}")
  return files


def _digest(data_dir: Path) -> str:
  """SHA-256 over the names and contents of the prepared dataset, in hexadecimal."""
  digest = hashlib.sha256()
  for path in _files(data_dir):
    try:
      with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
      raise InputError(f"cannot read {path} ({error.strerror}); {_remedy(data_dir)}") from error
    name = path.name.encode("utf-8", "surrogateescape")
    digest.update(len(name).to_bytes(8) + name + content)
  return digest.hexdigest()


def _default_cache_dir() -> Path:
  base = os.environ.get("XDG_CACHE_HOME", "")
  # The XDG rules: a relative path is to be ignored.
  return _path(base if os.path.isabs(base) else "~/.cache") / "qnn_jax"


# The cache file: the four arrays end to end, then their CRC-32. A plain read into one buffer is
# several times faster than an .npz, whose reading passes through a zip stream in small pieces.


def _read_cache(cache: Path) -> Mnist | None:
  """The cached arrays; None if the file is missing, cannot be read, or is damaged."""
  try:
    content = np.fromfile(cache, np.uint8)
  except OSError:
    return None
  sizes = [int(np.prod(shape)) for shape in _SHAPES]
  if content.size != sum(sizes) + 4:
    return None
  body, checksum = content[:-4], content[-4:]
  if zlib.crc32(body) != int.from_bytes(checksum.tobytes()):
    return None
  parts = np.split(body, np.cumsum(sizes)[:-1])
  return Mnist(*(part.reshape(shape) for part, shape in zip(parts, _SHAPES)))


def _write_cache(cache: Path, mnist: Mnist) -> None:
  """Writes the cache under a name of its own, then renames it: no reader sees half a file."""
  cache.parent.mkdir(parents=True, exist_ok=True)
  temporary = cache.with_name(f".{cache.name}.{os.getpid()}-{secrets.token_hex(4)}")
  try:
    with temporary.open("xb") as stream:
      checksum = 0
      for array in mnist:
        checksum = zlib.crc32(array, checksum)
        stream.write(array)
      stream.write(checksum.to_bytes(4))
      stream.flush()
      os.fsync(stream.fileno())
    temporary.replace(cache)
  finally:
    temporary.unlink(missing_ok=True)
