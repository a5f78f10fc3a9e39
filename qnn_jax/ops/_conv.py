"""The quadratic neurons as convolutions: at each place a neuron sees a patch p of n = K c/g inputs.

  heavy          z = b + w^T p + h^T (p*p)
  reduced        z = (b + w^T p)(c + u^T p)
  low rank       z = b + w^T p + sum_r s_r (v_r^T p)^2
  full           z = b + w^T p + p^T Q p

Each computes what the op of that name computes on the patches, the zeros of the padding included, and
has that op's derivative rules. The first three never extract patches: their products are convolutions,
and their derivatives are transposed convolutions. The last one is in `_quadratic_conv.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import jax

from qnn_jax.errors import InputError
from qnn_jax.ops import _affine, _arguments, _heavy, _low_rank, _reduced_quadratic
from qnn_jax.ops._products import How
from qnn_jax.ops._windows import Pads, Window

Shaped = jax.Array | jax.ShapeDtypeStruct


class Options(TypedDict, total=False):
  """How the window moves over the images, with the names of `nnx.Conv`, and options of the products.

  Attributes:
    strides, input_dilation, kernel_dilation: a number, or one for every axis of an image; by default 1.
    padding: 'SAME' (the default), 'VALID', or (low, high) for every axis of an image.
    feature_group_count: g groups, by default 1: a group's m/g neurons see its c/g channels.
    precision, preferred_element_type, out_sharding: as in `jax.lax.conv_general_dilated`.
  """

  strides: int | Sequence[int]
  padding: str | Sequence[tuple[int, int]]
  input_dilation: int | Sequence[int]
  kernel_dilation: int | Sequence[int]
  feature_group_count: int
  precision: Any
  preferred_element_type: Any
  out_sharding: Any


def affine_conv(
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  **options: Unpack[Options],
) -> jax.Array:
  """z = W a + b, with a convolution as the product: what `nnx.Conv` computes.

  Args:
    x: [B, *image, c], images with one axis or more.
    kernel: [*window, c/g, m].
    bias: [m], or None for none.
    derivative: as in `affine`.
    options: see `ops.ConvOptions`.

  Returns:
    z [B, *places, m].

  Raises:
    InputError: shapes that do not fit, a wrong value of an option. TypeError: an unknown option.

  Source: (66), `affine`, on patches.

  >>> x, ones = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.ones((2, 1, 1))
  >>> affine_conv(x, ones, None, padding="VALID")[0, :, 0].tolist()
  [3.0, 5.0]
  """
  _arguments.check_given("affine_conv", kernel=kernel)
  x, kernel, bias = _arguments.promote(x, kernel, bias)
  how = checked("affine_conv", derivative, x, {"kernel": kernel}, {"bias": bias}, options)
  return _affine.by(how, derivative, x, kernel, bias)


def heavy_conv(
  x: jax.Array,
  heavy_kernel: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  **options: Unpack[Options],
) -> jax.Array:
  """z = (a*a) H + a W + b, with convolutions as the products.

  Args:
    x: [B, *image, c], images with one axis or more.
    heavy_kernel: [*window, c/g, m], the weights of the squares.
    kernel: [*window, c/g, m], or None for the squares alone.
    bias: [m], or None for none.
    derivative: as in `affine`.
    options: see `ops.ConvOptions`.

  Returns:
    z [B, *places, m].

  Raises:
    InputError: shapes that do not fit, a wrong value of an option. TypeError: an unknown option.

  Source: `heavy`, on patches.

  >>> x, ones = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.ones((2, 1, 1))
  >>> heavy_conv(x, ones, None, None, padding="VALID")[0, :, 0].tolist()
  [5.0, 13.0]
  """
  _arguments.check_given("heavy_conv", heavy_kernel=heavy_kernel)
  x, heavy_kernel, kernel, bias = _arguments.promote(x, heavy_kernel, kernel, bias)
  kernels = {"heavy_kernel": heavy_kernel, "kernel": kernel}
  how = checked("heavy_conv", derivative, x, kernels, {"bias": bias}, options)
  return _heavy.by(how, derivative, x, heavy_kernel, kernel, bias)


def reduced_quadratic_conv(
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  u: jax.Array,
  c: jax.Array | None,
  *,
  derivative: str = "closed_form",
  **options: Unpack[Options],
) -> jax.Array:
  """z = (W a + b) * (U a + c), the product of two convolutions of the same images.

  Args:
    x: [B, *image, c], images with one axis or more.
    kernel, u: [*window, c/g, m].
    bias, c: [m]; None for none.
    derivative: as in `affine`.
    options: see `ops.ConvOptions`.

  Returns:
    z [B, *places, m].

  Raises:
    InputError: shapes that do not fit, a wrong value of an option. TypeError: an unknown option.

  Source: (52), `reduced_quadratic`, on patches.

  >>> x, ones = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.ones((2, 1, 1))
  >>> reduced_quadratic_conv(x, ones, None, ones, None, padding="VALID")[0, :, 0].tolist()
  [9.0, 25.0]
  """
  _arguments.check_given("reduced_quadratic_conv", kernel=kernel, u=u)
  x, kernel, bias, u, c = _arguments.promote(x, kernel, bias, u, c)
  kernels, vectors = {"kernel": kernel, "u": u}, {"bias": bias, "c": c}
  how = checked("reduced_quadratic_conv", derivative, x, kernels, vectors, options)
  return _reduced_quadratic.by(how, derivative, x, kernel, bias, u, c)


def low_rank_quadratic_conv(
  x: jax.Array,
  v: jax.Array,
  s: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  derivative: str = "closed_form",
  **options: Unpack[Options],
) -> jax.Array:
  """z_k = b_k + w_k^T p + sum_r s_rk (v_rk^T p)^2: a convolution to r m channels, whose squares are summed.

  The backward pass keeps these channels in memory: r numbers for every output.

  Args:
    x: [B, *image, c], images with one axis or more.
    v: [*window, c/g, r, m], the directions.
    s: [r, m], the weight of each square, of either sign.
    kernel: [*window, c/g, m], or None for the squares alone.
    bias: [m], or None for none.
    derivative: as in `affine`.
    options: see `ops.ConvOptions`.

  Returns:
    z [B, *places, m].

  Raises:
    InputError: shapes that do not fit, a wrong value of an option. TypeError: an unknown option.

  Source: (L1), `low_rank_quadratic`, on patches.

  >>> x, ones = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.ones((2, 1, 1, 1))
  >>> s = jnp.full((1, 1), -1.0)
  >>> low_rank_quadratic_conv(x, ones, s, None, None, padding="VALID")[0, :, 0].tolist()
  [-9.0, -25.0]
  """
  op = "low_rank_quadratic_conv"
  _arguments.check_given(op, v=v, s=s)
  x, v, s, kernel, bias = _arguments.promote(x, v, s, kernel, bias)
  if v.ndim < 4:
    raise InputError(f"{op}: v must be [*window, c/g, r, m], got the shape {v.shape}")
  one = jax.ShapeDtypeStruct(
    (*v.shape[:-2], v.shape[-1]), v.dtype
  )  # one of the r, shaped as a kernel
  how = checked(op, derivative, x, {"v": one, "kernel": kernel}, {"bias": bias}, options)
  _arguments.check_shapes(op, x, {"s": (s, v.shape[-2:])})
  return _low_rank.by(how, derivative, x, v, s, kernel, bias)


def checked(
  op: str,
  derivative: str,
  x: jax.Array,
  kernels: Mapping[str, Shaped | None],
  vectors: Mapping[str, jax.Array | None],
  options: Options,
) -> How:
  """The products' options. InputError if shapes or options do not fit each other.

  The first kernel gives the window and the neurons; the other kernels must have its shape.
  """
  _arguments.check_derivative(op, derivative)
  (first, kernel), *_ = kernels.items()
  assert kernel is not None
  if x.ndim < 3:
    raise InputError(
      f"{op}: x must be [B, *image, c] with the channels last, got the shape {x.shape}"
    )
  groups, channels, axes = groups_of(op, options), x.shape[-1], x.ndim - 2
  if len(kernel.shape) != x.ndim:
    raise InputError(
      f"{op}: x of shape {x.shape} needs a window of {axes} axes, but that of {first} has "
      f"{max(len(kernel.shape) - 2, 0)}"
    )
  m = kernel.shape[-1]
  if channels % groups or m % groups:
    raise InputError(
      f"{op}: feature_group_count must divide the channels and the neurons, {channels} and {m}, "
      f"got {groups}"
    )
  for name, array in kernels.items():
    if array is not None and len(array.shape) == x.ndim and array.shape[-2] * groups != channels:
      raise InputError(
        f"{op}: x has {channels} channels, but {name} is for {array.shape[-2] * groups}"
      )
  shape = *kernel.shape[:-2], channels // groups, m
  for arrays, wanted in ((kernels, shape), (vectors, (m,))):
    for name, array in arrays.items():
      if array is not None and array.shape != wanted:
        raise InputError(
          f"{op}: {name} has shape {array.shape}, but {wanted} is needed for x of shape {x.shape}"
        )
  each = lambda name: _each(op, name, options.get(name, 1), axes)
  window = Window(
    each("strides"),
    _pads(op, options.get("padding", "SAME"), axes),
    each("input_dilation"),
    each("kernel_dilation"),
    groups,
  )
  return How(
    options.get("precision"),
    options.get("preferred_element_type"),
    options.get("out_sharding"),
    window,
  )


def groups_of(op: str, options: Options) -> int:
  """The number of groups. TypeError for an unknown option."""
  for name in options:
    if name not in Options.__annotations__:
      raise TypeError(f"{op} has no option '{name}'; it takes {', '.join(Options.__annotations__)}")
  groups = options.get("feature_group_count", 1)
  _arguments.check_size(op, "feature_group_count", groups)
  return groups


def _each(op: str, name: str, value: Any, axes: int) -> tuple[int, ...]:
  """One number for every axis of an image; `value` is one number for all axes, or one for each."""
  found = tuple(value) if isinstance(value, Iterable) else (value,) * axes
  if len(found) != axes or not all(_arguments.is_whole(one) and one >= 1 for one in found):
    raise InputError(
      f"{op}: {name} must be a whole number of at least 1, or one for each of the {axes} axes, "
      f"got {value!r}"
    )
  return tuple(map(int, found))


def _pads(op: str, padding: Any, axes: int) -> str | Pads:
  """The padding itself. InputError if JAX does not know it."""
  if isinstance(padding, str):
    if padding.upper() in ("SAME", "SAME_LOWER", "VALID"):
      return padding.upper()
  elif isinstance(padding, Sequence) and len(padding) == axes and all(map(_is_pair, padding)):
    return tuple((int(low), int(high)) for low, high in padding)
  raise InputError(
    f"{op}: padding must be 'SAME', 'SAME_LOWER', 'VALID' or whole numbers (low, high) for each of the "
    f"{axes} axes, got {padding!r}"
  )


def _is_pair(pair):
  return isinstance(pair, Sequence) and len(pair) == 2 and all(map(_arguments.is_whole, pair))
