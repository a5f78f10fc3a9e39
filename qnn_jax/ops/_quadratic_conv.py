"""The full quadratic neuron as a convolution: z_k = b_k + w_k^T p + p^T Q_k p for every patch p."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Unpack

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError
from qnn_jax.ops import _arguments, _mesh, _products, _quadratic, _symmetric, _windows
from qnn_jax.ops._conv import Options, checked, groups_of
from qnn_jax.ops._windows import Window

OP = "quadratic_conv"


def quadratic_conv(
  x: jax.Array,
  q: jax.Array,
  kernel: jax.Array | None,
  bias: jax.Array | None,
  *,
  kernel_size: Sequence[int],
  derivative: str = "closed_form",
  **options: Unpack[Options],
) -> jax.Array:
  """z_k = b_k + w_k^T p + p^T Q_k p, with every symmetric Q_k, n x n for n = K c/g, in packed storage.

  Memory: q has P m numbers, P = n(n+1)/2. For windows of 3 x 3 on 16 channels and 32 neurons these are
  334,080, 1.3 MB in float32. The patches have K times the numbers of the images, and V of (44) has n
  numbers for every output: 604 MB there for 32 images of 32 x 32. On one device neither is kept: both
  passes take a thousand patches at a time (at least one image), and the backward pass computes patches
  and V again. All patches are made at once on a mesh, for a batch of unknown size, and by autodiff.

  Args:
    x: [B, *image, c], images with one axis or more.
    q: [P, m], upper triangles in `np.triu_indices` order. The n inputs have the order of the rows of
      `kernel.reshape(n, m)`.
    kernel: [*window, c/g, m], or None for p^T Q p alone.
    bias: [m], or None for none.
    kernel_size: the lengths of the window, one for every axis of an image.
    derivative: as in `affine`.
    options: see `ops.ConvOptions`.

  Returns:
    z [B, *places, m].

  Raises:
    InputError: shapes that do not fit, a wrong value of an option. TypeError: an unknown option.

  Source: (24), `quadratic`, on patches.

  >>> x, q = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.array([[0.0], [0.5], [0.0]])  # p_1 p_2
  >>> quadratic_conv(x, q, None, None, kernel_size=(2,), padding="VALID")[0, :, 0].tolist()
  [2.0, 6.0]
  """
  _arguments.check_given(OP, q=q)
  x, q, kernel, bias = _arguments.promote(x, q, kernel, bias)
  if q.ndim != 2 or x.ndim < 3:
    raise InputError(
      f"{OP}: q must be [P, m] and x [B, *image, c], got the shapes {q.shape} and {x.shape}"
    )
  size = tuple(kernel_size) if isinstance(kernel_size, Iterable) else ()
  if len(size) != x.ndim - 2:
    raise InputError(
      f"{OP}: kernel_size must be one number for each of the {x.ndim - 2} axes of an image, got "
      f"{kernel_size!r}"
    )
  for length in size:
    _arguments.check_size(OP, "kernel_size", length)
  m = q.shape[-1]
  shape = *size, x.shape[-1] // groups_of(OP, options), m
  kernels = {"the window": jax.ShapeDtypeStruct(shape, q.dtype), "kernel": kernel}
  how = checked(OP, derivative, x, kernels, {"bias": bias}, options)
  n = math.prod(shape[:-1])
  _arguments.check_shapes(OP, x, {"q": (q, (_symmetric.packed_size(n), m))})
  x, q, kernel, bias = _mesh.vary_alike(x, q, kernel, bias)
  wide_x, wide_q = _products.wide(x, q)
  if (place := how.out_sharding) is not None:
    place = tuple(getattr(place, "spec", place))
    place += (None,) * (x.ndim - len(place))
    # Move the batch and the neurons only; images are sharded after the form, if at all.
    wide_x, wide_q = _quadratic.placed(
      wide_x, wide_q, (place[0], *[None] * (x.ndim - 2), place[-1])
    )
  else:
    wide_x, wide_q = _quadratic.placed(wide_x, wide_q, None)
  plan = _plan(how, derivative, size, wide_x, wide_q)
  form = (_by_images if derivative == "closed_form" else _of_images)(plan, wide_x, wide_q)
  form = form if place is None else _mesh.moved(form, *place)
  return _products.plus_affine(form, x, kernel, bias, how)


class Plan(NamedTuple):
  """How the form p^T Q p is computed for the patches."""

  form: _quadratic.Plan  # of p^T Q p
  window: Window
  size: tuple[int, ...]
  images: int | None  # how many at a time; None for all


def _plan(how, derivative, size, x, q):
  n, m = _symmetric.matrix_size(q.shape[0]), q.shape[1] // how.window.groups
  tiled = _quadratic.large(n, m) and 0 not in (*x.shape, m) and _mesh.on_one_device(x, q)
  images = _windows.images_a_step(how.window, x, size)
  element = how.form(x.dtype).preferred_element_type
  plain = how._replace(window=None, out_sharding=None, preferred_element_type=element)
  form = _quadratic.Plan(plain, tiled and derivative == "closed_form")
  return Plan(form, how.window, size, images)


def _of_images(plan, x, q):
  """p^T Q p of every patch of x [B, *image, c] -> [B, *places, m]."""
  p, groups = _windows.patches(plan.window, x, plan.size), plan.window.groups
  form = lambda p, q: _quadratic.forward(plan.form, p, q, None, None)[0]
  if groups == 1:
    return form(p[..., 0, :], q)
  z = jax.vmap(form, (-2, 1), -2)(p, _by_groups(plan, q))
  return z.reshape(*z.shape[:-2], q.shape[-1])


def _backward(plan, x, q, delta):
  """The derivatives of `_of_images` by x and q; patches and V are computed again."""
  patches = lambda x: _windows.patches(plan.window, x, plan.size)
  p, to_images = jax.vjp(patches, x)

  def form(p, q, delta):
    residuals = _quadratic.forward(plan.form, p, q, None, None)[1]
    return _quadratic.backward(plan.form, residuals, delta)[:2]

  if plan.window.groups == 1:
    dp, dq = form(p[..., 0, :], q, delta)
    dp = dp[..., None, :]
  else:
    groups = p, _by_groups(plan, q), _by_groups(plan, delta)
    dp, dq = jax.vmap(form, (-2, 1, -2), (-2, 1))(*groups)
  return *to_images(dp), dq.reshape(q.shape)


def _by_groups(plan, a):
  """[..., m] -> [..., g, m/g]."""
  groups = plan.window.groups
  return a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_images(plan, x, q):
  return _by_images_fwd(plan, x, q)[0]


def _by_images_fwd(plan, x, q):
  if plan.images is None:
    return _of_images(plan, x, q), (x, q)
  z = jax.lax.map(lambda images: _of_images(plan, images, q), _windows.in_steps(plan.images, x))
  return _windows.joined(z, len(x)), (x, q)


def _by_images_bwd(plan, residuals, delta):
  x, q = residuals
  if plan.images is None:
    return _backward(plan, x, q, delta)

  def step(dq, images):
    dx, more = _backward(plan, images[0], q, images[1])
    return dq + more.astype(dq.dtype), dx

  start = _mesh.vary(jnp.zeros(q.shape, _windows.summed_in(q.dtype)), _mesh.varying(q))
  steps = _windows.in_steps(plan.images, x), _windows.in_steps(plan.images, delta)
  dq, dx = jax.lax.scan(step, start, steps)
  return _windows.joined(dx, len(x)), dq.astype(q.dtype)


_by_images.defvjp(_by_images_fwd, _by_images_bwd)
