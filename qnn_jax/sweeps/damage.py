"""Damaged files: each is named once in a warning and moved to DIR/damaged; nothing is deleted."""

import contextlib
import errno
import itertools
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import BinaryIO

from absl import logging

_named: set[str] = set()  # files that could not be moved, which this process has named


class Damaged(Exception):
  """A file is not what was written; the message says why.

  Attributes:
    status: of the file that was read.
  """

  def __init__(self, why: str, status: os.stat_result | None = None):
    super().__init__(why)
    self.status = status


class Unreadable(Exception):
  """A file cannot be read now, and may be whole."""


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
  """(file, its status) for reading.

  Raises:
    FileNotFoundError: it is gone.
    Unreadable: there is no permission, or the disk cannot be read.
    Damaged: it is a folder, a pipe, a device or a link to nothing.
  """
  try:
    # Without O_NONBLOCK this would wait for the writer of a pipe.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
  except OSError as error:
    if error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path):
      raise Damaged("it is a link to nothing", os.lstat(path)) from None
    if isinstance(error, FileNotFoundError):
      raise
    status = os.lstat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
      raise Damaged("it is no file", status) from error
    raise Unreadable(error.strerror) from error
  try:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
      raise Damaged("it is no file", status)
    with open(descriptor, "rb", closefd=False) as file:
      yield file, status
  except OSError as error:
    raise Unreadable(error.strerror or str(error)) from error
  finally:
    os.close(descriptor)


def read_file(path: pathlib.Path) -> tuple[bytes, os.stat_result]:
  """(content, status) of a file; raises as `opened` does."""
  with opened(path) as (file, status):
    return file.read(), status


def set_aside(
  workdir: pathlib.Path, path: pathlib.Path, error: Damaged, then: str, *, move: bool = True
) -> None:
  """Warns of a damaged file, with the reason and what happens `then`, and moves the file to DIR/damaged.

  If the file cannot be moved, or with `move=False`, this process warns of it only once. If another process has
  already moved it, or has put a good file in its place, nothing happens.
  """
  target = _moved(workdir, path, error.status) if move else None
  if target is not None:
    logging.warning("%s is damaged (%s): moved to %s; %s", path, error, target, then)
  elif os.path.lexists(path) and _is_same(path, error.status):
    name_once(path, f"is damaged ({error}); {then}")


def name_once(path: pathlib.Path, what: str) -> None:
  """Warns of a file, once in this process."""
  if str(path) not in _named:
    _named.add(str(path))
    logging.warning("%s %s", path, what)


def _moved(workdir, path, status):
  folder = workdir / "damaged"
  try:
    if not _is_same(path, status):
      return None
    folder.mkdir(exist_ok=True)
    target = _free(folder, path)
  except OSError:
    return None
  try:
    os.replace(path, target)
  except OSError:
    with contextlib.suppress(OSError):
      target.rmdir() if target.is_dir() else target.unlink()
      folder.rmdir()
    return None
  if not _is_same(target, status):  # another process wrote it anew between the check and the move
    with contextlib.suppress(OSError):
      os.replace(target, path)
      folder.rmdir()
    return None
  return target


def _free(folder, path):
  """A new name in the folder, reserved by an empty file or folder."""
  for number in itertools.count():
    target = folder / (f"{path.stem}.{number}{path.suffix}" if number else path.name)
    try:
      if path.is_dir() and not path.is_symlink():
        target.mkdir()
      else:
        target.open("xb").close()
      return target
    except FileExistsError:
      continue


def _is_same(path, status):
  try:
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode) and not stat.S_ISLNK((status or found).st_mode):
      found = os.stat(path)
  except OSError:
    return False
  # Not the inode number, which a layered file system changes when it moves a file.
  key = lambda s: (stat.S_IFMT(s.st_mode), s.st_size, s.st_mtime_ns)
  return status is None or key(found) == key(status)
