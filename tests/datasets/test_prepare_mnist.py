"""The preparation script, as far as it goes without TensorFlow."""

import gzip
import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qnn_jax.datasets import Dataset
from qnn_jax.errors import InputError

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_mnist.py"


@pytest.fixture(scope="module")
def script():
  spec = importlib.util.spec_from_file_location("prepare_mnist", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def idx(array):
  shape = array.shape
  header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
  return header + array.tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


@pytest.fixture
def idx_dir(tmp_path, script):
  """Four IDX files of the right shapes, two of them gzipped."""
  folder = tmp_path / "idx"
  folder.mkdir()
  for i, (name, shape) in enumerate(script.FILES.values()):
    content = idx(np.full(shape, i, np.uint8))
    if i % 2:
      (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    else:
      (folder / name).write_bytes(content)
  return folder


def test_parse_idx(script):
  np.testing.assert_array_equal(script.parse_idx(idx(IMAGES), (3, 4, 5), "x"), IMAGES, strict=True)
  labels = np.array([7, 2, 1], np.uint8)
  np.testing.assert_array_equal(script.parse_idx(idx(labels), (3,), "x"), labels, strict=True)


@pytest.mark.parametrize(
  "content, reason",
  [
    (b"", "begins with the bytes "),
    (b"<html>", "begins with the bytes 3c68746d"),
    (idx(IMAGES.reshape(12, 5)), "begins with the bytes 00000802"),
    (idx(IMAGES)[:10], r"shape \(\)"),
    (idx(IMAGES[:2]), r"shape \(2, 4, 5\), where MNIST has \(3, 4, 5\)"),
    (idx(IMAGES)[:-1], "is 75 bytes long"),
    (idx(IMAGES) + b"0", "is 77 bytes long"),
  ],
)
def test_parse_idx_refuses(script, content, reason):
  with pytest.raises(InputError, match=f"^the-file .*{reason}"):
    script.parse_idx(content, (3, 4, 5), "the-file")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_read_idx(script, tmp_path, pack):
  path = tmp_path / "images"  # Whether it is gzipped is told by its content, not by its name.
  path.write_bytes(pack(idx(IMAGES)))
  np.testing.assert_array_equal(script.read_idx(path, (3, 4, 5)), IMAGES, strict=True)


@pytest.mark.parametrize(
  "damage",
  [lambda content: content[:-20], lambda content: content[:12] + b"damaged" + content[19:]],
)
def test_read_idx_refuses_damaged_gzip(script, tmp_path, damage):
  path = tmp_path / "images.gz"
  path.write_bytes(damage(gzip.compress(idx(IMAGES))))
  with pytest.raises(InputError, match="^cannot read .*images.gz"):
    script.read_idx(path, (3, 4, 5))


def test_read_source(script, idx_dir):
  source = script.read_source(script.find_idx(idx_dir))
  assert [a.shape for a in source[:4]] == [(60000, 784), (60000,), (10000, 784), (10000,)]
  assert [a.flat[0] for a in source[:4]] == [0, 1, 2, 3]
  assert source[4:] == (10, (28, 28, 1), "mnist")


def test_read_source_refuses_labels_beyond_nine(script, idx_dir):
  path = idx_dir / "t10k-labels-idx1-ubyte"
  path.write_bytes(idx(np.full(10000, 10, np.uint8)))
  with pytest.raises(InputError, match="holds the label 10"):
    script.read_source(script.find_idx(idx_dir))


def test_find_idx_names_what_is_missing(script, idx_dir, tmp_path):
  with pytest.raises(InputError, match="nowhere is not a directory"):
    script.find_idx(tmp_path / "nowhere")
  (idx_dir / "train-labels-idx1-ubyte.gz").unlink()
  with pytest.raises(InputError, match="neither train-labels-idx1-ubyte nor"):
    script.find_idx(idx_dir)


def test_differences_counts_images_with_their_labels(script):
  rng = np.random.default_rng(0)
  images, labels = rng.integers(0, 256, (9, 784), np.uint8), rng.integers(0, 10, 9, np.uint8)
  source = Dataset(images, labels, images[:3], labels[:3], 10, (28, 28, 1), "mnist")
  order = rng.permutation(9)
  shuffled = (images[order], labels[order], images[2::-1], labels[2::-1])
  assert script.differences(source, Dataset(*shuffled, *source[4:])) == 0
  wrong_label, wrong_image = labels.copy(), images.copy()
  wrong_label[4] ^= 1
  wrong_image[0, 100] ^= 1
  assert script.differences(source, source._replace(train_labels=wrong_label)) > 0
  assert script.differences(source, source._replace(test_images=wrong_image[:3])) > 0
  fewer = source._replace(train_images=images[:8], train_labels=labels[:8])
  assert script.differences(source, fewer) == 1


def test_install_replaces_and_restores(script, tmp_path):
  target = tmp_path / "mnist" / "3.0.1"
  for text in ("first", "second"):
    prepared = tmp_path / text
    prepared.mkdir()
    (prepared / "file").write_text(text)
    script.install(prepared, target)
    assert (target / "file").read_text() == text
  with pytest.raises(OSError):
    script.install(tmp_path / "missing", target)
  assert (target / "file").read_text() == "second"
  assert list(target.parent.iterdir()) == [target]


def test_needs_tensorflow(script, idx_dir, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  with pytest.raises(InputError, match="pip install tensorflow"):
    script.prepare(tmp_path / "out", idx_dir, overwrite=False)
  assert not (tmp_path / "out").exists()


def test_command_line_never_overwrites_unasked(tmp_path):
  (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
  done = subprocess.run(
    [sys.executable, str(SCRIPT), f"--data_dir={tmp_path}"],
    check=False,
    text=True,
    capture_output=True,
  )
  assert done.returncode == 1
  assert done.stdout == ""
  assert done.stderr == (
    f"prepare_mnist: {tmp_path}/mnist/3.0.1 exists already; pass --overwrite to replace it\n"
  )
