"""Finds the data sets that TFDS has prepared, and makes the errors for those that cannot be read."""

import dataclasses
import hashlib
import os
import re
import shlex
from pathlib import Path

from qnn_jax.datasets import _metadata
from qnn_jax.errors import InputError

_ROOT = Path(__file__).parents[2]  # of a checkout
DEFAULT_DATA_DIR = _ROOT / "data" / "tfds"

_KIND = (
  "use a data set of uint8 images in grey, RGB or RGBA, with one class label each, and of one size, or "
  "give a resize, such as (64, 64)"
)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A data set on disk.

  Attributes:
    name: NAME or NAME/CONFIG.
    data_dir: the TFDS directory.
    folder: the folder of the version, within data_dir.
    metadata: its metadata.
  """

  name: str
  data_dir: Path
  folder: Path
  metadata: _metadata.Metadata = _metadata.Metadata()

  def damaged(self, reason: str) -> InputError:
    """The error for files that cannot be read, in one sentence; `reason` may have several lines."""
    reason = " ".join(reason.split()).rstrip(".").replace(". ", ", ")
    return InputError(
      f"cannot read {self.name} from {self.folder} ({reason}); "
      f"{remedy(self.name, self.data_dir, overwrite=True)}"
    )

  def unfit(self, reason: str) -> InputError:
    """The error for a sound data set that does not hold images with class labels."""
    return InputError(f"cannot load {self.name} from {self.folder} ({reason}); {_KIND}")


def as_path(what: str, value: str | os.PathLike) -> Path:
  """The value as a path, with ~ expanded. InputError, which calls it `what`, if it is not a path."""
  if not isinstance(value, str | os.PathLike):
    raise InputError(f"{what} must be a path, got {value!r}")
  return Path(os.path.expanduser(value))


def find(name: str, data_dir: str | os.PathLike | None) -> Prepared:
  """Finds the newest version of a data set and reads its metadata.

  Args:
    name: NAME or NAME/CONFIG.
    data_dir: the TFDS directory; None for data/tfds of the checkout.

  Returns:
    The data set.

  Raises:
    InputError: the data set is missing or damaged, or does not hold images with class labels.
  """
  if not isinstance(name, str) or not re.fullmatch(
    r"[^./\\\0][^/\\\0]*(/[^./\\\0][^/\\\0]*)?", name
  ):
    raise InputError(f"name must be the NAME or NAME/CONFIG of a TFDS data set, got {name!r}")
  if data_dir is None and not DEFAULT_DATA_DIR.is_dir():
    raise InputError(
      f"no data_dir is given, and the package is not in a checkout with data/tfds; "
      f"{remedy(name, Path('DIR'))}"
    )
  data_dir = DEFAULT_DATA_DIR if data_dir is None else as_path("data_dir", data_dir)
  if not data_dir.is_dir():
    raise InputError(f"data_dir {data_dir} is not a directory; {remedy(name, data_dir)}")
  try:
    versions = _versions(data_dir / name)
  except OSError as error:
    raise InputError(
      f"cannot read {data_dir / name} ({error.strerror}); {remedy(name, data_dir)}"
    ) from error
  if not versions:
    others = ", ".join(_names(data_dir))
    there = f"only {others}" if others else "nor any other"
    raise InputError(
      f"data_dir {data_dir} holds no data set {name}, {there}; {remedy(name, data_dir)}"
    )
  prepared = Prepared(name, data_dir, versions[max(versions)])
  try:
    return dataclasses.replace(prepared, metadata=_metadata.read(prepared.folder))
  except _metadata.Damaged as error:
    raise prepared.damaged(str(error)) from error
  except _metadata.Unfit as error:
    raise prepared.unfit(str(error)) from error


def remedy(name: str, data_dir: Path, overwrite: bool = False) -> str:
  """The end of an error message: what to do to get the data set."""
  # The script is in a checkout, not in the package.
  if (_ROOT / "scripts" / "prepare.py").is_file():
    command = f"python scripts/prepare.py {shlex.quote(name)}"
  else:
    command = f"tfds build {shlex.quote(name)} --file_format=array_record"
  command += f" --data_dir={shlex.quote(str(data_dir))}" + overwrite * " --overwrite"
  own = data_dir != DEFAULT_DATA_DIR and (DEFAULT_DATA_DIR / name).is_dir()
  begin = f"leave data_dir out to use the checkout's {name}, or " if own else ""
  return (
    f"{begin}name a TFDS directory with {name} in array_record format, such as `{command}` makes"
  )


def stored(prepared: Prepared) -> int:
  """The number of bytes in the data set's files."""
  try:
    return sum(path.stat().st_size for path in prepared.folder.iterdir() if path.is_file())
  except OSError as error:
    raise prepared.damaged(str(error)) from error


def digest(prepared: Prepared) -> str:
  """SHA-256 over the names and contents of the data set's files, in hexadecimal."""
  found = hashlib.sha256(b"array cache 3")  # changes with the format of the cache
  try:
    for path in sorted(path for path in prepared.folder.iterdir() if path.is_file()):
      with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").digest()
      name = path.name.encode("utf-8", "surrogateescape")
      found.update(len(name).to_bytes(8) + name + content)
  except OSError as error:
    raise prepared.damaged(str(error)) from error
  return found.hexdigest()


def _versions(folder: Path) -> dict[tuple[int, ...], Path]:
  """(major, minor, patch) -> the folder of that version. OSError if a folder cannot be read."""
  if not folder.is_dir():
    return {}
  paths = [path for path in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
  return {tuple(map(int, path.name.split("."))): path for path in paths if path.is_dir()}


def _names(data_dir: Path) -> list[str]:
  """The data sets in a TFDS directory, sorted: NAME or NAME/CONFIG."""
  names = []
  for pattern in ("*/*", "*/*/*"):
    for path in data_dir.glob(pattern):
      if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and path.is_dir():
        names.append(str(path.parent.relative_to(data_dir)))
  return sorted(set(names))
