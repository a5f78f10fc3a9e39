"""Parts of a data set, image by image: small ones, written as TFDS writes them."""

import pickle
import shutil

import numpy as np
import pytest
import tiny_tfds
from PIL import Image
from tiny_tfds import SHAPE, pictures

from qnn_jax.datasets import _cache, _source, _tfds, describe, load_dataset, open_split
from qnn_jax.errors import InputError

WRITTEN = {"train": pictures(23, 3), "validation": pictures(6, 3, seed=1)}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  tiny_tfds.write(folder, "tiny", WRITTEN, shards=3)
  return folder


@pytest.fixture(params=["cached", "on demand", "unwritable"])
def way(request, monkeypatch, tmp_path):
  """A cache directory, with which images come from the cache, or from their records."""
  cache_dir = tmp_path / request.param
  if request.param == "on demand":
    monkeypatch.setattr(_source, "CACHED_BYTES", 100)
  elif request.param == "unwritable":
    cache_dir.touch()
  return cache_dir


def assert_holds(images, pixels, labels):
  rng = np.random.default_rng(0)
  order = rng.permutation(len(labels))
  found, numbers = images.batch(order)
  assert len(images) == len(labels)
  np.testing.assert_array_equal(found, pixels[order], strict=True)
  np.testing.assert_array_equal(numbers, labels[order].astype(np.int32), strict=True)
  np.testing.assert_array_equal(images.labels(), labels.astype(np.int32), strict=True)
  found[:], numbers[:] = 0, 0  # The caller's own.
  np.testing.assert_array_equal(images.batch([0, 0])[0], pixels[[0, 0]], strict=True)


def test_every_way_gives_the_same(data_dir, way):
  pixels, labels = WRITTEN["train"]
  others, numbers = WRITTEN["validation"]
  both = np.concatenate([pixels, others]), np.concatenate([labels, numbers])
  for split, wanted in {
    "train": (pixels, labels),
    "train[5:20]": (pixels[5:20], labels[5:20]),
    "validation": (others, numbers),
    "train+validation": both,
    "all": both,
    "validation[4:]+train[:3]": (
      np.concatenate([others[4:], pixels[:3]]),
      np.concatenate([numbers[4:], labels[:3]]),
    ),
  }.items():
    images = open_split("tiny", split, data_dir, cache_dir=way)
    assert (images.name, images.split, images.shape) == ("tiny", split, SHAPE)
    assert (images.classes, images.class_names) == (3, ("0", "1", "2"))
    assert_holds(images, *wanted)
    assert_holds(pickle.loads(pickle.dumps(images)), *wanted)
  assert way.is_dir() == (way.name == "cached")


def test_a_part_reads_no_more_than_its_blocks(data_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(_cache, "_BLOCK", 4 * np.prod(SHAPE))
  pixels, labels = WRITTEN["train"]
  open_split("tiny", "train", data_dir, cache_dir=tmp_path)
  (path,) = tmp_path.iterdir()
  sound = path.read_bytes()
  content = bytearray(sound)
  content[-1000 - 23 * 4] ^= 1  # Of one of the last images.
  path.write_bytes(content)
  images = open_split("tiny", "train[:16]", data_dir, cache_dir=tmp_path)
  assert_holds(images, pixels[:16], labels[:16])
  assert path.read_bytes() == content  # Nobody has looked there.
  assert_holds(open_split("tiny", "train", data_dir, cache_dir=tmp_path), pixels, labels)
  assert path.read_bytes() == sound


def test_a_copy_outlives_its_cache(data_dir, tmp_path):
  images = open_split("tiny", "train", data_dir, cache_dir=tmp_path / "cache")
  copy = pickle.dumps(images)
  shutil.rmtree(tmp_path / "cache")
  assert_holds(pickle.loads(copy), *WRITTEN["train"])


def test_no_image_is_decoded_for_labels(data_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(_source, "CACHED_BYTES", 100)
  images = open_split("tiny", "train", data_dir, cache_dir=tmp_path)
  monkeypatch.delattr(_tfds.Records, "_image")
  np.testing.assert_array_equal(images.labels(), WRITTEN["train"][1])


def test_load_dataset_shares_the_cache(tmp_path, monkeypatch):
  written = {"train": pictures(7, 3), "test": pictures(5, 3)}
  tiny_tfds.write(tmp_path, "tiny", written)
  load_dataset("tiny", tmp_path, tmp_path / "cache")
  monkeypatch.delattr(_source.Source, "_make")
  assert_holds(open_split("tiny", "test", tmp_path, cache_dir=tmp_path / "cache"), *written["test"])


# ---- Sizes and colours.


def of_sizes(tmp_path, *shapes, dimensions=(-1, -1, 3)):
  """A set of images of these shapes; the images."""
  rng = np.random.default_rng(0)
  images = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
  split = images, np.arange(len(images)) % 3
  tiny_tfds.write(tmp_path, "tiny", {"train": split}, dimensions=dimensions)
  return images


def test_resized(tmp_path, way):
  written = of_sizes(tmp_path, (9, 7, 3), (20, 4, 3), (6, 5, 3))
  images = open_split("tiny", "train", tmp_path, resize=(6, 5), cache_dir=way)
  assert images.shape == (6, 5, 3)
  # Pillow takes the width first.
  wanted = [np.asarray(Image.fromarray(each).resize((5, 6), Image.BILINEAR)) for each in written]
  assert_holds(images, np.stack(wanted), np.arange(3))
  np.testing.assert_array_equal(images.batch([2])[0][0], written[2])  # It had the size already.


def test_every_size_has_a_cache_of_its_own(tmp_path):
  of_sizes(tmp_path, (9, 7, 3), (20, 4, 3))
  for size in ((4, 4), (4, 5)):
    images = open_split("tiny", "train", tmp_path, resize=size, cache_dir=tmp_path / "cache")
    assert images.batch([0, 1])[0].shape == (2, *size, 3)
  assert len(list((tmp_path / "cache").iterdir())) == 2


def test_without_resize_one_sentence(tmp_path, way):
  of_sizes(tmp_path, (9, 7, 3), (9, 7, 3), (20, 4, 3))
  told = r"its train image 2 has the shape \(20, 4, 3\) and not \(9, 7, 3\)\); use .* give a resize, such as .*$"
  with pytest.raises(InputError, match=told):
    open_split("tiny", "train", tmp_path, cache_dir=way).batch(np.arange(3))


@pytest.mark.parametrize(
  "channels, told", [(1, 1), (3, 3), (4, 4), (1, -1), (3, -1), (4, -1)], ids=str
)
def test_grey_and_colours(tmp_path, channels, told):
  (written,) = of_sizes(tmp_path, (5, 4, channels), dimensions=(-1, -1, told))
  images = open_split("tiny", "train", tmp_path, cache_dir=tmp_path / "cache")
  np.testing.assert_array_equal(images.batch([0])[0][0], written, strict=True)


def test_stored_in_other_colours_than_told(tmp_path):
  """As TFDS does it: grey in a set of RGB has three equal channels, RGBA loses its last."""
  grey, transparent = of_sizes(tmp_path, (5, 4, 1), (5, 4, 4))
  images = open_split("tiny", "train", tmp_path, cache_dir=tmp_path / "cache").batch([0, 1])[0]
  np.testing.assert_array_equal(images[0], np.repeat(grey, 3, axis=2))
  np.testing.assert_array_equal(images[1], transparent[..., :3])


def test_an_open_shape_is_described_so(tmp_path):
  of_sizes(tmp_path, (9, 7, 3), (20, 4, 3))
  assert describe("tiny", tmp_path).shape == (None, None, 3)


# ---- Damage.


def test_truncated_files(tmp_path, way):
  folder = tiny_tfds.write(tmp_path, "tiny", WRITTEN, shards=3)
  path = folder / "tiny-train.array_record-00001-of-00003"
  path.write_bytes(path.read_bytes()[:70_000])
  with pytest.raises(
    InputError, match="^cannot read tiny from .*prepare.py tiny .*--overwrite` mak"
  ):
    open_split("tiny", "train", tmp_path, cache_dir=way).batch(np.arange(23))


def test_an_image_that_cannot_be_decoded(tmp_path, way, monkeypatch):
  monkeypatch.setattr(tiny_tfds, "encode", lambda image, form: b"no image")
  tiny_tfds.write(tmp_path, "tiny", WRITTEN)
  with pytest.raises(InputError, match="^cannot read tiny from .*cannot identify image file"):
    open_split("tiny", "train", tmp_path, cache_dir=way).batch([0])


@pytest.mark.parametrize("indices", [[-1], [23], [0, 99]], ids=str)
def test_indices_beyond(data_dir, tmp_path, indices):
  images = open_split("tiny", "train", data_dir, cache_dir=tmp_path)
  with pytest.raises(InputError, match=f"must be from 0 to 22, got {indices[-1]}$"):
    images.batch(indices)


@pytest.mark.parametrize("indices", [[0.5], [[1]], 3, ["a"], [True]], ids=str)
def test_indices_that_are_none(data_dir, tmp_path, indices):
  images = open_split("tiny", "train", data_dir, cache_dir=tmp_path)
  with pytest.raises(InputError, match="^indices must be a list of integers, got "):
    images.batch(indices)


def test_no_indices(data_dir, way):
  images = open_split("tiny", "train", data_dir, cache_dir=way)
  pixels, labels = images.batch([])
  assert pixels.shape == (0, *SHAPE) and labels.shape == (0,)


@pytest.mark.parametrize("resize", [8, (8,), (8, 0), (8, 8.0), "88", (8, True), [8, 8, 3]], ids=str)
def test_resize_that_is_none(data_dir, resize):
  with pytest.raises(
    InputError, match=r"^resize must be None or \(height, width\) in pixels, got "
  ):
    open_split("tiny", "train", data_dir, resize=resize)
