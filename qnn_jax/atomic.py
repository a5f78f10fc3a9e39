"""Whole-file writes that other processes see either not at all or complete."""

import contextlib
import os
import pathlib
import uuid


def atomic_write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Puts `data` at `path` in one step, replacing what was there.

  The bytes go to a file `.tmp-<random>` in the same directory (a rename is atomic only within one
  file system), are synced to the disk and renamed. Any number of processes, on any number of
  machines, may write the same path at once: one of them wins, and readers see a whole file.

  Args:
    path: the file to write; its directory must exist.
    data: its whole new contents.

  Raises:
    OSError: the file could not be written; what was at `path` before is untouched, and the
      temporary file is gone.
  """
  path = pathlib.Path(path)
  # Not tempfile.mkstemp: its files are private to their owner, and colleagues share results.
  temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
  try:
    with open(temporary, "xb") as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):  # a file system that has turned read-only, say
      temporary.unlink(missing_ok=True)
    raise
  _sync_directory(path.parent)


def atomic_write_text(path: str | os.PathLike, text: str) -> None:
  """`atomic_write_bytes` of the text in UTF-8, its line ends as they are."""
  atomic_write_bytes(path, text.encode("utf-8"))


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
