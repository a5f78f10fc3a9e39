"""Whole-file writes that other processes see either not at all or complete."""

import contextlib
import errno
import os
import pathlib
import uuid
from collections.abc import Sequence

from qnn_jax import living

_TEMPORARY = ".tmp-"

# The errors of a file system without hard links (FAT, many FUSE and some network file systems).
_NO_LINKS = {
  errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK,
  errno.EINVAL,
}  # fmt: skip

# Another process may remove a folder while it is still empty, or a file that it takes for a leftover.
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
    data: the whole new contents of the file.
    make_folder: whether to create the file's directory. The parent of that directory must exist.
    sync: whether the file must survive a power cut.

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
  """Writes the text in UTF-8 with `atomic_write_bytes`, without changing its line ends."""
  atomic_write_bytes(path, text.encode("utf-8"))


def update_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes with `atomic_write_bytes`, but not if the file has these contents already.

  So a read-only disk raises no error when its file is already right.
  """
  with contextlib.suppress(OSError):
    if pathlib.Path(path).read_bytes() == data:
      return
  atomic_write_bytes(path, data)


def create_exclusively(
  path: str | os.PathLike, data: bytes, *, make_folder: bool = False, sync: bool = True
) -> bool:
  """Creates the file `path` with `data` if it does not exist: of all processes that try, one succeeds.

  The complete file appears at once, as a hard link. A file system without hard links first creates the
  file and then fills it: a reader there must wait a moment for a file that is empty or half written.

  Returns:
    True if this call created the file; False if it existed.

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
    # A network file system may repeat the request and report that the name exists: from our own request.
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
  """A temporary file beside `path` with this content; it is removed at the end."""
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
    if error.errno is not None:  # the error names no file, or the temporary one
      error.filename, error.filename2 = str(path), None
    raise


def remove_leftovers(folder: pathlib.Path, seconds: float) -> None:
  """Removes temporary files whose writers have died, and nothing else.

  A dead process of this machine is recognised at once. A file of another machine counts as a leftover
  when nobody has written to it for `seconds`, by the file system's own clock. If its writer is alive
  after all, it writes the file again.
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
  """The files among these that nobody has written to for `seconds`.

  The time is that of the file system's own clock. Where that clock cannot be read the list is empty.
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
  """The file system's time, read from a file just written; None if no file can be written."""
  try:
    with _temporary(folder / "clock", b"?", False, True) as path:
      return path.stat().st_mtime
  except OSError:
    return None


def _remove(path):
  with contextlib.suppress(OSError):  # another process was quicker, or the path is no file
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
