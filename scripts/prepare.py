r"""Prepares a data set of images with class labels, as a TFDS directory that qnn_jax can read.

  python scripts/prepare.py NAME --data_dir=DIR --idx_dir=FOLDER     from IDX files, the format of MNIST
  python scripts/prepare.py NAME --data_dir=DIR --image_dir=FOLDER   from image files, one sub-folder per class
  python scripts/prepare.py digits --data_dir=DIR                    scikit-learn's, which the checkout has
  python scripts/prepare.py NAME[/CONFIG] --data_dir=DIR             any TFDS data set, by download

TFDS itself writes the directory, in array_record format. Only the last way needs TensorFlow (`pip install
tensorflow`), because TFDS's own builders need it. In the other ways the result is compared with its source, record by
record, before it is put in place. If TFDS knows the NAME, its version, classes and description are used.

IDX files may be called train-images-idx3-ubyte or train-images.idx3-ubyte, with or without .gz, and have any
size and any number of classes. docs/data.md says more.
"""

import collections
import contextlib
import hashlib
import importlib.util
import io
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _image_sources
from absl import app, flags, logging

from qnn_jax import _extras
from qnn_jax.datasets import Description, describe
from qnn_jax.errors import InputError

DATA_DIR = flags.DEFINE_string("data_dir", None, "The TFDS directory to write into; required.")
IDX_DIR = flags.DEFINE_string("idx_dir", None, "A folder of IDX files.")
IMAGE_DIR = flags.DEFINE_string(
  "image_dir", None, "A folder with one sub-folder of images per class."
)
CLASS_NAMES = flags.DEFINE_list(
  "class_names", None, "Class names for IDX files, separated by commas; by default numbers."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the data set if it is there already.")

VERSION = "1.0.0"  # version of a data set that TFDS does not know


def known(name: str) -> Any:
  """TFDS's builder of that name, not yet run; None if TFDS has none, or cannot describe it."""
  import tensorflow_datasets as tfds

  try:
    return tfds.builder(name, data_dir=os.devnull)
  # Even to describe itself, a builder may need TensorFlow, another package or a file.
  except Exception:
    return None


def builder_of(source: _image_sources.Source, name: str, theirs: Any, data_dir: Path) -> Any:
  """A TFDS builder for a source.

  Args:
    source: the images.
    name: NAME or NAME/CONFIG.
    theirs: the result of `known`.
    data_dir: the TFDS directory to write into.
  """
  import tensorflow_datasets as tfds

  plain, _, config = name.partition("/")
  names, count = list(source.class_names), len(source.class_names)
  # Without class names TFDS's metadata has no file for them.
  classes = {"num_classes": count} if names == [str(i) for i in range(count)] else {"names": names}
  about = source if theirs is None else theirs.info
  version = VERSION if theirs is None else str(theirs.version)

  class FromSource(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # TFDS has no types
    name = plain
    VERSION = tfds.core.Version(version)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []
    pkg_dir_path = Path(__file__).parent

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        description=about.description,
        citation=about.citation,
        homepage=about.homepage,
        features=tfds.features.FeaturesDict(
          {
            "image": tfds.features.Image(shape=source.shape),
            "label": tfds.features.ClassLabel(**classes),
          }
        ),
        supervised_keys=("image", "label"),
      )

    def _split_generators(self, manager):
      return {split: self._generate_examples(split) for split in source.splits}

    def _generate_examples(self, split):
      # With a number as key, an image gets the place that TFDS gives it in MNIST and similar sets.
      for i, (image, label) in enumerate(source.encoded(split)):
        yield i, {"image": io.BytesIO(image), "label": label}

  FromSource.__module__ = "prepare" if theirs is None else type(theirs).__module__
  return FromSource(
    data_dir=data_dir, file_format="array_record", **({"config": config} if config else {})
  )


def build(builder: Any, downloads: Path) -> None:
  """Lets TFDS write the directory."""
  import tensorflow_datasets as tfds

  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  # TFDS's output names a directory that is about to be renamed; on a terminal its progress bars are kept.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(download_dir=downloads, file_format="array_record")


def differences(source: _image_sources.Source, folder: Path) -> int:
  """Counts the records that differ between source and result, whatever their order, which TFDS changes."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.proto import tf_example_pb2

  builder = tfds.builder_from_directory(str(folder))
  raw = tfds.decode.DeserializeMethod.RAW_BYTES
  found = 0
  for split in source.splits:
    count = lambda pairs: collections.Counter(
      (hashlib.sha256(image).digest(), label) for image, label in pairs
    )
    examples = (
      tf_example_pb2.Example.FromString(record).features.feature
      for record in builder.as_data_source(split, deserialize_method=raw)
    )
    theirs = count(
      (each["image"].bytes_list.value[0], each["label"].int64_list.value[0]) for each in examples
    )
    ours = count(source.encoded(split))
    found += (ours - theirs).total() + (theirs - ours).total()
  return found


def install(prepared: Path, target: Path) -> None:
  """Renames the finished directory into place; an existing one is kept until that has worked."""
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


def source_of(
  name: str,
  idx_dir: Path | None,
  image_dir: Path | None,
  class_names: Sequence[str] | None,
  theirs: Any,
) -> _image_sources.Source | None:
  """The source of the images; None for a download."""
  if idx_dir is not None:
    names = class_names or (theirs and theirs.info.features["label"].names)
    source = _image_sources.idx(idx_dir, name, names)
    if theirs is not None and source.shape != (shape := theirs.info.features["image"].shape):
      raise InputError(
        f"the images in {idx_dir} have the shape {source.shape}, where TFDS's {name} has {shape}; "
        f"give yours another NAME"
      )
    return source
  if image_dir is not None:
    return _image_sources.image_folder(image_dir, name)
  return _image_sources.digits() if name == "digits" else None


def prepare(
  name: str,
  data_dir: Path,
  idx_dir: Path | None = None,
  image_dir: Path | None = None,
  class_names: Sequence[str] | None = None,
  overwrite: bool = False,
) -> Description:
  """Makes `data_dir/NAME/VERSION`, as the docstring of this module says.

  Args:
    name: NAME or NAME/CONFIG.
    data_dir: the TFDS directory; made if it does not exist.
    idx_dir: a folder of IDX files.
    image_dir: a folder of images; without these two the data set is downloaded.
    class_names: the class names for IDX files.
    overwrite: replace an existing data set.

  Returns:
    The prepared data set.

  Raises:
    InputError: one sentence on what is missing or wrong. In that case nothing has been changed.
  """
  if not re.fullmatch(r"[a-z][a-z0-9_]*(/[\w.-]+)?", name):
    raise InputError(
      f"NAME must be small letters, digits and _, with a /CONFIG behind if there is one, got {name!r}"
    )
  if idx_dir is not None and image_dir is not None:
    raise InputError("give either --idx_dir or --image_dir, not both")
  if class_names is not None and idx_dir is None:
    raise InputError("--class_names is for --idx_dir: other sources know their names")
  if idx_dir is None and image_dir is None and name != "digits" and not has_tensorflow():
    raise InputError(
      f"preparing {name} from a download needs TensorFlow, which reading it does not: `pip install "
      f"tensorflow`, or give its files with --idx_dir or --image_dir"
    )
  _extras.need(f"preparing {name}", "tensorflow_datasets", "array_record", "importlib_resources")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # A user's folder of images may have the name of an unrelated TFDS data set.
  theirs = None if image_dir is not None or name == "digits" else known(name)
  source = source_of(name, idx_dir, image_dir, class_names, theirs)
  if source is None and theirs is None:
    raise InputError(f"TFDS knows no {name}; give its files with --idx_dir or --image_dir")
  target = data_dir / name / (VERSION if theirs is None else str(theirs.version))
  if target.exists() and not overwrite:
    raise InputError(f"{target} exists already; pass --overwrite to replace it")
  try:
    data_dir.mkdir(parents=True, exist_ok=True)
    # Inside data_dir, so that the last step is a rename on one file system.
    with tempfile.TemporaryDirectory(prefix=".prepare-", dir=data_dir) as temporary:
      folder = Path(temporary)
      if source is None:
        download(name, folder)
      else:
        build(builder_of(source, name, theirs, folder), folder / "downloads")
      made = describe(name, folder)  # InputError, if it is not what we can read
      if source is not None and (wrong := differences(source, Path(made.folder))):
        raise InputError(f"{wrong} of the records prepared differ from the source; try again")
      install(Path(made.folder), target)
  except OSError as error:
    raise InputError(f"cannot write {data_dir} ({error}); name another --data_dir") from error
  return describe(name, data_dir)


def has_tensorflow() -> bool:
  """Whether TensorFlow is installed; it is not imported."""
  return importlib.util.find_spec("tensorflow") is not None


def download(name: str, data_dir: Path) -> None:
  """Lets TFDS's own builder download a data set and write it."""
  import tensorflow_datasets as tfds

  try:
    build(tfds.builder(name, data_dir=data_dir, file_format="array_record"), data_dir / "downloads")
  except MemoryError:
    raise
  # The network, the server, the checksum test and the builder may raise anything; none of it is our error.
  except Exception as error:
    reason = " ".join(str(error).split()).rstrip(".").replace(". ", ", ")
    raise InputError(
      f"TFDS cannot prepare {name} ({reason[:300]}); if you have its files, give them with --idx_dir or "
      f"--image_dir"
    ) from error


def main(argv: list[str]) -> None:
  """Reads the flags and calls `prepare`."""
  logging.set_verbosity(logging.WARNING)  # of TFDS's output, keeps only the progress bars
  path = lambda flag: Path(flag.value).expanduser() if flag.value else None
  try:
    if len(argv) != 2:
      raise InputError("give one NAME, such as mnist or emnist/letters; all else is given by flags")
    if not (data_dir := path(DATA_DIR)):
      raise InputError("give the TFDS directory to write into by --data_dir")
    made = prepare(
      argv[1], data_dir, path(IDX_DIR), path(IMAGE_DIR), CLASS_NAMES.value, OVERWRITE.value
    )
  except InputError as error:
    sys.exit(f"prepare: {error}")
  counts = ", ".join(f"{split} {count:,}" for split, count in made.splits.items())
  shape = " x ".join("any" if length is None else str(length) for length in made.shape)
  print(f"written: {data_dir / argv[1] / made.version}: {counts}; {shape}, {made.classes} classes")


if __name__ == "__main__":
  app.run(main)
