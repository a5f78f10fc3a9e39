"""Runs over all devices of a process: their axis is split by `jax.shard_map`, and no device waits for another.

Lanes are independent, so a program for D devices is D times the program for one, each with its part of the
lanes: the compiled program holds no collective. `jax.jit` with shardings alone would put all-gathers into
the loops. Any number of lanes goes on any number of devices: the last lane is repeated where they do not
come out even, and what comes of the copies is left out.

With several processes (`jax.distributed`) each one uses its own devices; nothing here sees the others'.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "runs"

Devices = Sequence[jax.Device]


def count() -> int:
  """Devices of this process; asking starts the back end."""
  return jax.local_device_count()


def over_runs(
  function: Callable, in_axes: Sequence[Any], out_axes: Any = 0, devices: Devices | None = None
) -> Callable:
  """`function` with the axis of runs split over devices: to be called within `jax.jit`.

  Args:
    function: of arrays or trees of them; it sees a device's own part of the runs.
    in_axes: for each argument, which axis of all its leaves holds the runs; None for what every device
      has whole; or a tree of them that begins as the argument does. The axis must be a multiple of the
      devices, as `put` makes it.
    out_axes: the same for what is returned.
    devices: by default all of this process; where that is one, this is `function` itself.
  """

  @functools.wraps(function)
  def call(*args):
    if devices is None and count() == 1:
      return function(*args)
    return jax.shard_map(
      function,
      mesh=mesh_of(devices),
      in_specs=_specs(tuple(in_axes)),
      out_specs=_specs(out_axes),
      check_vma=False,  # nothing is summed over the devices, so nothing is to be inferred
    )(*args)

  return call


def put(tree: Any, axis: int | None, devices: Devices | None = None) -> Any:
  """The tree on the devices, as `over_runs` takes it.

  Args:
    tree: of arrays.
    axis: of the runs, in every leaf; it is padded to a multiple of the devices. None: all have it whole.
    devices: by default all of this process.
  """
  if devices is None and count() == 1:
    return jax.device_put(tree)
  mesh = mesh_of(devices)
  if axis is not None:
    tree = padded(tree, axis, mesh.size)
  return jax.device_put(tree, NamedSharding(mesh, _spec(axis)))


def padded(tree: Any, axis: int, to: int | None = None) -> Any:
  """The tree with this axis of every leaf lengthened to a multiple of `to` by repeating its last element.

  Args:
    tree: of arrays.
    axis: from 0.
    to: by default the number of devices.
  """
  to = count() if to is None else to

  def pad(leaf):
    missing = -leaf.shape[axis] % to
    if not missing:
      return leaf
    widths = [(0, missing if i == axis else 0) for i in range(leaf.ndim)]
    return np.pad(np.asarray(leaf), widths, mode="edge")

  return jax.tree.map(pad, tree)


def width(lanes: int) -> int:
  """How many lanes `put` makes of so many."""
  return math.ceil(lanes / count()) * count()


def mesh_of(devices: Devices | None = None) -> Mesh:
  """The devices, by default all of this process, in a row."""
  found = tuple(jax.local_devices() if devices is None else devices)
  return Mesh(np.array(found), (AXIS,), axis_types=(AxisType.Auto,))


def _specs(axes):
  return jax.tree.map(_spec, axes, is_leaf=lambda axis: axis is None)


def _spec(axis: int | None) -> P:
  return P() if axis is None else P(*[None] * axis, AXIS)
