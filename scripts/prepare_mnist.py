r"""Prepares MNIST anew, as the TFDS directory that qnn_jax reads, and checks it image by image.

TFDS's own builder writes the directory, in array_record format, from a download or from a folder
with the four original IDX files (gzipped or not):

    train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte

    python scripts/prepare_mnist.py --data_dir=DIR [--idx_dir=FOLDER] [--overwrite]

It takes half a minute. It is the only part of this project that needs TensorFlow: `pip install
tensorflow` first. Nothing needs it as long as the MNIST of the checkout, in `data/tfds`, will do.
"""

import collections
import contextlib
import gzip
import io
import os
import secrets
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
from absl import app, flags

from qnn_jax import _extras
from qnn_jax.datasets import Dataset
from qnn_jax.datasets.images import decode_dataset
from qnn_jax.errors import InputError

DATA_DIR = flags.DEFINE_string("data_dir", None, "The TFDS directory to make; needed.")
IDX_DIR = flags.DEFINE_string(
  "idx_dir", None, "A folder with the four original IDX files; without it they are downloaded."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an MNIST that is in data_dir already.")

VERSION = "3.0.1"
SHAPE = (28, 28, 1)
TRAIN_SIZE = 60_000
TEST_SIZE = 10_000

# The builder's own names for the four files -> file name, shape.
FILES = {
  "train_data": ("train-images-idx3-ubyte", (TRAIN_SIZE, 28, 28)),
  "train_labels": ("train-labels-idx1-ubyte", (TRAIN_SIZE,)),
  "test_data": ("t10k-images-idx3-ubyte", (TEST_SIZE, 28, 28)),
  "test_labels": ("t10k-labels-idx1-ubyte", (TEST_SIZE,)),
}


def parse_idx(content: bytes, shape: tuple[int, ...], name: str) -> np.ndarray:
  """Parses an IDX file of unsigned bytes, whose shape is known beforehand.

  The format: two zero bytes, the type (8: unsigned byte), the number of axes; the length of each
  axis as a big-endian 32-bit integer; the data.

  Args:
    content: the whole file, not compressed.
    shape: the shape it must have.
    name: the file's name, for the errors.

  Returns:
    The data, uint8 [*shape].

  Raises:
    InputError: wrong magic number, wrong shape, or too few or too many bytes.
  """
  magic = bytes((0, 0, 8, len(shape)))
  if content[:4] != magic:
    raise InputError(
      f"{name} begins with the bytes {content[:4].hex()}, where an IDX file of unsigned bytes "
      f"with {len(shape)} axes begins with {magic.hex()}"
    )
  start = 4 + 4 * len(shape)
  found = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
  if found != shape:
    raise InputError(f"{name} holds an array of shape {found}, where MNIST has {shape}")
  if len(content) != start + np.prod(shape):
    raise InputError(
      f"{name} is {len(content)} bytes long when not compressed, where {shape} bytes of data "
      f"after a header of {start} make {start + np.prod(shape)}"
    )
  return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
  """Reads one IDX file, gzipped or not, as `parse_idx` does."""
  try:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
      content = gzip.decompress(content)
  except (OSError, EOFError, zlib.error) as error:
    raise InputError(
      f"cannot read {path} ({error}); it must be an IDX file, gzipped or not"
    ) from error
  return parse_idx(content, shape, str(path))


def find_idx(idx_dir: Path) -> dict[str, Path]:
  """Finds the four IDX files in a folder: the builder's names for them -> path.

  Raises:
    InputError: the folder or one of the files does not exist.
  """
  if not idx_dir.is_dir():
    raise InputError(f"idx_dir {idx_dir} is not a directory; name the folder of the IDX files")
  paths = {}
  for key, (name, _) in FILES.items():
    choices = [idx_dir / name, idx_dir / f"{name}.gz"]
    found = next((path for path in choices if path.is_file()), None)
    if found is None:
      raise InputError(f"idx_dir {idx_dir} holds neither {name} nor {name}.gz; it needs all four")
    paths[key] = found
  return paths


def download_idx(folder: Path) -> dict[str, Path]:
  """Downloads the four files with TFDS, which checks their checksums: like `find_idx`."""
  import tensorflow_datasets as tfds

  builder = tfds.builder("mnist", data_dir=folder)
  manager = tfds.download.DownloadManager(download_dir=folder / "downloads", dataset_name="mnist")
  try:
    paths = manager.download({key: f"{builder.URL}{name}.gz" for key, (name, _) in FILES.items()})
  # Whatever the network, the server or the checksum test raise: none of it is a fault of ours.
  except Exception as error:
    raise InputError(
      f"cannot download MNIST ({' '.join(str(error).split()).rstrip('.')}); "
      f"name a folder that holds the four IDX files with --idx_dir"
    ) from error
  return {key: Path(path) for key, path in paths.items()}


def read_source(paths: dict[str, Path]) -> Dataset:
  """Reads the four IDX files into arrays shaped as `load_dataset` returns them."""
  arrays = {key: read_idx(paths[key], shape) for key, (_, shape) in FILES.items()}
  for key, array in arrays.items():
    if key.endswith("_labels") and array.max() > 9:
      raise InputError(f"{paths[key]} holds the label {array.max()}, where labels are 0 to 9")
  return Dataset(
    arrays["train_data"].reshape(TRAIN_SIZE, -1),
    arrays["train_labels"],
    arrays["test_data"].reshape(TEST_SIZE, -1),
    arrays["test_labels"],
    classes=10,
    shape=SHAPE,
    name="mnist",
  )


def build(paths: dict[str, Path], data_dir: Path) -> None:
  """Lets TFDS's builder write `data_dir/mnist/VERSION` from the four IDX files."""
  import tensorflow_datasets as tfds

  # The builder reads files that are not compressed, from where the download manager tells it.
  folder = data_dir / "idx"
  folder.mkdir()
  local = {}
  for key, path in paths.items():
    content = path.read_bytes()
    local[key] = folder / FILES[key][0]
    local[key].write_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)

  builder = tfds.builder("mnist", data_dir=data_dir, file_format="array_record")
  if str(builder.version) != VERSION:
    raise InputError(
      f"this TFDS prepares MNIST {builder.version}, where qnn_jax reads {VERSION}; "
      f"install another version of tensorflow-datasets"
    )
  # What TFDS prints names a directory that is about to be renamed; its progress bars remain.
  with (
    contextlib.redirect_stdout(io.StringIO()),
    mock.patch.object(
      tfds.download.DownloadManager, "download_and_extract", lambda manager, urls: local
    ),
  ):
    builder.download_and_prepare(download_dir=data_dir / "downloads", file_format="array_record")


def differences(source: Dataset, prepared: Dataset) -> int:
  """Counts the images that are in one of the two and not, or less often, in the other.

  An image counts together with its label. TFDS shuffles as it prepares, so the order does not count.
  """

  def rows(dataset, at):
    return collections.Counter(row.tobytes() for row in np.column_stack(dataset[at : at + 2]))

  found = 0
  for at in (0, 2):
    ours, theirs = rows(source, at), rows(prepared, at)
    found += (ours - theirs).total() + (theirs - ours).total()
  return found


def install(prepared: Path, target: Path) -> None:
  """Renames the finished directory into place; what was there is kept until that has worked."""
  target.parent.mkdir(parents=True, exist_ok=True)
  old = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
  replaced = target.exists()
  if replaced:
    target.rename(old)
  try:
    prepared.rename(target)
  except OSError:
    if replaced:
      old.rename(target)
    raise
  if replaced:
    shutil.rmtree(old)


def prepare(data_dir: Path, idx_dir: Path | None, overwrite: bool) -> None:
  """Makes `data_dir/mnist/VERSION`, as the module says.

  Args:
    data_dir: the TFDS directory; made if it does not exist.
    idx_dir: the folder of the four IDX files; None: download them.
    overwrite: replace an MNIST that is there.

  Raises:
    InputError: one sentence on what is missing or wrong. Nothing has been changed then.
  """
  target = data_dir / "mnist" / VERSION
  if target.exists() and not overwrite:
    raise InputError(f"{target} exists already; pass --overwrite to replace it")
  if idx_dir is not None:
    read_source(find_idx(idx_dir))  # Tell of bad files before TensorFlow is asked for.
  _extras.need("preparing MNIST", "tensorflow_datasets", "array_record")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import tensorflow  # noqa: F401
  except ImportError as error:
    raise InputError(
      "preparing MNIST needs TensorFlow, which reading it does not; "
      "install it with `pip install tensorflow`"
    ) from error
  try:
    with tempfile.TemporaryDirectory(prefix="prepare_mnist-") as downloads:
      paths = download_idx(Path(downloads)) if idx_dir is None else find_idx(idx_dir)
      source = read_source(paths)
      data_dir.mkdir(parents=True, exist_ok=True)
      # Inside data_dir, so that the last step is a rename on one file system.
      with tempfile.TemporaryDirectory(prefix=".prepare_mnist-", dir=data_dir) as name:
        folder = Path(name)
        build(paths, folder)
        wrong = differences(source, decode_dataset("mnist", folder))
        if wrong:
          raise InputError(f"{wrong} of the images prepared differ from the source; try again")
        install(folder / "mnist" / VERSION, target)
  except OSError as error:
    raise InputError(f"cannot write {data_dir} ({error}); name another --data_dir") from error
  print(
    f"{target}: {TRAIN_SIZE:,} training and {TEST_SIZE:,} test images with their labels; "
    f"every one compared with the source, all equal."
  )


def main(argv: list[str]) -> None:
  """Flags and one call."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown argument {argv[1]}; everything is given by flags")
  assert DATA_DIR.value is not None  # it is marked as required
  try:
    prepare(
      Path(DATA_DIR.value).expanduser(),
      Path(IDX_DIR.value).expanduser() if IDX_DIR.value else None,
      OVERWRITE.value,
    )
  except InputError as error:
    sys.exit(f"prepare_mnist: {error}")


if __name__ == "__main__":
  flags.mark_flag_as_required("data_dir")
  app.run(main)
