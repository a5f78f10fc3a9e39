"""MNIST: what is in it, the array cache, and directories that are missing or damaged.

Decoding takes seconds. The only decoding of the whole of it is done by the two racing processes;
the other tests read the cache they leave, or stop at the damage.
"""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qnn_jax.datasets import Mnist, load_mnist
from qnn_jax.datasets import mnist as module
from qnn_jax.errors import InputError

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
TEST_RECORDS = "mnist-test.array_record-00000-of-00001"

# Loads, and prints what was imported for it and what the arrays hold.
CHILD = """
import hashlib, sys
from qnn_jax.datasets import load_mnist
arrays = load_mnist(cache_dir=sys.argv[1])
print('tensorflow_datasets' in sys.modules, 'tensorflow' in sys.modules)
print(*(hashlib.sha256(array).hexdigest() for array in arrays))
"""


def start(cache_dir):
  return subprocess.Popen(
    [sys.executable, "-W", "error", "-c", CHILD, str(cache_dir)],
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )


def finish(child):
  """Whether the process decoded, and the hashes of its arrays."""
  out, err = child.communicate(timeout=300)
  assert child.returncode == 0, err
  assert err == ""
  imported_tfds, imported_tensorflow, *hashes = out.split()
  assert imported_tensorflow == "False"
  return imported_tfds == "True", hashes


@pytest.fixture(scope="module")
def race(tmp_path_factory):
  """Two processes on one empty cache directory: the directory, and what each of them reports."""
  cache_dir = tmp_path_factory.mktemp("cache") / "not" / "there" / "yet"
  children = [start(cache_dir), start(cache_dir)]
  return cache_dir, [finish(child) for child in children]


@pytest.fixture(scope="module")
def mnist(race):
  return load_mnist(cache_dir=race[0])


@pytest.fixture
def decodings(mnist, monkeypatch):
  """Replaces the decoding by a quick one; the list of the directories it was asked for."""
  asked = []

  def decode(data_dir):
    asked.append(data_dir)
    return mnist

  monkeypatch.setattr(module, "decode_mnist", decode)
  return asked


@pytest.fixture
def data_dir(tmp_path):
  """A copy of the package's data directory, to be damaged; big files are links."""
  folder = tmp_path / "tfds" / "mnist" / "3.0.1"
  folder.mkdir(parents=True)
  for path in (module.DEFAULT_DATA_DIR / "mnist" / "3.0.1").iterdir():
    if path.suffix == ".json":
      shutil.copy(path, folder)
    else:
      (folder / path.name).symlink_to(path)
  return tmp_path / "tfds"


def assert_equal(ours, theirs):
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_array_equal(a, b, strict=True)


# ---- What is in it.


def test_shapes_and_dtypes(mnist):
  assert isinstance(mnist, Mnist)
  assert [a.shape for a in mnist] == [(60000, 784), (60000,), (10000, 784), (10000,)]
  assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in mnist)


def test_known_facts(mnist):
  assert np.bincount(mnist.train_labels).tolist() == TRAIN_COUNTS
  assert np.bincount(mnist.test_labels).tolist() == TEST_COUNTS
  assert mnist.train_labels[:10].tolist() == [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]
  assert mnist.test_labels[:10].tolist() == [2, 0, 4, 8, 7, 6, 0, 6, 3, 1]
  # The mean and the standard deviation that everyone normalises with.
  pixels = mnist.train_images / np.float32(255)
  assert pixels.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
  assert pixels.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
  assert mnist.train_images.max() == 255 and mnist.train_images.min() == 0


def test_rows_are_pictures_row_by_row(mnist):
  # A one is taller than it is wide: its ink spreads over the rows more than over the columns.
  ones = mnist.train_images[mnist.train_labels == 1].mean(axis=0).reshape(28, 28)
  rows, columns = ones.sum(axis=1), ones.sum(axis=0)
  assert np.count_nonzero(rows > 100) > np.count_nonzero(columns > 100) + 5


# ---- The cache.


def test_two_processes_race(race):
  cache_dir, reports = race
  assert reports[0][1] == reports[1][1]
  files = list(cache_dir.iterdir())
  assert len(files) == 1  # One cache, and nothing temporary.
  assert files[0].stat().st_size == 70_000 * 785 + 4


def test_hit_equals_decoding_and_imports_no_tfds(race):
  cache_dir, reports = race
  assert any(decoded for decoded, _ in reports)
  imported_tfds, hashes = finish(start(cache_dir))
  assert not imported_tfds
  assert hashes == reports[0][1]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "empty"])
def test_damaged_cache_is_made_again(race, mnist, decodings, tmp_path, damage):
  original = next(race[0].iterdir())
  cache = tmp_path / original.name
  content = bytearray(original.read_bytes())
  if damage == "truncated":
    content = content[:-1000]
  elif damage == "flipped":
    content[12_345_678] ^= 1
  elif damage == "longer":
    content += b"0"
  else:
    content = b""
  cache.write_bytes(content)
  assert_equal(load_mnist(cache_dir=tmp_path), mnist)
  assert len(decodings) == 1
  assert cache.read_bytes() == original.read_bytes()
  assert_equal(load_mnist(cache_dir=tmp_path), mnist)
  assert len(decodings) == 1
  assert list(tmp_path.iterdir()) == [cache]


def test_caller_may_write_into_the_arrays(race, mnist):
  arrays = load_mnist(cache_dir=race[0])
  arrays.train_images[:] = 0
  assert_equal(load_mnist(cache_dir=race[0]), mnist)


def test_same_content_shares_the_cache_and_other_content_does_not(race, decodings, data_dir):
  load_mnist(data_dir, cache_dir=race[0])
  load_mnist(str(data_dir), cache_dir=str(race[0]))
  assert decodings == []
  info = data_dir / "mnist" / "3.0.1" / "dataset_info.json"
  info.write_text(info.read_text() + "\n")
  load_mnist(data_dir, cache_dir=data_dir)
  assert decodings == [data_dir]


def test_unwritable_cache_means_decoding_each_time(mnist, decodings, tmp_path, caplog):
  (tmp_path / "file").touch()
  with caplog.at_level(logging.WARNING, logger="absl"):
    for _ in range(2):
      assert_equal(load_mnist(cache_dir=tmp_path / "file" / "cache"), mnist)
  assert len(decodings) == 2
  messages = [record.getMessage() for record in caplog.records]
  assert len(messages) == 1 and "decoded anew" in messages[0]


def test_default_cache_follows_xdg(decodings, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  load_mnist()
  assert len(list((tmp_path / "xdg" / "qnn_jax").iterdir())) == 1
  for ignored in ("", "relative"):
    monkeypatch.setenv("XDG_CACHE_HOME", ignored)
    load_mnist()
  assert len(list((tmp_path / "home" / ".cache" / "qnn_jax").iterdir())) == 1
  assert len(decodings) == 2


# ---- Directories that are missing or damaged.


def own(path):
  """Replaces a link by a copy that may be changed."""
  content = path.read_bytes()
  path.unlink()
  path.write_bytes(content)
  return path


def flip_bytes(folder):
  with own(folder / TEST_RECORDS).open("r+b") as stream:
    stream.seek(1_000_000)
    stream.write(b"damaged!")


def truncate(folder):
  os.truncate(own(folder / TEST_RECORDS), 2_000_000)


def empty(folder):
  path = folder / TEST_RECORDS
  path.unlink()
  path.touch()


def replace(old, new):
  def damage(folder):
    path = folder / "dataset_info.json"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))

  return damage


DAMAGES = {
  "flipped bytes": (flip_bytes, "hash mismatch"),
  "truncated": (truncate, "Corrupted"),
  "empty file": (empty, "at least 64KB"),
  "missing file": (lambda folder: (folder / TEST_RECORDS).unlink(), "No such file"),
  "not JSON": (replace("{", "["), "JSON"),
  "other JSON": (lambda folder: (folder / "dataset_info.json").write_text('{"name": 3}'), "name"),
  "fewer images": (replace('"10000"', '"9000"'), "test split has 9000 images"),
  "more images": (replace('"10000"', '"10001"'), "test split has 10001 images"),
  "no test split": (replace('"test"', '"validation"'), "no test split"),
  "another format": (replace('"array_record"', '"tfrecord"'), "tfrecord"),
  "no metadata": (lambda folder: (folder / "dataset_info.json").unlink(), "no dataset_info.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_directory(data_dir, tmp_path, name, capfd):
  damage, reason = DAMAGES[name]
  damage(data_dir / "mnist" / "3.0.1")
  with pytest.raises(InputError) as caught:
    load_mnist(data_dir, cache_dir=tmp_path / "cache")
  message = str(caught.value)
  assert str(data_dir) in message and reason in message
  assert "prepare_mnist.py" in message and "--overwrite" in message
  assert "\n" not in message and ". " not in message  # One sentence.
  assert not (tmp_path / "cache").exists()
  assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
  "name, reason",
  [
    ("missing", "is not a directory"),
    ("file", "is not a directory"),
    ("empty", "holds no mnist/3.0.1"),
    ("other", "holds no mnist/3.0.1"),
  ],
)
def test_no_mnist_there(tmp_path, name, reason):
  (tmp_path / "file").touch()
  (tmp_path / "empty").mkdir()
  (tmp_path / "other" / "mnist").mkdir(parents=True)
  (tmp_path / "other" / "mnist" / "3.0.1").touch()
  with pytest.raises(InputError) as caught:
    load_mnist(tmp_path / name, cache_dir=tmp_path)
  message = str(caught.value)
  assert str(tmp_path / name) in message and reason in message
  assert "leave data_dir out" in message and "prepare_mnist.py" in message


def test_broken_installation(tmp_path, monkeypatch):
  monkeypatch.setattr(module, "DEFAULT_DATA_DIR", Path(tmp_path / "gone"))
  with pytest.raises(InputError, match="install the package anew"):
    load_mnist(cache_dir=tmp_path)


def test_noise_of_the_readers_stays_silent_only_while_they_read():
  absl_logger = logging.getLogger("absl")
  before = absl_logger.disabled
  with module._quiet():
    assert absl_logger.disabled
  assert absl_logger.disabled == before
