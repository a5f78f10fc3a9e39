"""What the metadata says: which features are meant, names and splits; and what cannot be, in one sentence each."""

import json

import numpy as np
import pytest
import tiny_tfds
from tiny_tfds import pictures

from qnn_jax.datasets import describe, open_split
from qnn_jax.errors import InputError

WRITTEN = {"train": pictures(23, 3), "validation": pictures(6, 3, seed=1)}


def features(**parts):
  """Replaces features.json's features by these."""

  def change(folder):
    content = json.loads((folder / "features.json").read_text())
    content["featuresDict"]["features"] = parts
    (folder / "features.json").write_text(json.dumps(content))

  return change


def info(**parts):
  def change(folder):
    content = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(content | parts))

  return change


def supervised(*keys):
  return info(supervisedKeys={"tuple": {"items": [{"featureKey": key} for key in keys]}})


IMAGE = {"image": {"dtype": "uint8", "shape": {"dimensions": ["8", "8", "3"]}}}
LABEL = {"classLabel": {"numClasses": "3"}}
OTHER = {"classLabel": {"numClasses": "5"}}
inner = lambda **parts: {"featuresDict": {"features": parts}}

FOUND = {
  "the only ones": ([features(x=IMAGE, y=LABEL, z={"text": {}})], "x", "y"),
  "by their names": (
    [features(image=IMAGE, mask=IMAGE, label=LABEL, fine=OTHER)],
    "image",
    "label",
  ),
  "supervised": ([features(a=IMAGE, b=IMAGE, y=OTHER, z=LABEL), supervised("b", "z")], "b", "z"),
  "as TFDS once wrote it": (
    [features(a=IMAGE, y=OTHER, z=LABEL), info(supervisedKeys={"input": "a", "output": "z"})],
    "a",
    "z",
  ),
  "within": ([features(image=IMAGE, objects=inner(kind=LABEL))], "image", "objects/kind"),
  "within the target": (
    [features(a=inner(b=IMAGE), y=inner(z=LABEL), v=OTHER), supervised("a", "y")],
    "a/b",
    "y/z",
  ),
}


@pytest.mark.parametrize("name", FOUND)
def test_which_features_are_meant(tmp_path, name, monkeypatch):
  changes, image, label = FOUND[name]
  monkeypatch.setattr(tiny_tfds, "IMAGE", image)
  monkeypatch.setattr(tiny_tfds, "LABEL", label)
  folder = tiny_tfds.write(tmp_path, "tiny", WRITTEN)
  for change in changes:
    change(folder)
  (folder / f"{label.replace('/', '-')}.labels.txt").write_text("ant\nbee\n\n cat \n")
  images = open_split("tiny", "train", tmp_path, cache_dir=tmp_path / "cache")
  assert images.class_names == ("ant", "bee", "cat")
  for found, written in zip(images.batch(np.arange(23)), WRITTEN["train"], strict=True):
    np.testing.assert_array_equal(found, written)


several = {"sequence": {"feature": LABEL}}
UNFIT = {
  "no label": ([features(image=IMAGE)], "has no feature with class labels, only image)"),
  "no features": ([features()], "has no feature with images, only nothing)"),
  "sequence": ([features(image=IMAGE, label=several)], "feature label is a sequence, not one class"),
  "sequence as target": (
    [features(image=IMAGE, kinds=several), supervised("image", "kinds")],
    "its feature kinds is a sequence, not one class label a record",
  ),
  "sequences": ([features(image={"sequence": {"feature": IMAGE}}, label=LABEL)], "is a sequence, n"),
  "video": ([features(image={"video": {}}, label=LABEL)], "feature image is a video, not one image"),
  "one class": ([features(image=IMAGE, label={"classLabel": {"numClasses": "1"}})], "only one class"),
  "several labels": ([features(image=IMAGE, a=LABEL, b=OTHER)], "several class labels, a and b, and"),
  "several images": ([features(a=IMAGE, b=IMAGE, label=LABEL)], "has several images, a and b, and"),
  "text": ([features(image=IMAGE, label={"text": {}})], "its feature label holds no class labels"),
  "no such target": ([supervised("image", "kind")], "it has no feature with class labels, only im"),
  "uint16": ([features(image={"image": {"dtype": "uint16"}}, label=LABEL)], "its images are uint16"),
  "channels": (
    [features(image={"image": {"shape": {"dimensions": ["8", "8", "2"]}}}, label=LABEL)],
    "its images have 2 channels, where grey has 1",
  ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path, name):
  changes, reason = UNFIT[name]
  folder = tiny_tfds.write(tmp_path, "tiny", WRITTEN)
  for change in changes:
    change(folder)
  for call in (describe, open_split):
    with pytest.raises(InputError) as caught:
      call("tiny", data_dir=tmp_path)
    message = str(caught.value)
    assert reason in message and f"{folder}" in message and "use a data set of uint8" in message
    assert "\n" not in message and ". " not in message


def test_names_that_do_not_fit(tmp_path):
  folder = tiny_tfds.write(tmp_path, "tiny", WRITTEN)
  (folder / "label.labels.txt").write_text("ant\nbee\n")
  with pytest.raises(InputError, match="label.labels.txt names 2 classes, where there are 3"):
    describe("tiny", tmp_path)


def test_describe(tmp_path):
  for name, splits, shape in (
    ("mnist", {"train": 60000, "test": 10000}, (28, 28, 1)),
    ("digits", {"train": 1437, "test": 360}, (8, 8, 1)),
  ):
    found = describe(name)
    assert (found.name, found.splits, found.shape, found.classes) == (name, splits, shape, 10)
    assert found.class_names == tuple("0123456789")
    assert found.folder.endswith(f"{name}/{found.version}")
  tiny_tfds.write(tmp_path, "tiny", WRITTEN, shards=3)
  assert describe("tiny", tmp_path).splits == {"train": 23, "validation": 6}
