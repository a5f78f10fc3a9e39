"""What every op does before its rule runs: one dtype, known shapes, one place on the mesh.

Axis letters, here and everywhere in the project:

  n  inputs of a layer (n_{l-1} in the paper)       B  batch rows, leading axes flattened
  m  neurons of a layer (n_l in the paper)          P  = n(n+1)/2, packed upper triangle
"""

import numbers
from collections.abc import Mapping
from typing import Any, TypeVarTuple

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError

DERIVATIVES = ("closed_form", "autodiff")

Arrays = TypeVarTuple("Arrays")  # each an array, or None where the caller allows it


def promote(*arrays: *Arrays) -> tuple[*Arrays]:
  """All arguments in their common floating dtype, so that the rules need not mix dtypes."""
  found: Any = [None if a is None else jnp.asarray(a) for a in arrays]
  dtype = jnp.result_type(*(a for a in found if a is not None))
  if not jnp.issubdtype(dtype, jnp.inexact):
    dtype = jnp.promote_types(dtype, jnp.float32)
  found = tuple(None if a is None else a.astype(dtype) for a in found)
  return found


def check_shapes(
  op: str, x: jax.Array, expected: Mapping[str, tuple[jax.Array | None, tuple[int, ...]]]
) -> None:
  """Raises InputError unless x is [..., n] and every named array, if given, has its shape."""
  if x.ndim < 1:
    raise InputError(f"{op}: x must be [..., n] with the features last, got a scalar")
  for name, (array, shape) in expected.items():
    if array is not None and array.shape != shape:
      raise InputError(
        f"{op}: {name} has shape {array.shape}, but {shape} is needed for x of shape {x.shape}"
      )


def sizes(op: str, x: jax.Array, **params: jax.Array | None) -> tuple[int, int]:
  """(n, m): the inputs by x, and the neurons by the last axis of the last parameter given."""
  for name, array in params.items():
    if array is not None and array.ndim < 1:
      raise InputError(f"{op}: {name} must have the neurons as its last axis, got a scalar")
  given = [array for array in params.values() if array is not None]
  return x.shape[-1] if x.ndim else 0, given[-1].shape[-1]


def check_derivative(op: str, derivative: str) -> None:
  """Raises InputError unless `derivative` is one of `DERIVATIVES`."""
  if derivative not in DERIVATIVES:
    raise InputError(
      f"{op}: derivative must be one of {', '.join(DERIVATIVES)}, got {derivative!r}"
    )


def check_given(op: str, **arrays: jax.Array | None) -> None:
  """Raises InputError if one of the arrays is None."""
  for name, array in arrays.items():
    if array is None:
      raise InputError(f"{op}: {name} must be an array, got None")


def is_whole(value: Any) -> bool:
  """Whether it is a whole number, of Python or NumPy; True and False are none."""
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_size(owner: str, name: str, size: Any) -> None:
  """Raises InputError unless `size` is a whole number of at least 1."""
  if not is_whole(size) or size < 1:
    raise InputError(f"{owner}: {name} must be a whole number of at least 1, got {size!r}")


def as_rows(x: jax.Array) -> jax.Array:
  """x [..., n] -> [B, n]. Works for empty batches, where -1 could not be inferred."""
  rows = 1
  for size in x.shape[:-1]:
    rows *= size
  return x.reshape(rows, x.shape[-1])
