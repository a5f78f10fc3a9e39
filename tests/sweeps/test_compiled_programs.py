"""Compiled programs kept in a folder: found by the next process, and never a reason to fail."""

import os
import subprocess
import sys
import zlib

import pytest

from qnn_jax.sweeps import compiling

# Compiles one program, and says what JAX did about it; warnings are errors, as in tests.
_PROGRAM = """
import pathlib, sys, warnings
warnings.simplefilter("error")
import jax
from qnn_jax.sweeps import compiling

events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
compiling.keep_programs(pathlib.Path(sys.argv[1]))
value = jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(10.0))
print(float(value), events.count("cache_hits"), events.count("cache_misses"))
"""


def run(folder, **env):
  """(value, programs found, programs kept) of a process that compiles a few."""
  kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, str(folder)],
    env=kept | {"JAX_PLATFORMS": "cpu"} | env,
    capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 0 and done.stderr == "", done.stderr
  value, found, written = done.stdout.split()
  assert value == "285.0"
  return int(found), int(written)


def files(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_next_process_finds_what_was_compiled_and_mends_what_is_damaged(tmp_path):
  found, written = run(tmp_path / "cache")
  kept = files(tmp_path / "cache")
  assert found == 0 and written == len(kept) > 0
  # A folder of its own for this type of CPU.
  assert {path.parent.parent for path in kept} == {tmp_path / "cache"}
  assert {path.parent.name for path in kept} == {compiling._cpu_type()}
  assert run(tmp_path / "cache") == (written, 0) and files(tmp_path / "cache") == kept
  whole = kept[0].read_bytes()
  kept[0].write_bytes(whole[: len(whole) // 2])  # its writer was killed, or its disk was full
  assert run(tmp_path / "cache") == (written - 1, 1)
  if (
    not kept[0].read_bytes().startswith(compiling._ZSTANDARD)
  ):  # which JAX takes where it is installed
    zlib.decompress(kept[0].read_bytes())


def test_what_zstandard_has_compressed_is_mended_too(tmp_path):
  zstandard = pytest.importorskip("zstandard")
  _, written = run(tmp_path / "cache")
  kept = files(tmp_path / "cache")
  whole = kept[0].read_bytes()
  assert whole.startswith(compiling._ZSTANDARD)
  for left in 2, len(whole) // 2, len(whole) - 1:
    kept[0].write_bytes(whole[:left])
    assert run(tmp_path / "cache") == (written - 1, 1)
  zstandard.ZstdDecompressor().decompress(kept[0].read_bytes())


def test_a_folder_that_cannot_be_is_no_error(tmp_path):
  (tmp_path / "file").write_text("in the way")
  assert run(tmp_path / "file") == (0, 0)
  assert (tmp_path / "file").read_text() == "in the way"


def test_who_has_named_a_folder_in_the_environment_keeps_it(tmp_path):
  run(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))
  assert not (tmp_path / "cache").exists()


def test_processes_that_it_starts_have_the_folder_too(tmp_path, monkeypatch):
  updates = {}
  monkeypatch.setattr(compiling.jax.config, "update", updates.__setitem__)
  monkeypatch.setattr(os, "environ", {"PYTHONWARNINGS": "ignore:mine"})
  monkeypatch.setattr(compiling.warnings, "filterwarnings", lambda *_: None)
  compiling.keep_programs(tmp_path / "cache")
  folder = str(tmp_path / "cache" / compiling._cpu_type())
  assert updates["jax_compilation_cache_dir"] == folder == os.environ["JAX_COMPILATION_CACHE_DIR"]
  assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0.0"
  assert os.environ["PYTHONWARNINGS"].startswith("ignore:mine,ignore:Error reading persistent")


@pytest.mark.skipif(
  not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_read_only_folder_is_read(tmp_path):
  _, written = run(tmp_path / "cache")
  for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
    path.chmod(0o555)
  assert run(tmp_path / "cache") == (written, 0)
