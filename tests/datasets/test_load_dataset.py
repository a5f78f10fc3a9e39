"""Data sets other than MNIST: small ones, written as TFDS writes them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_tfds
from tiny_tfds import SHAPE, pictures

from qnn_jax.datasets import Dataset, _source, load_dataset
from qnn_jax.errors import InputError, MissingExtra

LOAD = "import sys; from qnn_jax.datasets import load_dataset; "
LOAD += "print(load_dataset('tiny', sys.argv[1], sys.argv[2]).test_labels.sum())"


def splits(classes=3, shape=SHAPE):
  return {
    "train": pictures(7, classes, shape),
    "test": pictures(5, classes, shape, seed=1),
    "extra": pictures(2, classes, shape, seed=2),
  }


@pytest.fixture
def no_decoding(monkeypatch):
  """A function after whose call nothing may be decoded."""

  def make(source):
    raise AssertionError(f"{source._split} is decoded, where the cache has it")

  return lambda: monkeypatch.setattr(_source.Source, "_make", make)


def assert_holds(dataset, written, classes, shape, name="tiny"):
  assert isinstance(dataset, Dataset)
  assert dataset[4:] == (classes, shape, name)
  dtype = np.uint8 if classes <= 256 else np.int32
  for i, split in enumerate(("train", "test")):
    found, labels = dataset[2 * i : 2 * i + 2]
    pixels, expected = written[split]
    np.testing.assert_array_equal(found, pixels.reshape(len(pixels), -1), strict=True)
    np.testing.assert_array_equal(labels, expected.astype(dtype), strict=True)
    assert labels.flags.aligned and labels.flags.writeable and found.flags.writeable


@pytest.mark.parametrize(
  "classes, shape",
  [(3, SHAPE), (256, SHAPE), (257, (5, 3, 1)), (1000, (1, 9, 3)), (3, (4, 4, 4))],
  ids=str,
)
@pytest.mark.parametrize("known", [True, False], ids=["known shape", "any shape"])
def test_decoded_and_from_the_cache(tmp_path, no_decoding, classes, shape, known):
  written = splits(classes, shape)
  written["train"][1][:] = classes - 1
  dimensions = shape if known else (-1, -1, shape[2])
  tiny_tfds.write(tmp_path, "tiny", written, classes=classes, dimensions=dimensions)
  first = load_dataset("tiny", tmp_path, tmp_path / "cache")
  assert_holds(first, written, classes, shape)
  no_decoding()
  assert_holds(load_dataset("tiny", tmp_path, tmp_path / "cache"), written, classes, shape)


def test_jpeg(tmp_path):
  grey = {name: (pixels // 255 * 0 + 77, y) for name, (pixels, y) in splits().items()}
  tiny_tfds.write(tmp_path, "tiny", grey, form="JPEG")
  assert_holds(load_dataset("tiny", tmp_path, tmp_path / "cache"), grey, 3, SHAPE)


def test_the_newest_version_is_loaded(tmp_path):
  for number in ("1.9.0", "1.10.0", "1.2.30"):
    written = splits(classes=int(number.split(".")[1]))
    tiny_tfds.write(tmp_path, "tiny", written, number, classes=int(number.split(".")[1]))
  assert load_dataset("tiny", tmp_path, tmp_path / "cache").classes == 10
  (tmp_path / "tiny" / "2.0.0").touch()  # no folder
  (tmp_path / "tiny" / "2.0.0.incompleteXYZ").mkdir()
  assert load_dataset("tiny", tmp_path, tmp_path / "cache").classes == 10


def test_configurations(tmp_path):
  for config, classes in (("small-1.5", 3), ("large", 5)):
    tiny_tfds.write(tmp_path, f"tiny/{config}", splits(classes), classes=classes)
    name = f"tiny/{config}"
    loaded = load_dataset(name, tmp_path, tmp_path / "cache")
    assert_holds(loaded, splits(classes), classes, SHAPE, name)
  assert {path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache").iterdir()} == {
    f"tiny-{config}-{split}" for config in ("small-1.5", "large") for split in ("train", "test")
  }
  with pytest.raises(InputError, match="no data set tiny, only tiny/large, tiny/small-1.5; "):
    load_dataset("tiny", tmp_path)


def test_a_hit_imports_nothing_that_decodes(tmp_path):
  tiny_tfds.write(tmp_path, "tiny", splits())
  load_dataset("tiny", tmp_path, tmp_path / "cache")
  names = ("tensorflow_datasets", "array_record", "PIL")
  block = f"import sys; sys.modules.update(dict.fromkeys({names}))\n"
  done = subprocess.run(
    [sys.executable, "-c", block + LOAD, str(tmp_path), str(tmp_path / "cache")],
    check=True,
    capture_output=True,
    text=True,
  )
  assert done.stdout == f"{splits()['test'][1].sum()}\n"


def test_what_decodes_is_an_extra(tmp_path, monkeypatch):
  tiny_tfds.write(tmp_path, "tiny", splits())
  monkeypatch.setitem(sys.modules, "array_record", None)
  told = r"^decoding tiny needs array_record: pip install 'qnn_jax\[experiments\]'$"
  with pytest.raises(MissingExtra, match=told):
    load_dataset("tiny", tmp_path, tmp_path / "cache")


# ---- Bad input.


def change(name, edit):
  """A damage: `edit` changes what the JSON file `name` holds, in place."""

  def damage(folder):
    content = json.loads((folder / name).read_text())
    edit(content)
    (folder / name).write_text(json.dumps(content))

  return damage


def info(edit):
  return change("dataset_info.json", edit)


def features(edit):
  return change("features.json", lambda content: edit(content["featuresDict"]["features"]))


def rename(features, old, new):
  features[new] = features.pop(old)


UNFIT = {
  "no train split": (info(lambda x: x["splits"].pop(0)), "no train split, only test, extra"),
  "no test split": (info(lambda x: x["splits"].pop(1)), "no test split, only train, extra"),
  "no split": (info(lambda x: x["splits"].clear()), "no train split, only nothing"),
  "empty split": (info(lambda x: x["splits"][1].pop("shardLengths")), "no test split"),
  "no image": (features(lambda x: x.pop("image")), "no feature with images, only label, file_name"),
  "no label": (features(lambda x: x.pop("label")), "no feature with class labels, only image,"),
  "text": (features(lambda x: x.update(image={"text": {}})), "feature image holds no images"),
  "number": (features(lambda x: x.update(label={"tensor": {}})), "label holds no class labels"),
  "classes": (features(lambda x: x["label"]["classLabel"].clear()), "how many classes"),
  "float": (features(lambda x: x["image"]["image"].update(dtype="float32")), "images are float32"),
  "other size": (
    features(lambda x: x["image"]["image"].update(shape={"dimensions": ["9", "8", "3"]})),
    "its test image 0 has the shape (8, 8, 3) and not (9, 8, 3)",
  ),
  "label beyond": (
    features(lambda x: x["label"]["classLabel"].update(numClasses="2")),
    "has the label 2, outside its 2 classes",
  ),
}

DAMAGED = {
  "tfrecord": (info(lambda x: x.update(fileFormat="tfrecord")), "format tfrecord, not in array_"),
  "no format": (info(lambda x: x.pop("fileFormat")), "format tfrecord, not in array_record"),
  "fewer": (info(lambda x: x["splits"][1].update(shardLengths=["4"])), "has 5 images, but its"),
  "more": (info(lambda x: x["splits"][1].update(shardLengths=["6"])), "has 5 images, but its"),
  "sizes": (info(lambda x: x["splits"][1].update(shardLengths=["x"])), "not as TFDS writes it"),
  "other image": (features(lambda x: rename(x, "image", "x")), "test split has no x, or several"),
  "other label": (features(lambda x: rename(x, "label", "x")), "test split has no x, or several"),
  "list": (lambda folder: (folder / "features.json").write_text("[]"), "not as TFDS writes it"),
  "features": (lambda folder: (folder / "features.json").unlink(), "has no features.json"),
  "info": (lambda folder: (folder / "dataset_info.json").unlink(), "has no dataset_info.json"),
  "bytes": (lambda folder: (folder / "features.json").write_bytes(b"\xff"), "read as JSON"),
  "folder": (
    lambda folder: [(folder / "features.json").unlink(), (folder / "features.json").mkdir()],
    "read as JSON",
  ),
}


@pytest.mark.parametrize("name", [*UNFIT, *DAMAGED])
def test_what_cannot_be_loaded_is_told_in_a_sentence(tmp_path, name):
  damage, reason = (UNFIT | DAMAGED)[name]
  written = splits()
  for _, labels in written.values():
    labels[:] = 2
  damage(tiny_tfds.write(tmp_path, "tiny", written))
  with pytest.raises(InputError) as caught:
    load_dataset("tiny", tmp_path, tmp_path / "cache")
  message = str(caught.value)
  assert str(tmp_path / "tiny" / "1.0.0") in message and reason in message
  assert "\n" not in message and ". " not in message
  if name in UNFIT:
    assert "use a data set of uint8 images in grey, RGB or RGBA" in message
  else:
    command = "`python scripts/prepare.py tiny --data_dir="
    assert command in message and "--overwrite" in message
  assert not list((tmp_path / "cache").glob("*"))


def test_images_of_unequal_sizes(tmp_path):
  written = splits()
  pixels, labels = written["test"]
  written["test"] = ([*pixels[:4], pixels[4][:5]], labels)
  tiny_tfds.write(tmp_path, "tiny", written, dimensions=(-1, -1, 3))
  told = r"its test image 4 has the shape \(5, 8, 3\) and not \(8, 8, 3\)\); use a data set of .* or give a resize, .*$"
  with pytest.raises(InputError, match=told):
    load_dataset("tiny", tmp_path, tmp_path / "cache")


def test_splits_of_unequal_sizes(tmp_path):
  written = splits()
  written["train"] = pictures(7, 3, (8, 9, 3))
  tiny_tfds.write(tmp_path, "tiny", written, dimensions=(-1, -1, 3))
  with pytest.raises(
    InputError, match=r"its train images have the shape \(8, 9, 3\), not \(8, 8, 3\)"
  ):
    load_dataset("tiny", tmp_path, tmp_path / "cache")


def test_no_such_data_set(tmp_path):
  with pytest.raises(InputError, match="holds no data set cifar, nor any other; name a TFDS"):
    load_dataset("cifar", tmp_path)
  tiny_tfds.write(tmp_path, "tiny", splits())
  tiny_tfds.write(tmp_path, "wide/x", splits())
  (tmp_path / "downloads" / "extracted").mkdir(parents=True)
  with pytest.raises(InputError, match="no data set cifar, only tiny, wide/x; .*prepare.py cif"):
    load_dataset("cifar", tmp_path)
  with pytest.raises(InputError, match="holds no data set cifar, only digits, mnist"):
    load_dataset("cifar")


@pytest.mark.parametrize("name", ["", "..", "tiny/..", "/tiny", "tiny/", "a/b/c", "a\0", 3, None])
def test_names_that_are_none(tmp_path, name):
  (tmp_path / "1.0.0").mkdir()
  with pytest.raises(InputError, match="^name must be the NAME or NAME/CONFIG of a TFDS data set"):
    load_dataset(name, tmp_path)


def test_paths_that_are_none(tmp_path):
  with pytest.raises(InputError, match="^data_dir must be a path, got 3$"):
    load_dataset("tiny", 3)
  with pytest.raises(InputError, match="^cache_dir must be a path, got 3$"):
    load_dataset("mnist", cache_dir=3)
