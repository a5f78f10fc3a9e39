"""Reads the metadata of a prepared data set as plain JSON: its splits, images and class labels."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"  # TFDS's own, where none is told
_NAMES = "image", "label"  # what TFDS's sets call them: chosen where there are several
_KINDS = {"image": "image", "classLabel": "class label"}


class Damaged(Exception):
  """The metadata is not as TFDS writes it."""


class Unfit(Exception):
  """The metadata is sound, but the data set does not hold images with one class label each."""


@dataclasses.dataclass(frozen=True)
class Metadata:
  """The metadata of a data set.

  Attributes:
    files: the beginning of the names of the record files.
    shards: split -> the number of records in each of its files.
    templates: split -> TFDS's template for the names of its files.
    shape: (height, width, channels) of an image; None for a length that the metadata leaves open.
    class_names: a name for each class; its number if TFDS has written no names.
    image: the path of the image feature, with a / between a feature and one within it.
    label: the path of the label feature.
  """

  files: str = ""
  shards: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  templates: dict[str, str] = dataclasses.field(default_factory=dict)
  shape: tuple[int | None, ...] = ()
  class_names: tuple[str, ...] = ()
  image: str = _NAMES[0]
  label: str = _NAMES[1]

  @property
  def classes(self) -> int:
    """The number of classes."""
    return len(self.class_names)

  @property
  def sizes(self) -> dict[str, int]:
    """Split -> the number of its images."""
    return {split: sum(lengths) for split, lengths in self.shards.items()}


def read(folder: Path) -> Metadata:
  """Reads the metadata of one version of a data set.

  Args:
    folder: the folder of that version.

  Returns:
    The metadata.

  Raises:
    Damaged: a file is missing, or is not as TFDS writes it.
    Unfit: the data set has no images with one class label each.
  """
  info, features = (_json(folder, name) for name in ("dataset_info.json", "features.json"))
  try:
    if (form := info.get("fileFormat", "tfrecord")) != "array_record":  # as TFDS takes its absence
      raise Damaged(f"it is in the format {form}, not in array_record")
    shards = {
      split["name"]: tuple(map(int, split.get("shardLengths", ()))) for split in info["splits"]
    }
    templates = {
      split["name"]: split.get("filepathTemplate", _TEMPLATE) for split in info["splits"]
    }
    flat = dict(_flat(features))
    image, label = (
      _choose(flat, key, name, kind)
      for key, name, kind in zip(_supervised(info), _NAMES, _KINDS, strict=True)
    )
    shape = _shape(flat[image]["image"])
    classes = int(flat[label]["classLabel"].get("numClasses", 0))
    name = str(info["name"])
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise Damaged("its metadata is not as TFDS writes it") from error
  if classes < 1:
    raise Unfit("its metadata does not say how many classes there are")
  if classes == 1:
    raise Unfit("it has only one class, so there is nothing to classify")
  names = _class_names(folder, label, classes)
  return Metadata(name, shards, templates, shape, names, image, label)


def _json(folder: Path, name: str) -> dict[str, Any]:
  """One file of the metadata; without it TFDS would treat the data set as not prepared yet."""
  try:
    content = json.loads((folder / name).read_text("utf-8"))
  except FileNotFoundError:
    raise Damaged(f"it has no {name}") from None
  except (OSError, RecursionError, ValueError) as error:
    raise Damaged(f"its {name} cannot be read as JSON, {error}") from error
  if not isinstance(content, dict):
    raise Damaged(f"its {name} is not as TFDS writes it")
  return content


def _flat(feature: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
  """(path, feature) of every feature that is not a dictionary of features; records use these paths."""
  if not path or "featuresDict" in feature:
    for name, inner in feature["featuresDict"]["features"].items():
      yield from _flat(inner, f"{path}/{name}" if path else name)
  else:
    yield path, feature


def _supervised(info: dict[str, Any]) -> tuple[str | None, str | None]:
  """The features that are input and target, if the metadata names them."""
  keys = info.get("supervisedKeys", {})
  if "input" in keys:  # the form of older versions of TFDS
    return keys["input"], keys.get("output")
  items = keys.get("tuple", {}).get("items", ())
  if len(items) < 2:
    return None, None
  return items[0].get("featureKey"), items[1].get("featureKey")


def _choose(flat: dict[str, dict], key: str | None, name: str, kind: str) -> str:
  """The path of the feature of a kind: the one with that key, or within it, or the only one."""
  inside = {
    path: feature
    for path, feature in flat.items()
    if key is None or path == key or path.startswith(f"{key}/")
  }
  found = [path for path, feature in inside.items() if kind in feature]
  if len(found) == 1:
    return found[0]
  what = _KINDS[kind]
  if len(found) > 1:
    if name in found:
      return name
    several = "several class labels" if kind == "classLabel" else "several images"
    raise Unfit(
      f"it has {several}, {' and '.join(found)}, and its metadata does not say which is meant"
    )
  told = key or name
  if told not in inside:
    raise Unfit(f"it has no feature with {what}s, only {', '.join(flat) or 'nothing'}")
  for other, these in {"sequence": "a sequence", "video": "a video"}.items():
    if other in inside[told]:
      raise Unfit(f"its feature {told} is {these}, not one {what} a record")
  raise Unfit(f"its feature {told} holds no {what}s")


def _shape(image: dict[str, Any]) -> tuple[int | None, ...]:
  """(height, width, channels) of an image feature."""
  dtype = image.get("dtype", "uint8")
  dimensions = image.get("shape", {}).get("dimensions", (-1, -1, -1))
  shape = tuple(None if int(d) < 0 else int(d) for d in dimensions)
  if dtype != "uint8" or len(shape) != 3:
    raise Unfit(f"its images are {dtype} {list(shape)}")
  if shape[2] not in (None, 1, 3, 4):
    raise Unfit(f"its images have {shape[2]} channels, where grey has 1, RGB 3 and RGBA 4")
  return shape


def _class_names(folder: Path, label: str, classes: int) -> tuple[str, ...]:
  path = folder / f"{label.replace('/', '-')}.labels.txt"
  try:
    lines = path.read_text("utf-8").split("\n")
  except FileNotFoundError:
    return tuple(map(str, range(classes)))
  except (OSError, ValueError) as error:
    raise Damaged(f"its {path.name} cannot be read, {error}") from error
  names = tuple(line.strip() for line in lines if line.strip())
  if len(names) != classes:
    raise Damaged(f"its {path.name} names {len(names)} classes, where there are {classes}")
  return names
