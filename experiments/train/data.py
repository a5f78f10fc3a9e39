"""The splits that a run uses, and error messages for data that it cannot use."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.train.batches import Batches, choose
from qnn_jax.datasets import Images, open_split
from qnn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Data:
  """The data for training and testing a run.

  Attributes:
    batches: the training batches, by step.
    validation: the validation split; None if the config names none.
    test: the split on which the result is measured.
  """

  batches: Batches
  validation: Images | None
  test: Images

  @property
  def watched(self) -> Images:
    """The split that is tested during training."""
    return self.test if self.validation is None else self.validation


def split_of(values: Mapping[str, Any], name: str) -> Images:
  """The split that the field `name` names; InputError if it is not there."""
  data_dir, resize = values["data_dir"] or None, tuple(values["resize"]) or None
  return open_split(values["dataset"], values[name], data_dir, resize=resize)


def data_of(values: Mapping[str, Any], seed: int) -> Data:
  """The data of a run.

  Raises:
    InputError: a split is missing or unsuitable, or has fewer images than the config asks for.
  """
  train, test = split_of(values, "train_split"), split_of(values, "test_split")
  validation = split_of(values, "validation_split") if values["validation_split"] else None
  for field, other in (("test_split", test), ("validation_split", validation)):
    if other is None:
      continue
    if shared := other.shared(train):
      raise InputError(
        f"{field} is {other.split}, and {shared:,} of its {len(other):,} images are in train_split, "
        f"{train.split}, too: name splits that share none, such as train[:90%] and train[90%:]"
      )
    if other.shape != train.shape:
      raise InputError(
        f"images of {train.name} are {train.shape} in the split {train.split} and {other.shape} in "
        f"{other.split}; bring them to one size with --config.resize='(height, width)'"
      )
  size = values["train_size"] or len(train)
  if size > len(train):
    raise InputError(
      f"train_size is {size:,}, but the split {train.split} of {train.name} has {len(train):,} images"
    )
  if size < values["batch_size"]:
    raise InputError(
      f"batch_size is {values['batch_size']}, more than the {size:,} images of the training"
    )
  chosen = choose(values["train_size"], len(train), seed)
  return Data(
    Batches(train, chosen, seed, values["batch_size"], values["epochs"]), validation, test
  )


def in_order(images: Images, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """All images of a split in batches of at most this size."""
  for begin in range(0, len(images), size):
    yield images.batch(np.arange(begin, min(begin + size, len(images))))
