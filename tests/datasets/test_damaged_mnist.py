"""MNIST directories that are missing or damaged: told in one sentence, before anything is cached."""

import os

import pytest

from qnn_jax.datasets import _prepared, load_dataset
from qnn_jax.errors import InputError

TEST_RECORDS = "mnist-test.array_record-00000-of-00001"


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
  "other JSON": (lambda folder: (folder / "dataset_info.json").write_text('{"name": 3}'), "TFDS"),
  "fewer images": (
    replace('"10000"', '"9000"'),
    "test split has 10000 images, but its metadata says 9000",
  ),
  "more images": (
    replace('"10000"', '"10001"'),
    "test split has 10000 images, but its metadata says 10001",
  ),
  "another format": (replace('"array_record"', '"tfrecord"'), "tfrecord"),
  "no metadata": (lambda folder: (folder / "dataset_info.json").unlink(), "no dataset_info.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_directory(data_dir, tmp_path, name, capfd):
  damage, reason = DAMAGES[name]
  damage(data_dir / "mnist" / "3.0.1")
  with pytest.raises(InputError) as caught:
    load_dataset("mnist", data_dir, cache_dir=tmp_path / "cache")
  message = str(caught.value)
  assert str(data_dir) in message and reason in message
  assert "scripts/prepare.py mnist " in message and "--overwrite" in message
  assert "\n" not in message and ". " not in message  # One sentence.
  assert not list((tmp_path / "cache").glob("*"))
  assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
  "name, reason",
  [
    ("missing", "is not a directory"),
    ("file", "is not a directory"),
    ("empty", "holds no data set mnist, nor any other"),
    ("other", "holds no data set mnist, nor any other"),
  ],
)
def test_no_mnist_there(tmp_path, name, reason):
  (tmp_path / "file").touch()
  (tmp_path / "empty").mkdir()
  (tmp_path / "other" / "mnist").mkdir(parents=True)
  (tmp_path / "other" / "mnist" / "3.0.1").touch()
  with pytest.raises(InputError) as caught:
    load_dataset("mnist", tmp_path / name, cache_dir=tmp_path)
  message = str(caught.value)
  assert str(tmp_path / name) in message and reason in message
  assert "leave data_dir out" in message and "scripts/prepare.py mnist" in message


def test_no_checkout(tmp_path, monkeypatch):
  """As installed from a wheel: no data, and no script to prepare it with."""
  monkeypatch.setattr(_prepared, "DEFAULT_DATA_DIR", tmp_path / "data" / "tfds")
  monkeypatch.setattr(_prepared, "_ROOT", tmp_path)
  with pytest.raises(InputError) as caught:
    load_dataset(cache_dir=tmp_path)
  assert str(caught.value) == (
    "no data_dir is given, and the package is not in a checkout with data/tfds; name a TFDS directory "
    "with mnist in array_record format, such as `tfds build mnist --file_format=array_record "
    "--data_dir=DIR` makes"
  )
  assert list(tmp_path.iterdir()) == []


def test_a_checkout_without_its_data(tmp_path, monkeypatch):
  monkeypatch.setattr(_prepared, "DEFAULT_DATA_DIR", tmp_path / "gone")
  with pytest.raises(InputError, match="`python scripts/prepare.py mnist --data_dir=DIR` makes$"):
    load_dataset(cache_dir=tmp_path)
