"""What every op does before its rule runs: one dtype, known shapes, one batch axis.

Axis letters, here and everywhere in the project:

  n  inputs of a layer (n_{l-1} in the paper)       B  batch rows, leading axes flattened
  m  neurons of a layer (n_l in the paper)          P  = n(n+1)/2, packed upper triangle
"""

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError


def promote(*arrays: jax.Array) -> tuple[jax.Array, ...]:
  """All arguments in their common floating dtype, so that the rules need not mix dtypes."""
  arrays = tuple(jnp.asarray(a) for a in arrays)
  dtype = jnp.result_type(*arrays)
  if not jnp.issubdtype(dtype, jnp.floating):
    dtype = jnp.promote_types(dtype, jnp.float32)
  return tuple(a.astype(dtype) for a in arrays)


def check_shapes(op: str, x: jax.Array, expected: dict[str, tuple[jax.Array, tuple[int, ...]]]):
  """Raises InputError unless x is [..., n] and every named array has its expected shape."""
  if x.ndim < 1:
    raise InputError(f"{op}: x must be [..., n] with the features last, got a scalar")
  for name, (array, shape) in expected.items():
    if array.shape != shape:
      raise InputError(
        f"{op}: {name} has shape {array.shape}, but {shape} is needed for x of shape {x.shape}"
      )


def last_axis(op: str, name: str, array: jax.Array) -> int:
  """Number of neurons m, read off the last axis of `array`."""
  if array.ndim < 1:
    raise InputError(f"{op}: {name} must have the neurons as its last axis, got a scalar")
  return array.shape[-1]


def as_rows(x: jax.Array) -> jax.Array:
  """x [..., n] -> [B, n]. Works for empty batches, where -1 could not be inferred."""
  rows = 1
  for size in x.shape[:-1]:
    rows *= size
  return x.reshape(rows, x.shape[-1])
