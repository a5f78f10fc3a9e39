"""The convolutions against the plain sum over every patch, in double precision, gradients included."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from qnn_jax import InputError, ops

# What each op computes of the patches p [B, places, g, n], with a group's neurons side by side.
NAMES = ("affine", "heavy", "reduced_quadratic", "low_rank_quadratic", "quadratic")
every_op = pytest.mark.parametrize("name", NAMES)
RANK = 2


def plain(name, p, args):
  """z [B, places, m] of patches p [B, places, g, n], a sum over each neuron's own patch."""
  n, m = p.shape[-1], args[-1].shape[-1]
  a = p[:, :, np.arange(m) * p.shape[2] // m]  # [B, places, m, n]
  by = lambda kernel: (a * kernel.reshape(n, m).T).sum(-1)
  if name == "affine":
    kernel, bias = args
    return by(kernel) + bias
  if name == "heavy":
    heavy, kernel, bias = args
    return (a**2 * heavy.reshape(n, m).T).sum(-1) + by(kernel) + bias
  if name == "reduced_quadratic":
    kernel, bias, u, c = args
    return (by(kernel) + bias) * (by(u) + c)
  if name == "low_rank_quadratic":
    v, s, kernel, bias = args
    return sum(s[r] * by(v[..., r, :]) ** 2 for r in range(RANK)) + by(kernel) + bias
  q, kernel, bias = args
  i, j = np.triu_indices(n)
  products = np.where(i == j, 1, 2) * a[..., i] * a[..., j]
  return (products * q.T).sum(-1) + by(kernel) + bias


def patches(x, size, strides, pads, input_dilation, kernel_dilation, groups):
  """x [B, *image, c] -> (p [B, places, g, n], places), place by place and entry by entry."""
  image, axes = x.shape[1:-1], range(len(size))
  reach = [(image[a] - 1) * input_dilation[a] + 1 + sum(pads[a]) for a in axes]
  places = [(reach[a] - (size[a] - 1) * kernel_dilation[a] - 1) // strides[a] + 1 for a in axes]
  pixels = []  # of each place, one for each offset; the last of all is the padding's zero
  for place in itertools.product(*map(range, places)):
    for offset in itertools.product(*map(range, size)):
      at = [place[a] * strides[a] + offset[a] * kernel_dilation[a] - pads[a][0] for a in axes]
      there = all(
        at[a] % input_dilation[a] == 0 and 0 <= at[a] < image[a] * input_dilation[a] for a in axes
      )
      entry = [at[a] // input_dilation[a] for a in axes]
      pixels.append(np.ravel_multi_index(entry, image) if there else -1)
  x = jnp.pad(x.reshape(len(x), -1, x.shape[-1]), ((0, 0), (0, 1), (0, 0)))
  p = x[:, np.array(pixels)].reshape(len(x), math.prod(places), math.prod(size), groups, -1)
  return p.swapaxes(2, 3).reshape(*p.shape[:2], groups, -1), tuple(places)


def arguments(name, image, size, batch=2, c=4, m=4, groups=1, seed=0):
  rng = np.random.default_rng(seed)
  n = math.prod(size) * c // groups
  kernel, vector = (*size, c // groups, m), (m,)
  shapes = {
    "affine": (kernel, vector),
    "heavy": (kernel, kernel, vector),
    "reduced_quadratic": (kernel, vector, kernel, vector),
    "low_rank_quadratic": ((*kernel[:-1], RANK, m), (RANK, m), kernel, vector),
    "quadratic": ((ops.packed_size(n), m), kernel, vector),
  }
  return [rng.normal(size=shape) for shape in ((batch, *image, c), *shapes[name])]


def op_of(name, size, **options):
  more = {"kernel_size": size} if name == "quadratic" else {}
  return functools.partial(getattr(ops, f"{name}_conv"), **more | options)


def single(args):
  return [jnp.asarray(a, jnp.float32) for a in args]


# image, window, strides, padding, the pads that it is, dilations of inputs and kernel, groups
WINDOWS = {
  "series": ((7,), (2,), (2,), ((2, 1),), ((2, 1),), (2,), (3,), 2),
  "image": ((4, 5), (3, 2), (1, 1), "SAME", ((1, 1), (0, 1)), (1, 1), (1, 1), 1),
  "strides": ((5, 4), (2, 2), (2, 3), "SAME", ((0, 1), (0, 1)), (1, 1), (1, 1), 1),
  "cut": ((5, 5), (2, 1), (1, 1), ((-1, 2), (0, -2)), ((-1, 2), (0, -2)), (1, 1), (1, 1), 1),
  "a group a channel": ((3, 3), (2, 2), (1, 1), "VALID", ((0, 0), (0, 0)), (1, 1), (1, 1), 4),
  "volume": ((2, 3, 2), (2, 2, 1), (1, 1, 1), "VALID", ((0, 0),) * 3, (1,) * 3, (1,) * 3, 2),
}


@every_op
@pytest.mark.parametrize("window", WINDOWS)
def test_value_and_gradients_are_the_patch_sums(name, window, x64):
  image, size, strides, padding, pads, input_dilation, kernel_dilation, groups = WINDOWS[window]
  args = arguments(name, image, size, groups=groups)

  def reference(x, *params):
    p, places = patches(x, size, strides, pads, input_dilation, kernel_dilation, groups)
    return plain(name, p, params).reshape(len(x), *places, -1)

  dilations = {"input_dilation": input_dilation, "kernel_dilation": kernel_dilation}
  options = {"strides": strides, "padding": padding, "feature_group_count": groups, **dilations}

  def value_and_gradients(f, *args):
    z, pullback = jax.vjp(f, *args)
    return z, pullback(jnp.cos(z))

  forms = [reference]
  forms += [op_of(name, size, derivative=which, **options) for which in ("closed_form", "autodiff")]
  expected, *found = jax.jit(lambda *args: [value_and_gradients(f, *args) for f in forms])(*args)
  assert expected[0].dtype == jnp.float64
  near = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
  for ours in found:
    jax.tree.map(near, ours, expected)


@every_op
def test_steps_of_images_change_nothing(name, x64):
  """Seven images, six at a time at most, and one of more patches than are taken at once."""
  for image, batch, c in (((13, 13), 7, 8), ((36, 36), 2, 8)):
    args = arguments(name, image, (3, 3), batch=batch, c=c, m=32)
    found = []
    for derivative in ("closed_form", "autodiff"):
      op = op_of(name, (3, 3), derivative=derivative)
      z, pullback = jax.vjp(jax.jit(op), *args)
      found.append((z, pullback(jnp.cos(z))))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * abs(b).max()), *found
    )


@every_op
def test_gradients_are_the_numerical_ones_in_both_orders(name, x64):
  args = arguments(name, (3, 2), (2, 2), batch=1, c=2, m=2)
  check_grads(jax.jit(op_of(name, (2, 2))), args, order=2, modes=["rev"])


@every_op
def test_jit_vmap_scan_and_a_fleet_change_nothing(name):
  args = single(arguments(name, (4, 3), (2, 2)))
  op = op_of(name, (2, 2), padding="VALID")
  loss = lambda *args: jnp.sin(op(*args)).sum()
  gradient = jax.grad(loss, tuple(range(len(args))))
  expected = jax.jit(gradient)(*args)
  near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
  x, *params = args
  rows = jax.vmap(lambda row: op(row[None], *params)[0])(x)
  near(rows, op(*args))
  by_scan = lambda *args: jax.lax.scan(lambda c, row: (c, op(row[None], *args[1:])), 0, args[0])[1]
  near(jax.jit(by_scan)(*args)[:, 0], rows)
  fleet = [jnp.stack([a, a / 2]) for a in args]
  together = jax.jit(jax.vmap(gradient))(*fleet)
  jax.tree.map(lambda many, one: near(many[0], one), together, expected)
  jax.tree.map(near, gradient(*args), expected)


@every_op
def test_dtypes(name):
  op = op_of(name, (2, 2))
  args = single(arguments(name, (3, 3), (2, 2)))
  half = [a.astype(jnp.bfloat16) for a in args]
  z = op(*half)
  assert z.dtype == jnp.bfloat16
  truth = np.asarray(op(*(a.astype(jnp.float32) for a in half)))
  np.testing.assert_allclose(z.astype(jnp.float32), truth, atol=0.03 * np.abs(truth).max())
  loss = lambda *args: jnp.sin(op(*args)).astype(jnp.float32).sum()
  for gradient in jax.jit(jax.grad(loss, tuple(range(len(args)))))(*half):
    assert gradient.dtype == jnp.bfloat16 and jnp.isfinite(gradient).all()
  x, *params = args
  assert op(x.astype(jnp.bfloat16), *params).dtype == jnp.float32
  whole = jnp.round(3 * x).astype(jnp.int32)
  np.testing.assert_array_equal(op(whole, *params), op(whole.astype(jnp.float32), *params))


@every_op
def test_an_empty_batch_has_zero_gradients(name):
  args = single(arguments(name, (3, 3), (2, 2), batch=0))
  op = op_of(name, (2, 2))
  loss = lambda *args: jnp.sin(op(*args)).sum()
  assert op(*args).shape == (0, 3, 3, 4)
  for gradient, given in zip(jax.grad(loss, tuple(range(len(args))))(*args), args, strict=True):
    assert gradient.shape == given.shape and not gradient.any()


# Of the arrays that the caller has, the first that does not fit.
WRONG_CHANNELS = {name: "x has 6 channels, but kernel is for 4$" for name in NAMES}
WRONG_CHANNELS["heavy"] = "x has 6 channels, but heavy_kernel is for 4$"
WRONG_CHANNELS["low_rank_quadratic"] = "x has 6 channels, but v is for 4$"


@pytest.mark.fast
@every_op
def test_what_does_not_fit_is_named(name):
  op, (x, *params) = op_of(name, (2, 2)), single(arguments(name, (3, 3), (2, 2)))
  told = f"^{name}_conv: "
  with pytest.raises(InputError, match=told + r"x must be|^.* x \[B, \*image, c\]"):
    op(x[0, 0], *params)
  with pytest.raises(InputError, match=told + WRONG_CHANNELS[name]):
    op(jnp.ones((2, 3, 3, 6)), *params)
  with pytest.raises(InputError, match=told + r"bias has shape \(5,\), but \(4,\) is needed"):
    at = 1 if name == "reduced_quadratic" else len(params) - 1
    op(x, *params[:at], jnp.ones(5), *params[at + 1 :])
  with pytest.raises(InputError, match=told + "feature_group_count must divide .* 4 and 4, got 3"):
    op(x, *params, feature_group_count=3)
  with pytest.raises(InputError, match=told + "strides must be a whole .* 2 axes, got 0"):
    op(x, *params, strides=0)
  for option in ("strides", "input_dilation", "kernel_dilation"):
    for wrong in (1.5, (1.5, 1), True, "a", None, (1, 1, 1)):
      with pytest.raises(InputError, match=told + f"{option} must be a whole number of at least 1"):
        op(x, *params, **{option: wrong})
  for wrong in (None, 1.0, True, 0):
    with pytest.raises(InputError, match=told + "feature_group_count must be a whole .* got"):
      op(x, *params, feature_group_count=wrong)
  with pytest.raises(TypeError, match=f"^{name}_conv has no option 'padings'; it takes strides, "):
    op(x, *params, padings="VALID")
  for padding in ("CIRCULAR", 1, None, (1, 1), ((1, 1),), ((1, 1), (0.5, 1))):
    with pytest.raises(InputError, match=told + "padding must be 'SAME', .* 2 axes, got "):
      op(x, *params, padding=padding)
  with pytest.raises(InputError, match=told + "derivative must be one of"):
    op(x, *params, derivative="none")


@pytest.mark.fast
def test_window_sizes_that_do_not_fit_are_named():
  x, q, *_ = single(arguments("quadratic", (3, 3), (2, 2)))
  for size in (2, None, (2,)):
    with pytest.raises(InputError, match="^quadratic_conv: kernel_size must be one .* 2 axes"):
      ops.quadratic_conv(x, q, None, None, kernel_size=size)
  for size in ((2, 2.5), (2, 0), (True, 2), "ab"):
    with pytest.raises(InputError, match="^quadratic_conv: kernel_size must be a whole number"):
      ops.quadratic_conv(x, q, None, None, kernel_size=size)
  for name in ("affine", "heavy", "low_rank_quadratic"):
    x, *params = single(arguments(name, (3, 3), (2,)))
    with pytest.raises(InputError, match="needs a window of 2 axes, but that of .* has 1$"):
      op_of(name, (2,))(x, *params)
