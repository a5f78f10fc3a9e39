"""The product of every op as a convolution, and the patches that its window sees.

B  images (or series), one leading axis    K  = k k, positions of a window of k k
c  channels                                g  feature_group_count: groups of channels and neurons
"""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qnn_jax.ops import _mesh

# Patches extracted at a time, in whole images: the arrays of so many fit into a core's cache.
_PATCHES = 1024

Pads = tuple[tuple[int, int], ...]


class Window(NamedTuple):
  """How a window moves, with the names of `nnx.Conv`; a number for every axis of an image."""

  strides: tuple[int, ...]
  padding: str | Pads
  input_dilation: tuple[int, ...]
  kernel_dilation: tuple[int, ...]
  groups: int


def product(window: Window, x, kernel, **how):
  """x [B, *image, c], kernel [*window, c/g, m] -> [B, *places, m]; [.., r, m] -> [.., r, m] too.

  `how` are further options of `jax.lax.dot_general`, with its names.
  """
  before, neurons = kernel.shape[: x.ndim - 1], kernel.shape[x.ndim - 1 :]
  several = len(neurons) > 1
  # As one convolution: a neuron's r channels must stay in its group, and where `out_sharding` puts them.
  grouped = window.groups > 1 or how.get("out_sharding") is not None
  if several:
    kernel = (kernel.swapaxes(-1, -2) if grouped else kernel).reshape(*before, -1)
  z = jax.lax.conv_general_dilated(
    x,
    kernel,
    window.strides,
    window.padding,
    lhs_dilation=window.input_dilation,
    rhs_dilation=window.kernel_dilation,
    dimension_numbers=_channels_last(x.ndim),
    feature_group_count=window.groups,
    **how,
  )
  if several:
    z = z.reshape(*z.shape[:-1], *(neurons[::-1] if grouped else neurons))
    z = z.swapaxes(-1, -2) if grouped else z
  return z


def _channels_last(ndim):
  image = tuple(range(1, ndim - 1))
  kernel = ndim - 1, ndim - 2, *range(ndim - 2)
  x = 0, ndim - 1, *image
  return jax.lax.ConvDimensionNumbers(x, kernel, x)


def patches(window: Window, x, size: tuple[int, ...]):
  """x [B, *image, c] -> [B, *places, g, n]: the patch that each group of neurons sees, n = K c/g.

  The n inputs have the order of the rows of a kernel [*window, c/g, m] reshaped to [n, m]. Patches are
  made by slices, because XLA computes `jax.lax.conv_general_dilated_patches` as a convolution with a
  kernel of zeros and ones.
  """
  extents = [(k - 1) * d + 1 for k, d in zip(size, window.kernel_dilation)]
  pads: Any = window.padding
  if isinstance(pads, str):
    pads = jax.lax.padtype_to_pads(x.shape[1:-1], extents, window.strides, pads)
  edges = [(low, high, d - 1) for (low, high), d in zip(pads, window.input_dilation)]
  zero = _mesh.vary(jnp.zeros((), x.dtype), _mesh.varying(x))
  x = jax.lax.pad(x, zero, [(0, 0, 0), *edges, (0, 0, 0)])
  spans = [
    max(0, (length - extent) // stride * stride + 1)  # from the first place to the last
    for length, extent, stride in zip(x.shape[1:-1], extents, window.strides)
  ]
  starts = itertools.product(
    *(range(0, extent, d) for extent, d in zip(extents, window.kernel_dilation))
  )
  seen = [
    x[:, *(slice(i, i + span, s) for i, span, s in zip(start, spans, window.strides))]
    for start in starts
  ]
  groups, channels = window.groups, x.shape[-1] // window.groups
  if groups == 1:
    return jnp.concatenate(seen, -1)[..., None, :]
  split = jnp.stack([a.reshape(*a.shape[:-1], groups, channels) for a in seen], -2)
  return split.reshape(*split.shape[:-2], math.prod(size) * channels)


def images_a_step(window: Window, x, size: tuple[int, ...]) -> int | None:
  """The number of images whose patches are made at a time; None for all, if a mesh may have sharded them."""
  places = jax.eval_shape(lambda x: patches(window, x, size), x).shape[1:-2]
  known = all(isinstance(axis, int) for axis in (x.shape[0], *places))
  if not known or 0 in (*x.shape, *places) or not _mesh.on_one_device(x):
    return None
  steps = -(-x.shape[0] // max(1, _PATCHES // math.prod(places)))
  return None if steps == 1 else -(-x.shape[0] // steps)


def in_steps(images: int, x):
  """x [B, ...] -> [steps, images, ...], with zeros at the end where B is no multiple of a step."""
  steps = -(-len(x) // images)
  x = jnp.pad(x, [(0, steps * images - len(x))] + [(0, 0)] * (x.ndim - 1))
  return x.reshape(steps, images, *x.shape[1:])


def joined(x, rows: int):
  """The inverse of `in_steps`."""
  return x.reshape(-1, *x.shape[2:])[:rows]


def summed_in(dtype):
  """The dtype of a sum over many steps: at least four bytes, since narrower sums lose small terms."""
  return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)


def kernel_by_patches(window: Window, x, delta, shape: tuple[int, ...], precision):
  """The derivative by a kernel of this `shape`: the transpose of `product`, in steps, summed in float32."""
  axes, groups = x.ndim - 1, window.groups
  size, channels, neurons = shape[: axes - 1], shape[axes - 1], shape[axes:]
  split = *neurons[:-1], groups, neurons[-1] // groups
  delta = delta.reshape(*delta.shape[:axes], *split)
  delta = delta.swapaxes(-3, -2) if len(split) > 2 else delta  # [.., g, r, m/g]
  many = math.prod(neurons) // groups
  wide = summed_in(x.dtype)

  def of_images(x, delta):
    p = patches(window, x, size)
    rows = math.prod(p.shape[:-2])
    p, delta = p.reshape(rows, groups, p.shape[-1]), delta.reshape(rows, groups, many)
    return jnp.einsum("bgn,bgm->gnm", p, delta, precision=precision, preferred_element_type=wide)

  images = images_a_step(window, x, size)
  if images is None:
    found = of_images(x, delta)
  else:
    start = jnp.zeros((groups, math.prod(size) * channels, many), wide)
    start = _mesh.vary(start, _mesh.varying(x))
    add = lambda total, step: (total + of_images(*step), None)
    found = jax.lax.scan(add, start, (in_steps(images, x), in_steps(images, delta)))[0]
  found = found.reshape(groups, *size, channels, *neurons[:-1], neurons[-1] // groups)
  return jnp.moveaxis(found, 0, -2).reshape(shape).astype(x.dtype)
