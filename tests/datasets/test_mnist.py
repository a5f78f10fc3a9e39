"""MNIST: what is in it, and the array cache.

Decoding takes seconds. The only decoding of the whole of it is done by the two racing processes;
the other tests read the cache they leave.
"""

import logging
import subprocess
import sys

import numpy as np
import pytest

from qnn_jax.datasets import Dataset, _tfds, load_dataset

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
# SHA-256 of the four arrays, C order.
HASHES = [
  "59edd5ea35c0062957306cacba8ae47e71e2c56261f4ca10230aacc14943dd3b",
  "2736d7d4fa861b3eb5cf799ed3247c49ba46c5b056b3b4aceabec80fbf37b0f7",
  "a85d8dffc6063fb89dcbc2122651701e7bbc18837f940fc9d76df48c224558ca",
  "927a9033bdc84a359f1400c691c7eaa8ab1838a0d81e3cc55ed2b4a1dfe95e69",
]

# Loads, and prints what was imported for it and what the arrays hold.
CHILD = """
import hashlib, sys
from qnn_jax.datasets import load_dataset
arrays = load_dataset(cache_dir=sys.argv[1])[:4]
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
  return load_dataset(cache_dir=race[0])


@pytest.fixture
def decodings(mnist, monkeypatch):
  """Replaces the decoding by a quick one; the list of the splits and directories it was asked for."""
  asked = []

  class Records:
    shape = mnist.shape

    def __init__(self, prepared, split, resize):
      asked.append((split, prepared.data_dir))
      at = 0 if split == "train" else 2
      self.arrays = mnist[at].reshape(-1, *mnist.shape), mnist[at + 1].astype(np.int32)

    def check(self):
      pass

    def read(self, indices):
      return tuple(array[indices] for array in self.arrays)

  monkeypatch.setattr(_tfds, "Records", Records)
  return asked


def assert_equal(ours, theirs):
  assert ours[4:] == theirs[4:]
  for a, b in zip(ours[:4], theirs[:4], strict=True):
    np.testing.assert_array_equal(a, b, strict=True)


# ---- What is in it.


def test_shapes_and_dtypes(mnist):
  assert isinstance(mnist, Dataset)
  assert mnist[4:] == (10, (28, 28, 1), "mnist")
  assert [a.shape for a in mnist[:4]] == [(60000, 784), (60000,), (10000, 784), (10000,)]
  assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in mnist[:4])


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
  assert reports[0][1] == reports[1][1] == HASHES
  files = sorted(cache_dir.iterdir())
  assert [path.name.rsplit("-", 1)[0] for path in files] == ["mnist-test", "mnist-train"]
  for path, size in zip(files, (10_000, 60_000), strict=True):  # Nothing temporary is left.
    blocks = -(-size // (2**20 // 784))
    assert path.stat().st_size == size * (784 + 4) + 4 * (blocks + 1) + 44


def test_hit_equals_decoding_and_imports_no_tfds(race):
  cache_dir, reports = race
  assert any(decoded for decoded, _ in reports)
  imported_tfds, hashes = finish(start(cache_dir))
  assert not imported_tfds
  assert hashes == reports[0][1]


@pytest.mark.parametrize("damage", ["truncated", "image", "label", "shape", "longer", "empty"])
def test_damaged_cache_is_made_again(race, mnist, decodings, tmp_path, damage):
  for path in race[0].iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  original = next(race[0].glob("mnist-train-*"))
  cache = tmp_path / original.name
  content = bytearray(original.read_bytes())
  if damage == "truncated":
    content = content[:-1000]
  elif damage == "longer":
    content += b"0"
  elif damage == "empty":
    content = b""
  else:
    content[{"image": 12_345_678, "label": 60_000 * 786, "shape": -36}[damage]] ^= 1
  cache.write_bytes(content)
  for _ in range(2):
    assert_equal(load_dataset(cache_dir=tmp_path), mnist)
    assert [split for split, _ in decodings] == ["train"]
    assert cache.read_bytes() == original.read_bytes()
  assert len(list(tmp_path.iterdir())) == 2


def test_caller_may_write_into_the_arrays(race, mnist):
  arrays = load_dataset(cache_dir=race[0])
  arrays.train_images[:] = 0
  assert_equal(load_dataset(cache_dir=race[0]), mnist)


def test_same_content_shares_the_cache_and_other_content_does_not(race, decodings, data_dir):
  load_dataset("mnist", data_dir, cache_dir=race[0])
  load_dataset("mnist", str(data_dir), cache_dir=str(race[0]))
  assert decodings == []
  info = data_dir / "mnist" / "3.0.1" / "dataset_info.json"
  info.write_text(info.read_text() + "\n")
  load_dataset("mnist", data_dir, cache_dir=data_dir)
  assert decodings == [("test", data_dir), ("train", data_dir)]


def test_unwritable_cache_means_decoding_each_time(mnist, decodings, tmp_path, caplog):
  (tmp_path / "file").touch()
  with caplog.at_level(logging.WARNING, logger="qnn_jax"):
    for _ in range(2):
      assert_equal(load_dataset(cache_dir=tmp_path / "file" / "cache"), mnist)
  assert len(decodings) == 4
  messages = [record.getMessage() for record in caplog.records]
  assert len(messages) == 1 and "decoded again" in messages[0]


def test_default_cache_follows_xdg(decodings, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  load_dataset()
  assert len(list((tmp_path / "xdg" / "qnn_jax").iterdir())) == 2
  for ignored in ("", "relative"):
    monkeypatch.setenv("XDG_CACHE_HOME", ignored)
    load_dataset()
  assert len(list((tmp_path / "home" / ".cache" / "qnn_jax").iterdir())) == 2
  assert len(decodings) == 4


def test_noise_of_the_readers_stays_silent_only_while_they_read():
  absl_logger = logging.getLogger("absl")
  before = absl_logger.disabled
  with _tfds.quiet():
    assert absl_logger.disabled
  assert absl_logger.disabled == before
