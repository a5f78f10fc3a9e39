"""Small TFDS directories in array_record format, written by hand: TFDS itself needs TensorFlow for it."""

import io
import json

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

FEATURES = "tensorflow_datasets.core.features."
SHAPE = (8, 8, 3)
IMAGE, LABEL = "image", "label"  # the features' paths in a record


def pictures(size, classes, shape=SHAPE, seed=0):
  """(images uint8 [size, *shape], labels [size]), every value drawn."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (size, *shape), np.uint8), rng.integers(0, classes, size)


def write(
  data_dir, name, splits, version="1.0.0", classes=3, dimensions=SHAPE, form="PNG", shards=1
):
  """Writes one version of a data set and returns its folder.

  Args:
    data_dir: the TFDS directory.
    name: NAME or NAME/CONFIG.
    splits: split -> (images, labels).
    version: its number.
    classes: how many, as the metadata says.
    dimensions: of a picture, likewise; -1 for any.
    form: of the encoded images, PNG or JPEG.
    shards: into how many files a split is divided; the last may be smaller.
  """
  folder = data_dir / name / version
  folder.mkdir(parents=True)
  name, _, config = name.partition("/")
  infos = []
  for split, (images, labels) in splits.items():
    size = -(-len(images) // shards)
    lengths = [len(images[i * size : (i + 1) * size]) for i in range(shards)]
    for shard in range(shards):
      path = folder / f"{name}-{split}.array_record-{shard:05}-of-{shards:05}"
      writer = ArrayRecordWriter(str(path), "group_size:1")
      part = slice(shard * size, (shard + 1) * size)
      for image, label in zip(images[part], labels[part], strict=True):
        writer.write(example(image, int(label), form))
      writer.close()
    infos.append(
      {
        "name": split,
        "shardLengths": [str(length) for length in lengths],
        "numBytes": "1",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
      }
    )
  info = {"name": name, "version": version, "fileFormat": "array_record", "splits": infos}
  if config:
    info["configName"] = config
  (folder / "dataset_info.json").write_text(json.dumps(info))
  (folder / "features.json").write_text(json.dumps(features(classes, dimensions)))
  return folder


def features(classes, dimensions):
  """What TFDS writes as features.json."""
  return {
    "pythonClassName": f"{FEATURES}features_dict.FeaturesDict",
    "featuresDict": {
      "features": {
        "image": {
          "pythonClassName": f"{FEATURES}image_feature.Image",
          "image": {"dtype": "uint8", "shape": {"dimensions": [str(d) for d in dimensions]}},
        },
        "label": {
          "pythonClassName": f"{FEATURES}class_label_feature.ClassLabel",
          "classLabel": {"numClasses": str(classes)},
        },
        "file_name": {"pythonClassName": f"{FEATURES}text_feature.Text", "text": {}},
      }
    },
  }


def example(image, label, form="PNG"):
  """One record: a serialized tf.train.Example."""
  record = tf_example_pb2.Example()
  feature = record.features.feature
  feature[IMAGE].bytes_list.value.append(encode(image, form))
  feature[LABEL].int64_list.value.append(label)
  feature["file_name"].bytes_list.value.append(b"any")
  return record.SerializeToString()


def encode(image, form):
  """An image file's bytes."""
  stream = io.BytesIO()
  Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(stream, form)
  return stream.getvalue()
