"""What the groups of one process share: data on its devices, compiled programs, and initial parameters."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.table4.groups import OF_A_LANE
from qnn_jax.datasets import load_dataset
from qnn_jax.sweeps.points import Point
from qnn_jax.training import per_sample, sharded
from qnn_jax.training._trainer import Trainer
from qnn_jax.training.constant import Constant, constant_inputs
from qnn_jax.training.fleet import Fleet, Lane, Net, Params, init, rates, sample_order
from qnn_jax.training.per_sample import Chunk

Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Program:
  """The program for some nets and for the fields that all its lanes share.

  `experiments.recipe` overrides the initial parameters, the order of samples and the images.

  Attributes:
    fleet: the nets.
    trainer, evaluate: the compiled functions, on all devices of the process.
    data: (training images without constant pixels, labels), as the trainer takes them.
    test_data: (test images, labels).
    available: the number of training images.
    lanes_a_test: how many lanes `evaluate` should get at once.
  """

  def __init__(self, nets: tuple[Net, ...], values: dict[str, Any]):
    data = load_dataset(values["dataset"], values["data_dir"] or None)
    images, test_images = self.images(data.train_images, data.test_images, values)
    self.values = values
    self.fleet = Fleet(
      nets,
      in_features=images.shape[1],
      classes=data.classes,
      dtype=values.get("dtype", "float32"),
      input_shift=values["input_shift"],
    )
    self.method = method_of(values)
    constants, train, test = on_device(
      self.fleet, images, data.train_labels, test_images, data.test_labels
    )
    together = per_sample.may_take_kinds(self.method)
    parts = sharded.parts_of(nets, sharded.asked_parts(), together=together)
    make = lambda fleet: self.make_trainer(fleet, constants)
    self.trainer = sharded.make_trainer(make, self.fleet, parts)
    self.evaluate = sharded.make_evaluate(self.fleet, parts, self.method.precision)
    self.lanes_a_test = sharded.lanes_at_once(parts)
    self.available = len(train[0])
    self.data = tuple(map(self.trainer.place, train))
    self.test_data = tuple(map(self.trainer.place, test))
    self._widths: set[int] = set()

  def images(self, train: np.ndarray, test: np.ndarray, values: dict[str, Any]):
    """The images that the nets see: uint8, or floats that are used without scaling."""
    return train, test

  def make_trainer(self, fleet: Fleet, constants: Constant) -> Trainer:
    """The trainer of all nets, or of some of them, on one device."""
    return per_sample.make_trainer(fleet, self.method, constants)

  def width(self, lanes: int) -> int:
    """The number of lanes to run: `lanes`, or slightly more if a program is already compiled for that number."""
    near = [width for width in self._widths if lanes <= width <= lanes * 9 / 8]
    width = min(near, default=lanes)
    self._widths.add(width)
    return width

  def lanes(self, points: Sequence[Point]) -> list[Lane]:
    """One lane for each of these points."""
    return [Lane(p["seed"], *(p.fields.values[name] for name in OF_A_LANE)) for p in points]

  def rates(self, points: Sequence[Point]) -> jax.Array:
    """The learning rates [S] of the lanes."""
    return rates(self.fleet, self.lanes(points))

  def params(self, points: Sequence[Point]) -> list[Params]:
    """The initial parameters of the lanes; leaves [S, ...]."""
    return init(self.fleet, self.lanes(points))

  def starting(self, points: Sequence[Point], params: list[Params]) -> list[Params]:
    """The argument of `trainer.start`: the parameters, and whatever else the trainer of `make_trainer` needs."""
    return params

  def chunks(
    self, points: Sequence[Point], size: int, first: int, last: int
  ) -> Iterator[tuple[Chunk, int]]:
    """The prepared chunks of the epochs from `first` up to, not including, `last`, each with its number of samples."""
    shared = self.values.get("shared_order", False)
    order = sample_order([p["seed"] for p in points], size, self.available, shared=shared)
    return self.chunks_in_order(order[:1] if shared else order, last - first)

  def chunks_in_order(self, order, epochs: int) -> Iterator[tuple[Chunk, int]]:
    """The prepared chunks of `epochs` epochs in this order [S or 1, N], each with its number of samples."""
    chunks = per_sample.make_chunks(order, self.method)
    counts = itertools.cycle([int(chunk.valid.sum()) for chunk in chunks])
    return zip(per_sample.prepared_chunks(self.trainer, self.data[0], chunks, epochs), counts)


def method_of(values: dict[str, Any]) -> per_sample.Method:
  """The training method that the fields name; fields that are missing keep their defaults."""
  names = {"method": "name"} | {k: k for k in ("block", "sub_block", "tails", "precision")}
  return per_sample.Method(**{name: values[k] for k, name in names.items() if k in values})


def on_device(
  fleet: Fleet, images, labels, test_images, test_labels
) -> tuple[Constant, tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
  """(constant inputs, (training images without them, labels), (test images, labels))."""
  constants = constant_inputs(fleet, images)
  train = jnp.asarray(images[:, constants.varies]), jnp.asarray(labels, "int32")
  return constants, train, (jnp.asarray(test_images), jnp.asarray(test_labels, "int32"))
