"""prepare.py from folders of images, and scikit-learn's digits."""

import importlib
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from qnn_jax.datasets import load_dataset, open_split
from qnn_jax.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def script():
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "scripts"))
    yield importlib.import_module("prepare")


# ---- Folders of images.


def write_folder(folder, counts, form="png", shape=(6, 5, 3)):
  """Class -> so many images, all different; the arrays by class."""
  written = {}
  for name, count in counts.items():
    (folder / name).mkdir(parents=True)
    written[name] = RNG.integers(0, 256, (count, *shape), np.uint8)
    for i, pixels in enumerate(written[name]):
      Image.fromarray(pixels.squeeze()).save(folder / name / f"{i:03}.{form}")
  return written


def test_a_folder_of_images(script, tmp_path):
  written = write_folder(tmp_path / "pets", {"dog": 20, "cat": 10})
  (tmp_path / "pets" / "dog" / "notes.txt").touch()
  (tmp_path / "pets" / ".hidden").mkdir()
  made = script.prepare("pets", tmp_path / "out", image_dir=tmp_path / "pets")
  assert (made.splits, made.shape) == ({"train": 24, "test": 6}, (6, 5, 3))
  assert made.class_names == ("cat", "dog")
  found = {}
  for split, counts in (("train", [8, 16]), ("test", [2, 4])):
    images = open_split("pets", split, tmp_path / "out", cache_dir=tmp_path / "cache")
    assert np.bincount(images.labels()).tolist() == counts
    for pixels, label in zip(*images.batch(np.arange(len(images))), strict=True):
      found[pixels.tobytes()] = made.class_names[label]
  wanted = {pixels.tobytes(): name for name, all in written.items() for pixels in all}
  assert found == wanted


def test_a_folder_with_splits_and_images_of_any_size(script, tmp_path):
  written = write_folder(tmp_path / "pets" / "train", {"a": 2, "b": 3}, "JPG", (9, 8, 1))
  write_folder(tmp_path / "pets" / "validation", {"b": 4}, "bmp", (5, 8, 3))
  made = script.prepare("pets", tmp_path / "out", image_dir=tmp_path / "pets")
  assert (made.splits, made.shape) == ({"train": 5, "validation": 4}, (None, 8, 3))
  images = open_split("pets", "train", tmp_path / "out", cache_dir=tmp_path / "cache")
  assert (len(written), images.shape) == (2, (9, 8, 3))
  images = open_split("pets", "all", tmp_path / "out", resize=(4, 4), cache_dir=tmp_path / "cache")
  assert images.batch(np.arange(9))[0].shape == (9, 4, 4, 3)
  assert sorted(images.labels().tolist()) == [0] * 2 + [1] * 7


@pytest.mark.parametrize(
  "spoil, reason",
  [
    (shutil.rmtree, "is not a directory; name a folder with a sub-folder a class"),
    (
      lambda folder: (folder / "b").rename(folder / "x\ny"),
      r"has a folder 'x\\ny': a class's name must be",
    ),
    (lambda folder: shutil.rmtree(folder / "b"), "holds images of 1 class; it needs two"),
    (lambda folder: (folder / "a" / "x.png").write_bytes(b"no"), "cannot read the image .*x.png"),
    (
      lambda folder: (folder / "a" / "x.png").write_bytes(
        (folder / "a" / "000.png").read_bytes()[:60]
      ),
      "cannot read the image .*x.png",
    ),
    (
      lambda folder: Image.fromarray(np.ones((6, 5), np.uint16)).save(folder / "a" / "x.png"),
      "x.png has more than 8 bits a channel",
    ),
  ],
  ids=["none", "newline", "one class", "no image", "truncated", "16 bits"],
)
def test_folders_of_images_that_are_none(script, tmp_path, spoil, reason):
  write_folder(tmp_path / "pets", {"a": 2, "b": 2})
  spoil(tmp_path / "pets")
  with pytest.raises(InputError, match=reason):
    script.prepare("pets", tmp_path / "out", image_dir=tmp_path / "pets")
  assert not (tmp_path / "out").exists()


# ---- Digits.


def test_the_checkout_has_digits_as_the_script_makes_them(script, tmp_path):
  script.prepare("digits", tmp_path)
  ours = load_dataset("digits", cache_dir=tmp_path / "cache")
  made = load_dataset("digits", tmp_path, tmp_path / "cache")
  for a, b in zip(ours[:4], made[:4], strict=True):
    np.testing.assert_array_equal(a, b)
  assert ours[4:] == made[4:] == (10, (8, 8, 1), "digits")


def test_digits_are_those_of_scikit_learn(tmp_path):
  data = load_dataset("digits", cache_dir=tmp_path)
  assert (data.train_images.shape, data.test_images.shape) == ((1437, 64), (360, 64))
  theirs = load_digits()
  pairs = lambda images, labels: sorted((*map(int, x), int(y)) for x, y in zip(images, labels))
  both = np.concatenate([data.train_images, data.test_images]) / 255 * 16
  labels = np.concatenate([data.train_labels, data.test_labels])
  assert pairs(np.rint(both), labels) == pairs(theirs.data, theirs.target)
  assert np.abs(both - np.rint(both)).max() < 16 / 255 / 2 + 1e-9
  shares = np.bincount(data.test_labels) / np.bincount(labels)
  assert np.abs(shares - 360 / 1797).max() < 0.004  # in proportion
