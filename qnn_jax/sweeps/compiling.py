"""Calls compiled programs, reports the seconds of compiling as events, and sets where programs are kept."""

import contextlib
import importlib
import os
import pathlib
import platform
import re
import time
import warnings
import zlib
from collections.abc import Callable, Generator
from typing import Any

import jax

from qnn_jax.sweeps.points import Compiled

# Every program is kept, however fast it was compiled, so that what is there does not depend on how busy the
# machine was. XLA's own files for GPUs are not kept: XLA fails where it cannot write them.
_SETTINGS = {
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_enable_xla_caches": "none",
}

_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # the first bytes of its files

_WARNINGS = tuple(f"Error {doing} persistent compilation cache" for doing in ("reading", "writing"))


def call(program: Callable, *args: Any) -> Generator[Compiled, None, Any]:
  """The program's result, for `yield from`; before that a `Compiled`, if the call had to compile it.

  Args:
    program: of `jax.jit`.
    *args: its arguments.
  """
  programs = program._cache_size()  # type: ignore[attr-defined]
  begin = time.perf_counter()
  result = jax.block_until_ready(program(*args))
  if program._cache_size() > programs:  # type: ignore[attr-defined]
    yield Compiled(time.perf_counter() - begin)
  return result


def keep_programs(folder: pathlib.Path) -> None:
  """Makes this process, and those that it starts, keep compiled programs in a folder and look there first.

  Each type of CPU has its own folder in `folder`, since a program may hold instructions that another CPU lacks.
  A folder that the environment names for JAX takes precedence. If a file cannot be read or written, the program
  is compiled and not kept, without an error.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR") is not None:
    return
  mine = folder.absolute() / _cpu_type()
  _drop_damaged(mine)
  for name, value in {"jax_compilation_cache_dir": str(mine), **_SETTINGS}.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)  # for worker processes
  filters = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
  for message in _WARNINGS:
    warnings.filterwarnings("ignore", re.escape(message))
    filters.append(f"ignore:{message}")
  os.environ["PYTHONWARNINGS"] = ",".join(filters)


def _cpu_type() -> str:
  """A name that all CPUs with the same instructions share."""
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
  except OSError:
    info = ""
  # Of the first core: its model and what it can do, by the names that x86 and ARM have for them.
  kinds = r"^(?:vendor_id|cpu family|model|flags|CPU [a-z]+|Features)\s*:.*$"
  found = re.findall(kinds, info.partition("\n\n")[0], re.MULTILINE)
  text = "\n".join(found) or platform.processor()
  return f"{platform.machine()}-{zlib.crc32(text.encode()):08x}"


def _drop_damaged(folder):
  """Removes files that were not written to their end; JAX would neither use nor replace them."""
  for path in folder.glob("*-cache"):
    with contextlib.suppress(OSError):
      if not _is_whole(path.read_bytes()):
        path.unlink()


def _is_whole(content):
  """Whether a file was written to its end; True if only another Python can decompress it."""
  try:
    if content[:1] in (b"", b"\x78"):
      zlib.decompress(content)
    elif _ZSTANDARD.startswith(content[:4]):
      _decompress_zstandard(content)
  except Exception:  # each compressor raises its own
    return False
  return True


def _decompress_zstandard(content):
  # JAX prefers it to zlib where it finds one of these two.
  with contextlib.suppress(ImportError):
    importlib.import_module("compression.zstd").decompress(content)  # since Python 3.14
    return
  with contextlib.suppress(ImportError):
    importlib.import_module("zstandard").ZstdDecompressor().decompress(content)
