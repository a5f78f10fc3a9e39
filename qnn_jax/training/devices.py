"""Spreads runs over all devices of a process with `jax.shard_map`, so that no device waits for another.

Lanes are independent. So the program for D devices is D times the program for one device, each with its
part of the lanes, and it has no collective operations. (`jax.jit` with shardings alone would put
all-gathers into the loops.) Any number of lanes fits any number of devices: the last lane is repeated
as padding, and the results of the copies are dropped.

With several processes (`jax.distributed`) each process uses only its own devices.
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
"""The name of the mesh axis."""

Devices = Sequence[jax.Device]
"""Devices in the order of the mesh."""


def count() -> int:
  """The number of devices of this process. Calling it starts JAX's back end."""
  return jax.local_device_count()


def over_runs(
  function: Callable, in_axes: Sequence[Any], out_axes: Any = 0, devices: Devices | None = None
) -> Callable:
  """`function` with the axis of runs sharded over the devices; to be called within `jax.jit`.

  Args:
    function: a function of arrays or trees of arrays; on each device it sees that device's runs.
    in_axes: for each argument, the axis of the runs in all its leaves; None if every device has the whole
      argument; or a tree of these that is a prefix of the argument. The length of the axis must be a
      multiple of the number of devices, as `put` makes it.
    out_axes: the same for the results.
    devices: by default all of this process. For one device the result is `function` itself.
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
      check_vma=False,  # nothing is summed over the devices, so that there is nothing to check
    )(*args)

  return call


def put(tree: Any, axis: int | None, devices: Devices | None = None) -> Any:
  """Puts a tree on the devices, in the form that `over_runs` needs.

  Args:
    tree: a tree of arrays.
    axis: the axis of the runs in every leaf, which is padded to a multiple of the number of devices. With
      None every device gets the whole tree.
    devices: by default all of this process.
  """
  if devices is None and count() == 1:
    return jax.device_put(tree)
  mesh = mesh_of(devices)
  if axis is not None:
    tree = padded(tree, axis, mesh.size)
  return jax.device_put(tree, NamedSharding(mesh, _spec(axis)))


def padded(tree: Any, axis: int, to: int | None = None) -> Any:
  """The tree with one axis of every leaf padded to a multiple of `to`, by repeating the last element.

  Args:
    tree: a tree of arrays.
    axis: the axis, from 0.
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
  """The number of lanes after `put` has padded them."""
  return math.ceil(lanes / count()) * count()


def mesh_of(devices: Devices | None = None) -> Mesh:
  """A mesh with one axis of the devices, by default all of this process."""
  found = tuple(jax.local_devices() if devices is None else devices)
  return Mesh(np.array(found), (AXIS,), axis_types=(AxisType.Auto,))


def _specs(axes):
  return jax.tree.map(_spec, axes, is_leaf=lambda axis: axis is None)


def _spec(axis: int | None) -> P:
  return P() if axis is None else P(*[None] * axis, AXIS)
