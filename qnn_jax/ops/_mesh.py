"""What a mesh asks of an op: see docs/performance.md, 'On a mesh'.

Inside `jax.shard_map` an array varies over some of the mesh's axes. JAX sums a derivative over the
axes that its parameter does not vary on, if the parameter has been told to vary on them (`vary_alike`).
On Explicit axes a product over a sharded axis must be told where its result goes: a derivative lies
as its parameter does (`sharding`). On Auto axes XLA finds the layouts by itself.
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

  Arrays without a mesh may be on one that only `jax.jit(..., in_shardings=...)` knows, as soon as there
  are two devices.
  """
  return not on_mesh(*arrays) and (bool(_meshes(arrays)) or jax.device_count() == 1)


def sharding(array: jax.Array) -> NamedSharding | None:
  """Where the array lies on Explicit axes; None where there are none."""
  found = jax.typeof(array).sharding
  return found if AxisType.Explicit in found.mesh.axis_types else None


def sharding_like(array: jax.Array, *spec) -> NamedSharding | None:
  """`spec` on the array's Explicit axes; None where there are none."""
  found = sharding(array)
  return None if found is None else NamedSharding(found.mesh, P(*spec))


def moved(array: jax.Array, *spec) -> jax.Array:
  """The array laid out by `spec` on Explicit axes, itself where there are none."""
  target = sharding_like(array, *spec)
  return array if target is None or spec_of(array) == spec else jax.sharding.reshard(array, target)


def whole_rows(x: jax.Array) -> jax.Array:
  """x [..., n] with its last axis whole on every device, where XLA chooses the layouts.

  Without the hint XLA computes a^T Q a of a split a in parts: two sums over the devices in the place
  of one exchange of a.
  """
  if not on_mesh(x):
    return x
  free = [P.UNCONSTRAINED] * (x.ndim - 1)
  place = NamedSharding(jax.typeof(x).sharding.mesh, P(*free, None))
  return jax.lax.with_sharding_constraint(x, place)


def spec_of(array: jax.Array) -> tuple:
  """The axes that each axis of the array is split over, None or a name or several."""
  return tuple(jax.typeof(array).sharding.spec)


def vary_alike(*arrays: *Arrays) -> tuple[*Arrays]:
  """All arrays, some of them None, varying over every manual axis that one of them varies on."""
  found: Any = arrays
  axes = frozenset[str]().union(*(varying(a) for a in found if a is not None))
  found = tuple(None if a is None else vary(a, axes) for a in found)
  return found


def vary(array: jax.Array, axes: frozenset[str]) -> jax.Array:
  """The array varying over the manual axes `axes` too."""
  missing = tuple(sorted(axes - varying(array)))
  return jax.lax.pcast(array, missing, to="varying") if missing else array


def varying(array: jax.Array) -> frozenset[str]:
  """The manual axes that the array varies on; none outside `jax.shard_map`."""
  kind = jax.typeof(array)
  # JAX 0.10.2 keeps them in `mat`; the releases before it in `vma`.
  return frozenset(kind.mat.varying if hasattr(kind, "mat") else kind.vma)


def _meshes(arrays):
  meshes = [jax.typeof(a).sharding.mesh for a in arrays if a is not None]
  return [mesh for mesh in meshes if not mesh.empty]
