"""Whole-file writes that other processes see either not at all or complete."""

import contextlib
import errno
import os
import pathlib
import uuid
from collections.abc import Sequence

from qnn_jax import living

_TEMPORARY = ".tmp-"

# What a file system says that has no hard links (FAT, many of FUSE, some of networks).
_NO_LINKS = {
  errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK,
  errno.EINVAL,
}  # fmt: skip

# Others may remove an empty folder just before something is put there, or a file that seemed left behind.
_TRIES = 100


def atomic_write_bytes(
  path: str | os.PathLike, data: bytes, *, make_folder: bool = False, sync: bool = True
) -> None:
  """Puts `data` at `path` in one step, replacing what was there.

  The bytes go to a file `.tmp-<process>-<random>` in the same directory (a rename is atomic only within one
  file system), are synced to the disk and renamed. Any number of processes, on any number of
  machines, may write the same path at once: one of them wins, and readers see a whole file.

  Args:
    path: the file to write.
    data: its whole new contents.
    make_folder: whether to make its directory, which must exist otherwise; the directory's own must exist.
    sync: whether it must survive a power cut.

  Raises:
    OSError: the file could not be written; its `filename` is `path`. What was at `path` before is
      untouched, and the temporary file is gone.
  """
  path = pathlib.Path(path)
  with _named(path):
    for left in reversed(range(_TRIES)):
      try:
        with _temporary(path, data, make_folder, sync) as temporary:
          os.replace(temporary, path)
        break
      except FileNotFoundError:
        if not left or not (make_folder or path.parent.is_dir()):
          raise
    if sync:
      _sync_directory(path.parent)


def atomic_write_text(path: str | os.PathLike, text: str) -> None:
  """`atomic_write_bytes` of the text in UTF-8, its line ends as they are."""
  atomic_write_bytes(path, text.encode("utf-8"))


def update_bytes(path: str | os.PathLike, data: bytes) -> None:
  """`atomic_write_bytes` unless that is what is there: a disk that cannot be written may be right."""
  with contextlib.suppress(OSError):
    if pathlib.Path(path).read_bytes() == data:
      return
  atomic_write_bytes(path, data)


def create_exclusively(
  path: str | os.PathLike, data: bytes, *, make_folder: bool = False, sync: bool = True
) -> bool:
  """Puts `data` at `path` if nothing is there: of all processes that try, exactly one does.

  It comes whole, as a hard link. On a file system without those it is created and then filled: a reader
  there must wait a moment for a file that is empty or half written.

  Returns:
    Whether it did; False if the name was taken.

  Raises:
    OSError: the file could not be written; its `filename` is `path`.
  """
  path = pathlib.Path(path)
  with _named(path):
    for left in reversed(range(_TRIES)):
      try:
        with _temporary(path, data, make_folder, sync) as temporary:
          made = _link(temporary, path, data, sync)
        break
      except FileNotFoundError:
        if not left or not (make_folder or path.parent.is_dir()):
          raise
    if made and sync:
      _sync_directory(path.parent)
    return made


def _link(whole, path, data, sync):
  try:
    os.link(whole, path)
    return True
  except FileExistsError:
    # A network file system may ask twice, and say that the name was taken: by us.
    return _links(whole) == 2
  except OSError as error:
    if error.errno not in _NO_LINKS:
      raise
  try:
    with open(path, "xb") as file:
      try:
        _fill(file, data, sync)
      except BaseException:
        with contextlib.suppress(OSError):
          path.unlink()
        raise
  except FileExistsError:
    return False
  return True


def _links(path):
  try:
    return os.stat(path).st_nlink
  except OSError:
    return 0


@contextlib.contextmanager
def _temporary(path, data, make_folder, sync):
  """A file beside `path` with this content, gone in the end."""
  if make_folder:
    path.parent.mkdir(exist_ok=True)
  # Not tempfile.mkstemp: its files are private to their owner, and colleagues share results.
  temporary = path.parent / f"{_TEMPORARY}{living.tag()}-{uuid.uuid4().hex[:12]}"
  try:
    with open(temporary, "xb") as file:
      _fill(file, data, sync)
    yield temporary
  finally:
    with contextlib.suppress(OSError):  # a file system that has turned read-only, say
      temporary.unlink(missing_ok=True)


def _fill(file, data, sync):
  file.write(data)
  file.flush()
  if sync:
    os.fsync(file.fileno())


@contextlib.contextmanager
def _named(path):
  try:
    yield
  except OSError as error:
    if error.errno is not None:  # it names no file, or a temporary one
      error.filename, error.filename2 = str(path), None
    raise


def remove_leftovers(folder: pathlib.Path, seconds: float) -> None:
  """Removes temporary files of writers that are no more, and nothing else.

  A dead process of this machine is told at once. Of others, a file counts as left behind that nobody has
  written to for so many seconds, by the file system's own clock. Should its writer live on, it writes again.
  """
  left = []
  for name in _entries(folder):
    if name.startswith(_TEMPORARY):
      writer = living.of_tag(name[len(_TEMPORARY) :].rpartition("-")[0])
      if writer is None:
        left.append(folder / name)
      elif living.is_dead(writer):
        _remove(folder / name)
  for path in silent_files(folder, left, seconds):
    _remove(path)


def silent_files(
  folder: pathlib.Path, paths: Sequence[pathlib.Path], seconds: float
) -> list[pathlib.Path]:
  """Those of these files in the folder that nobody has written to for so many seconds.

  That is by the file system's own clock; none of them where it cannot be asked.
  """
  found: list[pathlib.Path] = []
  now = _clock(folder) if paths else None
  if now is None:
    return found
  for path in paths:
    with contextlib.suppress(OSError):
      if now - path.stat().st_mtime > seconds:
        found.append(path)
  return found


def _entries(folder):
  try:
    return os.listdir(folder)
  except OSError:
    return []


def _clock(folder):
  """The file system's time, which the time of a file just written is; None if none can be written."""
  try:
    with _temporary(folder / "clock", b"?", False, True) as path:
      return path.stat().st_mtime
  except OSError:
    return None


def _remove(path):
  with contextlib.suppress(OSError):  # another was quicker, or it is no file
    path.unlink()


def _sync_directory(directory: pathlib.Path) -> None:
  # Makes the rename itself survive a power cut. Some file systems (and Windows) cannot sync a
  # directory; the file is complete there all the same, so that is no reason to fail.
  try:
    descriptor = os.open(directory, os.O_RDONLY)
  except OSError:
    return
  try:
    os.fsync(descriptor)
  except OSError:
    pass
  finally:
    os.close(descriptor)
