"""The recipe's runs: those of Table 4 with other initial parameters, sample orders or images."""

import dataclasses
import itertools
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from experiments.table4 import check as table4
from experiments.table4 import groups as together
from experiments.table4 import task as training
from experiments.table4.program import Program
from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks
from qnn_jax.sweeps.points import Group
from qnn_jax.sweeps.task import Event, Task
from qnn_jax.training import _compile, per_sample
from qnn_jax.training._tails import to_lanes
from qnn_jax.training.fleet import sample_order

AXES = {"recipes": "recipe"} | together.AXES

CHOICES = {
  "bias": ("drawn", "zero"),
  "q": ("symmetrised", "mirrored", "zero", "raw"),
  "order": ("drawn", "first", "sorted", "reshuffled"),
}


def check(config: ml_collections.ConfigDict) -> None:
  """InputError names the first value that makes no sense."""
  table4.models(config)
  checks.once(config, "recipes", "models", "train_sizes", "epochs", "hidden")
  checks.whole(config, "train_sizes", "epochs", "hidden")
  if config.seeds < 2:
    raise InputError(f"seeds must be at least 2, for a spread, got {config.seeds}")
  for name in config.recipes:
    values = ml_collections.ConfigDict(config.to_dict() | changes_of(config, name))
    table4.learning(values)
    for field, choices in CHOICES.items():
      checks.choice(field, values[field], choices)


def changes_of(config: ml_collections.ConfigDict, name: str) -> dict[str, Any]:
  """The fields that a recipe changes, with their values."""
  key = name.replace(".", "_")
  if key not in config.changes:
    raise InputError(
      f"unknown recipe '{name}' in recipes; choose among {', '.join(config.changes)}"
    )
  changes = config.changes[key].to_dict()
  for field in changes:
    if field not in config or field in AXES or field == "changes":
      raise InputError(f"the recipe '{name}' changes '{field}', which is no field of a recipe")
  return changes


def points(config: ml_collections.ConfigDict) -> Iterator[dict[str, Any]]:
  """The runs of Table 4 for each recipe in turn."""
  every = list(together.points(config))
  for name in config.recipes:
    changes = changes_of(config, name)
    for point in every:
      yield {"recipe": name, **point, **changes}


def run(group: Group, job) -> Iterator[Event]:
  """Trains and tests lanes of one recipe."""
  return training.run(group, job, RecipeProgram)


class RecipeProgram(Program):
  """Table 4's program with the images, initial parameters and sample order of a recipe."""

  def images(self, train, test, values):
    """With `mean_image`, floats: (brightness minus that of the mean training image) / 255."""
    if not values["mean_image"]:
      return train, test
    mean = train.mean(0, dtype=np.float64)
    return tuple(((x - mean) / 255).astype(np.float32) for x in (train, test))

  def params(self, points):
    """The initial parameters of the lanes, with the recipe's biases and Q."""
    params = jax.tree.map(np.array, super().params(points))
    for net, of_net in zip(self.fleet.nets, params):
      layers = of_net["layers"].values()
      if self.values["bias"] == "zero":
        for layer, name in itertools.product(layers, ("bias", "c")):
          if name in layer:
            layer[name] = np.zeros_like(layer[name])
      for layer in (layer for layer in layers if "q" in layer):
        if self.values["q"] == "zero":
          layer["q"] = np.zeros_like(layer["q"])
        elif self.values["q"] in ("mirrored", "raw"):
          full = self._full(net, points, layer["q"].shape)
          if self.values["q"] == "raw":  # the symmetric part of Q; see `starting`
            full = (full + full.swapaxes(-1, -2)) / 2
          layer["q"] = np.asarray(jax.vmap(ops.pack)(full))
    return params

  def make_trainer(self, fleet, constants):
    """With Q 'raw', a trainer whose `start` adds the antisymmetric part of Q, see `starting`."""
    if self.values["q"] != "raw":
      return super().make_trainer(fleet, constants)
    # The kernels need a symmetric Q. The fused form holds the full Q.
    method = dataclasses.replace(self.method, tails="fused")
    trainer = per_sample.make_trainer(fleet, method, constants)

    def start(params, rates):
      state = trainer.start(params, rates)
      for net, tail in zip(params, state["tails"], strict=True):
        if "q" in tail:
          tail["q"] += to_lanes(net["turned_over"])
      return state

    return trainer._replace(start=_compile.jit(start, level=0))

  def starting(self, points, params):
    """The parameters, and in addition the antisymmetric part of Q as it was drawn.

    The layers after the first hold the full Q [C, h, h, lanes]. SGD's steps are symmetric, so that they never
    change the antisymmetric part. It can therefore be added again whenever training resumes.
    """
    if self.values["q"] != "raw":
      return params
    whole = []
    net: Any  # in Table 4, `hidden` of every net is a number
    for net, of_net in zip(self.fleet.nets, params):
      if net.head == "qnn":
        shape = (len(points), ops.packed_size(net.hidden), self.fleet.classes)
        full = self._full(net, points, shape)
        of_net = {**of_net, "turned_over": (full - full.swapaxes(-1, -2)) / 2}
      whole.append(of_net)
    return whole

  def chunks(self, points, size, first, last):
    """The chunks in the recipe's order; 'reshuffled' has another order in every epoch."""
    order = self.values["order"]
    seeds = [point["seed"] for point in points]
    drawn = np.asarray(sample_order(seeds, size, self.available, shared=False))
    if order == "reshuffled":
      for epoch in range(first, last):
        shuffled = [np.random.default_rng((s, epoch)).permutation(d) for s, d in zip(seeds, drawn)]
        yield from self.chunks_in_order(np.stack(shuffled), 1)
      return
    if order == "first":
      drawn = np.tile(np.arange(size), (len(seeds), 1))
    elif order == "sorted":
      drawn = np.sort(drawn, 1)
    yield from self.chunks_in_order(drawn, last - first)

  def _full(self, net, points, shape):
    """The full matrices [S, m, n, n] that the lanes draw for a net."""
    _, packed, m = shape
    n = ops.matrix_size(packed)
    number = zlib.crc32(f"{net.name} full Q".encode())
    each = []
    for lane in self.lanes(points):
      key = jax.random.fold_in(jax.random.key(lane.seed), number)
      each.append(lane.param_init(key, (m, n, n), self.fleet.dtype))
    return jnp.stack(each)


TASK = Task(
  "recipe",
  AXES,
  run,
  together.groups,
  points,
  apart=("changes",),
  workers=together.default_workers,
  possible=training.POSSIBLE,
)
