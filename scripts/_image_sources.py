"""The sources of `prepare.py` that need no TensorFlow: IDX files, image folders, scikit-learn's digits."""

import collections
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from qnn_jax import _extras
from qnn_jax.errors import InputError

IDX = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
SPLITS = ("train", "validation", "test")
TEST_SHARE = 0.2  # the share of test images in a folder without splits


@dataclasses.dataclass(frozen=True)
class Source:
  """Images with class labels, before they are prepared.

  Attributes:
    splits: split -> (images, labels): uint8 [N, h, w, c] or the paths of N files, and N integers.
    shape: (height, width, channels) of an image, with None where it varies.
    class_names: one name per class.
    description: a sentence for the metadata.
    citation: a BibTeX entry for the metadata.
    homepage: a URL for the metadata.
  """

  splits: Mapping[str, tuple[Any, Any]]
  shape: tuple[int | None, int | None, int]
  class_names: tuple[str, ...]
  description: str
  citation: str | None = None
  homepage: str | None = None

  def encoded(self, split: str) -> Iterator[tuple[bytes, int]]:
    """(bytes of an image file, label), one image at a time: arrays as PNG, files unchanged."""
    for image, label in zip(*self.splits[split], strict=True):
      yield image.read_bytes() if isinstance(image, Path) else png(image), int(label)


def png(pixels: np.ndarray) -> bytes:
  """uint8 [h, w, c] -> a PNG file, which keeps every pixel."""
  stream = io.BytesIO()
  Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
  return stream.getvalue()


# ---- IDX files.


def idx(folder: Path, name: str, class_names: Sequence[str] | None) -> Source:
  """Reads a folder of IDX files, the format of MNIST.

  Args:
    folder: with `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, `train-labels...`, and the same with
      t10k or test, gzipped or not; something may stand before train, as in EMNIST's files.
    name: NAME or NAME/CONFIG: says which files, where there are several of a kind.
    class_names: as many as there are classes or more; None: the numbers from 0 to the greatest label.

  Returns:
    The images.

  Raises:
    InputError: one sentence on what is missing or wrong.
  """
  files = _find_idx(folder, name.replace("/", "-") + "-")
  splits, shapes = {}, set()
  for split in sorted({split for split, _ in files}, reverse=True):  # train first
    for kind in ("images", "labels"):
      if (split, kind) not in files:
        raise InputError(f"idx_dir {folder} has no {kind} of its {split} split")
    images = read_idx(files[split, "images"], axes=(3, 4))
    labels = read_idx(files[split, "labels"], axes=(1,))
    images = images[..., None] if images.ndim == 3 else images
    if len(images) != len(labels) or not len(labels):
      raise InputError(
        f"{files[split, 'images']} has {len(images)} images, where {files[split, 'labels']} has "
        f"{len(labels)} labels; there must be a label for each image, and at least one"
      )
    splits[split] = images, labels
    shapes.add(images.shape[1:])
  if len(shapes) > 1:
    raise InputError(f"the images in {folder} have the shapes {sorted(shapes)}; they must have one")
  (shape,) = shapes
  if shape[-1] not in (1, 3, 4) or 0 in shape:
    raise InputError(f"the images in {folder} have the shape {shape}; channels must be 1, 3 or 4")
  greatest = max(int(labels.max()) for _, labels in splits.values())
  names = tuple(map(str, range(greatest + 1))) if class_names is None else tuple(class_names)
  if len(names) < 2:
    raise InputError(f"{folder} holds labels of one class, {greatest}; there must be two or more")
  if greatest >= len(names):
    raise InputError(
      f"{folder} holds the label {greatest}, where labels of {len(names)} classes end at {len(names) - 1}"
    )
  return Source(splits, shape, names, f"{name}, from IDX files.")


def _find_idx(folder: Path, beginning: str) -> dict[tuple[str, str], Path]:
  """(split, "images" or "labels") -> file."""
  if not folder.is_dir():
    raise InputError(f"idx_dir {folder} is not a directory; name the folder of the IDX files")
  found: dict[str, dict[tuple[str, str], Path]] = {}
  for path in sorted(folder.iterdir()):  # what is not compressed comes first
    if (matched := IDX.fullmatch(path.name)) and path.is_file():
      before, split, kind = matched[1], matched[2].replace("t10k", "test"), matched[3]
      found.setdefault(before, {}).setdefault((split, kind), path)
  if not found:
    raise InputError(
      f"idx_dir {folder} holds no IDX files, which are called train-images-idx3-ubyte, "
      f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or with a .gz behind"
    )
  if len(found) == 1:
    return next(iter(found.values()))
  if beginning not in found:
    raise InputError(
      f"idx_dir {folder} holds several sets, whose files begin with {', '.join(map(repr, found))}, "
      f"and none of them begins with {beginning!r}, as NAME/CONFIG would say"
    )
  return found[beginning]


def read_idx(path: Path, axes: tuple[int, ...]) -> np.ndarray:
  """Reads an IDX file of unsigned bytes, gzipped or not.

  The format: two zero bytes, the type (8: unsigned byte), the number of axes; the length of each
  axis as a big-endian 32-bit integer; the data.

  Args:
    path: the file.
    axes: the allowed numbers of axes.

  Returns:
    The data, uint8.

  Raises:
    InputError: it cannot be read, is of another type, or has too few or too many bytes.
  """
  try:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
      content = gzip.decompress(content)
  except (OSError, EOFError, zlib.error) as error:
    raise InputError(
      f"cannot read {path} ({error}); it must be an IDX file, gzipped or not"
    ) from error
  allowed = [bytes((0, 0, 8, count)) for count in axes]
  if content[:4] not in allowed:
    raise InputError(
      f"{path} begins with the bytes {content[:4].hex()}, where an IDX file of unsigned bytes with "
      f"{' or '.join(map(str, axes))} axes begins with {' or '.join(each.hex() for each in allowed)}"
    )
  start = 4 + 4 * content[3]
  shape = tuple(
    np.frombuffer(content[4 : start // 4 * 4][: len(content[4:]) // 4 * 4], ">u4").tolist()
  )
  needed = start + int(np.prod(shape, dtype=object))
  if len(shape) != content[3] or len(content) != needed:
    raise InputError(
      f"{path} is {len(content)} bytes long when not compressed, where a header of {start} bytes and "
      f"data of shape {shape} make {needed}"
    )
  return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


# ---- Folders of images.


def image_folder(folder: Path, name: str) -> Source:
  """Reads a folder of PNG, JPEG or BMP files, sorted into one sub-folder per class.

  Args:
    folder: FOLDER/CLASS/*.png, where a fifth of the images of every class, drawn by a generator with seed 0,
      becomes the split test; or FOLDER/SPLIT/CLASS/*.png with the splits train, validation, test.
    name: for the description.

  Returns:
    The images, of any sizes.

  Raises:
    InputError: one sentence on what is missing or wrong.
  """
  if not folder.is_dir():
    raise InputError(
      f"image_dir {folder} is not a directory; name a folder with a sub-folder a class"
    )
  below = _folders(folder)
  if below and all(path.name in SPLITS for path in below):
    files = {split: _classes(folder / split) for split in SPLITS if folder / split in below}
    class_names = sorted({class_name for classes in files.values() for class_name in classes})
    splits = {split: _listed(classes, class_names) for split, classes in files.items()}
  else:
    classes = _classes(folder)
    class_names = sorted(classes)
    rng = np.random.default_rng(0)
    parts: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    for each in class_names:
      count = len(classes[each])
      tests = set(rng.permutation(count)[: round(TEST_SHARE * count)].tolist())
      for split in parts:
        parts[split][each] = [
          path for i, path in enumerate(classes[each]) if (i in tests) == (split == "test")
        ]
    splits = {split: _listed(part, class_names) for split, part in parts.items()}
  for class_name in class_names:
    if not class_name.isprintable() or class_name != class_name.strip():
      raise InputError(
        f"image_dir {folder} has a folder {class_name!r}: a class's name must be printable; rename it"
      )
  if len(class_names) < 2:
    raise InputError(
      f"image_dir {folder} holds images of {len(class_names) or 'no'} class; it needs two sub-folders or more, "
      f"one a class, with files that end in {', '.join(SUFFIXES)}"
    )
  splits = {split: part for split, part in splits.items() if part[0]}
  shapes = collections.Counter(_shape(path) for paths, _ in splits.values() for path in paths)
  one = lambda axis: found.pop() if len(found := {shape[axis] for shape in shapes}) == 1 else None
  channels = max(shape[2] for shape in shapes)
  return Source(
    splits, (one(0), one(1), channels), tuple(class_names), f"{name}, from image files."
  )


def _folders(folder: Path) -> list[Path]:
  return sorted(
    path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
  )


def _classes(folder: Path) -> dict[str, list[Path]]:
  """Class -> its image files; classes without image files are left out."""
  found = {
    below.name: sorted(
      path for path in below.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    for below in _folders(folder)
  }
  return {name: paths for name, paths in found.items() if paths}


def _listed(
  classes: dict[str, list[Path]], class_names: Sequence[str]
) -> tuple[list[Path], list[int]]:
  paths = [path for each in class_names for path in classes.get(each, ())]
  labels = [i for i, each in enumerate(class_names) for _ in classes.get(each, ())]
  return paths, labels


def _shape(path: Path) -> tuple[int, int, int]:
  """(height, width, channels). Decodes the whole file, so that a damaged file is reported here."""
  try:
    with Image.open(path) as image:
      image.load()
      mode, (width, height) = image.mode, image.size
  except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
    raise InputError(f"cannot read the image {path} ({error}); mend or remove it") from error
  if mode[:1] in ("I", "F"):
    raise InputError(f"{path} has more than 8 bits a channel (Pillow's mode {mode}); convert it")
  return height, width, {"1": 1, "L": 1, "RGBA": 4}.get(mode, 3)


# ---- scikit-learn's digits.


def digits() -> Source:
  """scikit-learn's 1,797 digits of 8 x 8 pixels: 1,437 to train with, 360 to test with, every class in proportion.

  Their 17 shades, 0 to 16, become round(255 / 16 shade). The split is that of
  `train_test_split(..., test_size=360, stratify=labels, random_state=0)`.
  """
  _extras.need("preparing digits", "sklearn", extra="sklearn")
  from sklearn.datasets import load_digits
  from sklearn.model_selection import train_test_split

  found = load_digits()
  images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
  labels = found.target.astype(np.int64)
  parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
  train_images, test_images, train_labels, test_labels = parts
  return Source(
    {"train": (train_images, train_labels), "test": (test_images, test_labels)},
    (8, 8, 1),
    tuple(map(str, range(10))),
    "Handwritten digits of 8 x 8 pixels in 17 shades, as scikit-learn ships them (BSD licence): the test part "
    "of UCI's Optical Recognition of Handwritten Digits (CC BY 4.0).",
    "@misc{alpaydin1998optical,\n  title={Optical Recognition of Handwritten Digits},\n"
    "  author={Alpaydin, E. and Kaynak, C.},\n  year={1998},\n"
    "  howpublished={UCI Machine Learning Repository},\n  doi={10.24432/C50P49}\n}",
    "https://archive.ics.uci.edu/dataset/80",
  )
