"""Helpers for ops whose arrays lie on a device mesh.

Inside `jax.shard_map` an array varies over some of the mesh's axes. A parameter may not vary over an
axis that x varies over. Marking it as varying (`vary_alike`) makes JAX sum its derivative over that
axis. On Explicit axes a product over a sharded axis needs the sharding of its result; a derivative is
sharded as its parameter is (`sharding`). On Auto axes XLA chooses the shardings by itself.
"""

from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from qnn_jax.ops._arguments import Arrays


def on_mesh(*arrays: jax.Array | None) -> bool:
  """Whether JAX or XLA may have split any of the arrays: Auto or Explicit axes of more than one device."""
  return any(
    size > 1 and kind != AxisType.Manual
    for mesh in _meshes(arrays)
    for size, kind in zip(mesh.axis_sizes, mesh.axis_types)
  )


def on_one_device(*arrays: jax.Array | None) -> bool:
  """Whether nothing can split the arrays: they are on no mesh, or only on manual axes.

  With two devices or more the answer is False for arrays without a mesh: they may be on one that only
  `jax.jit(..., in_shardings=...)` knows.
  """
  return not on_mesh(*arrays) and (bool(_meshes(arrays)) or jax.device_count() == 1)


def sharding(array: jax.Array) -> NamedSharding | None:
  """The array's sharding on Explicit axes; None if there are none."""
  found = jax.typeof(array).sharding
  return found if AxisType.Explicit in found.mesh.axis_types else None


def sharding_like(array: jax.Array, *spec) -> NamedSharding | None:
  """The sharding `spec` on the array's Explicit axes; None if there are none."""
  found = sharding(array)
  return None if found is None else NamedSharding(found.mesh, P(*spec))


def moved(array: jax.Array, *spec) -> jax.Array:
  """The array sharded by `spec` on Explicit axes; the array itself if there are none."""
  target = sharding_like(array, *spec)
  return array if target is None or spec_of(array) == spec else jax.sharding.reshard(array, target)


def whole_rows(x: jax.Array) -> jax.Array:
  """x [..., n] with its last axis whole on every device, where XLA chooses the shardings.

  Without this hint XLA computes a^T Q a of a sharded a in parts, with two sums over the devices instead
  of one exchange of a.
  """
  if not on_mesh(x):
    return x
  free = [P.UNCONSTRAINED] * (x.ndim - 1)
  place = NamedSharding(jax.typeof(x).sharding.mesh, P(*free, None))
  return jax.lax.with_sharding_constraint(x, place)


def spec_of(array: jax.Array) -> tuple:
  """The mesh axes that each axis of the array is sharded over: None, a name, or several."""
  return tuple(jax.typeof(array).sharding.spec)


def vary_alike(*arrays: *Arrays) -> tuple[*Arrays]:
  """All arrays (some may be None), varying over every manual axis that one of them varies over."""
  found: Any = arrays
  axes = frozenset[str]().union(*(varying(a) for a in found if a is not None))
  found = tuple(None if a is None else vary(a, axes) for a in found)
  return found


def vary(array: jax.Array, axes: frozenset[str]) -> jax.Array:
  """The array varying over the manual axes `axes` too."""
  missing = tuple(sorted(axes - varying(array)))
  return jax.lax.pcast(array, missing, to="varying") if missing else array


def varying(array: jax.Array) -> frozenset[str]:
  """The manual axes that the array varies over; none outside `jax.shard_map`."""
  kind = jax.typeof(array)
  # JAX 0.10.2 keeps them in `mat`; the releases before it in `vma`.
  return frozenset(kind.mat.varying if hasattr(kind, "mat") else kind.vma)


def _meshes(arrays):
  meshes = [jax.typeof(a).sharding.mesh for a in arrays if a is not None]
  return [mesh for mesh in meshes if not mesh.empty]
