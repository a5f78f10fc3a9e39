"""The same cases for `nnx.Conv` and for every convolution of ours: arguments and the call."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from convs_in_the_place import (
  LAYERS,
  OWN,
  close,
  each_of_ours,
  every_conv,
  images,
  make,
  named,
  of_conv,
  random,
)
from flax import nnx
from in_the_place import input_gradient, run

import qnn_jax

# Arguments.

ARGUMENTS = {
  "series": ((3,), {}),
  "a number for the window": (3, {"strides": 2}),
  "causal": ((3,), {"padding": "CAUSAL", "kernel_dilation": 2}),
  "image": ((3, 2), {}),
  "no bias": ((3, 2), {"use_bias": False}),
  "valid, strides": ((3, 2), {"padding": "VALID", "strides": (2, 1)}),
  "circular": ((3, 2), {"padding": "CIRCULAR", "kernel_dilation": (1, 2)}),
  "reflect": ((3, 2), {"padding": "REFLECT", "strides": 2}),
  "a number for padding": ((3, 2), {"padding": 1}),
  "numbers for padding": ((3, 2), {"padding": (1, 0)}),
  "pairs for padding": ((3, 2), {"padding": ((2, 0), (0, 1)), "input_dilation": (2, 1)}),
  "none for one": ((3, 2), {"strides": None, "input_dilation": None, "kernel_dilation": None}),
  "groups": ((3, 2), {"feature_group_count": 2}),
  "mask": ((3, 2), {"mask": jnp.tril(jnp.ones((3, 2, 4, 6)))}),
  "volume": ((2, 1, 2), {}),
}


@every_conv
@pytest.mark.parametrize("case", ARGUMENTS)
def test_the_state_of_a_conv_carries_over_to_the_last_bit(layer, case):
  size, arguments = ARGUMENTS[case]
  module, conv = of_conv(layer, size, **arguments)
  image = (4, 5, 3)[: len(conv.kernel_size)]
  x = images(2, image=image)
  ours, theirs = (run(*nnx.split(which), x) for which in (module, conv))
  np.testing.assert_array_equal(ours, theirs)
  assert isinstance(module, nnx.Conv) and module.kernel_size == conv.kernel_size
  close(input_gradient(*nnx.split(module), x), input_gradient(*nnx.split(conv), x))


@every_conv
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)], ids=str)
def test_one_image_and_several_batch_axes(layer, batch):
  module = random(layer)
  x = images(*batch)
  z = jax.jit(module)(x)
  assert z.shape == (*batch, 5, 4, 6)
  rows = [module(row) for row in x.reshape(-1, 5, 4, 4)] if 0 not in batch else []
  if rows:
    close(z, jnp.stack(rows).reshape(z.shape), rtol=1e-4, atol=1e-4)


def test_each_place_is_the_linear_layer_on_its_patch():
  """A window that covers the image, without padding: the linear layer of the same parameters."""
  kinds = {
    qnn_jax.QuadraticConv: qnn_jax.QuadraticLinear,
    qnn_jax.ReducedQuadraticConv: qnn_jax.ReducedQuadraticLinear,
    qnn_jax.HeavyConv: qnn_jax.HeavyLinear,
    qnn_jax.LowRankQuadraticConv: qnn_jax.LowRankQuadraticLinear,
  }
  assert {*kinds} == {*LAYERS} - {nnx.Conv}
  for kind, linear_kind in kinds.items():
    conv, x = random(kind, (3, 2), padding="VALID"), images(2, image=(3, 2))
    linear = linear_kind(24, 6, rngs=nnx.Rngs(0))
    for name in ("kernel", "bias", *OWN[kind]):
      param = getattr(linear, name)
      param[...] = getattr(conv, name)[...].reshape(param.shape)
    close(conv(x)[:, 0, 0], linear(x.reshape(2, -1)), rtol=1e-4, atol=1e-4)


@each_of_ours
def test_a_mask_hides_inputs_from_the_quadratic_part_too(layer):
  """Neuron k of the masked layer does not move with what its mask hides, and moves with the rest."""
  mask = np.ones((3, 2, 4, 6), bool)
  mask[1, 1, :2] = False  # of every neuron
  module = random(layer, mask=jnp.asarray(mask), padding="VALID")
  x = images(1, image=(3, 2))
  slope = jax.jacrev(lambda x: module(x)[0, 0, 0])(x)[:, 0]  # [m, 3, 2, c]
  hidden = ~np.moveaxis(mask, -1, 0)
  assert (slope[hidden] == 0).all() and (slope[~hidden] != 0).all()


@each_of_ours
def test_groups_see_their_channels_alone(layer):
  module = random(layer, feature_group_count=2)
  x = images(2)
  other = x.at[..., 2:].set(0)
  z, z_other = module(x), module(other)
  np.testing.assert_array_equal(z[..., :3], z_other[..., :3])
  assert (z[..., 3:] != z_other[..., 3:]).any()


@every_conv
@pytest.mark.parametrize(
  "dtype, param_dtype, preferred",
  [
    (None, jnp.float32, None),
    (None, jnp.bfloat16, jnp.float32),
    (jnp.float16, jnp.float32, None),
    (jnp.bfloat16, jnp.float32, jnp.float32),
  ],
  ids=named,
)
def test_dtypes_and_precision(layer, dtype, param_dtype, preferred):
  arguments = {
    "dtype": dtype,
    "param_dtype": param_dtype,
    "preferred_element_type": preferred,
    "precision": "highest" if preferred else None,
  }
  module, conv = of_conv(layer, **arguments)
  assert all(leaf.dtype == param_dtype for leaf in jax.tree.leaves(nnx.state(module)))
  x = images(2, dtype=jnp.bfloat16)
  ours, theirs = run(*nnx.split(module), x), run(*nnx.split(conv), x)
  assert ours.dtype == theirs.dtype
  np.testing.assert_array_equal(ours, theirs)
  ours, theirs = (input_gradient(*nnx.split(which), x) for which in (module, conv))
  assert ours.dtype == theirs.dtype
  close(*(a.astype(jnp.float32) for a in (ours, theirs)), rtol=0.02, atol=0.02)


@every_conv
def test_precision_reaches_every_product(layer):
  """All products of the program ask for it, forward and backward."""

  def program(precision):
    graphdef, params = nnx.split(random(layer, precision=precision))
    value = lambda params, x: nnx.merge(graphdef, params)(x).sum()
    return str(jax.make_jaxpr(jax.grad(value, (0, 1)))(params, images(2)))

  default, highest = program(None), program("highest")
  count = lambda text: text.count("dot_general[") + text.count("conv_general_dilated[")
  assert count(highest) == count(default) >= 2
  assert highest.count("precision=(Precision.HIGHEST") == count(highest)
  assert "Precision" not in default


@every_conv
def test_starts_metadata_and_attributes(layer):
  half = jax.nn.initializers.constant(0.5)
  names = ("kernel", "bias", *OWN[layer])
  starts = dict.fromkeys(["kernel_init", "bias_init", *OWN[layer].values()], half)
  metadata = {f"{name}_metadata": {"note": name} for name in names}
  module = make(layer, use_bias=True, **starts, **metadata)
  for name in names:
    param = getattr(module, name)
    assert (param[...] == 0.5).all() and param.note == name
  assert isinstance(module, nnx.Conv) and (module.in_features, module.out_features) == (4, 6)
  assert all(f"{name}=" in repr(module) for name in names)
  other = make(layer, **dict.fromkeys(starts, jax.nn.initializers.ones), **metadata)
  assert nnx.graphdef(module) == nnx.graphdef(other)


SHAPES = {
  qnn_jax.QuadraticConv: {"q": (300, 6)},
  qnn_jax.ReducedQuadraticConv: {"u": (3, 2, 4, 6), "c": (6,)},
  qnn_jax.HeavyConv: {"heavy_kernel": (3, 2, 4, 6)},
  qnn_jax.LowRankQuadraticConv: {"v": (3, 2, 4, 4, 6), "s": (4, 6)},
}


@pytest.mark.fast
@each_of_ours
def test_parameters_and_keys(layer):
  """nnx.Conv's keys, further ones folded out of the kernel's; quadratic ones are told apart by type."""
  rngs, conv_rngs, keys = nnx.Rngs(3), nnx.Rngs(3), []

  def noting(key, shape, dtype):
    keys.append(jax.random.key_data(key))
    return jnp.zeros(shape, dtype)

  module = layer(4, 6, (3, 2), rngs=rngs, **dict.fromkeys(OWN[layer].values(), noting))
  conv = nnx.Conv(4, 6, (3, 2), rngs=conv_rngs)
  assert {name: getattr(module, name).shape for name in OWN[layer]} == SHAPES[layer]
  for name in OWN[layer]:
    assert isinstance(getattr(module, name), qnn_jax.layers.QuadraticParam) == (name != "c")
  np.testing.assert_array_equal(module.kernel[...], conv.kernel[...])
  after = [jax.random.key_data(which.params()) for which in (rngs, conv_rngs)]
  np.testing.assert_array_equal(*after)
  kernel_key = nnx.Rngs(3).params()
  folded = [jax.random.key_data(jax.random.fold_in(kernel_key, i)) for i in (1, 2)]
  assert keys
  for found, expected in zip(keys, folded):
    np.testing.assert_array_equal(found, expected)


@each_of_ours
def test_curvature_is_learned_from_the_default_start(layer):
  """Of the layer of low rank the first step moves s alone, the second v too."""
  module, x = make(layer), images(2)
  gradient = nnx.grad(lambda module, x: module(x).sum())
  first = gradient(module, x)
  nnx.update(module, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(module), first))
  assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient(module, x)))


@every_conv
@pytest.mark.parametrize("use_bias", [True, False])
def test_promote_dtype_is_called_as_flax_calls_it(layer, use_bias):
  calls = []

  def promote(arrays, dtype=None):
    calls.append(([a if a is None else a.shape for a in arrays], dtype))
    return tuple(a if a is None else a.astype(jnp.bfloat16) for a in arrays)

  module = make(layer, use_bias=use_bias, promote_dtype=promote, dtype=jnp.float16)
  assert module(images(2)).dtype == jnp.bfloat16
  shapes = [(2, 5, 4, 4), (3, 2, 4, 6), (6,) if use_bias else None]
  assert calls == [(shapes, jnp.float16)]


def doubling(x, kernel, *arguments, **options):
  """The convolution, with a gradient that is not its own: twice as long on its kernel."""

  @jax.custom_vjp
  def twice(kernel):
    return kernel

  twice.defvjp(lambda kernel: (kernel, None), lambda _, delta: (2 * delta,))
  return jax.lax.conv_general_dilated(x, twice(kernel), *arguments, **options)


@every_conv
def test_a_convolution_of_the_user_s_is_used_and_differentiated_as_it_is(layer):
  plain, other = random(layer), random(layer, conv_general_dilated=doubling)
  x = images(2)
  close(other(x), plain(x), rtol=1e-4, atol=1e-4)
  gradient = nnx.grad(lambda module: jnp.sin(module(x)).sum())
  ours, theirs = gradient(other), gradient(plain)
  for name in ("kernel", "bias", *OWN[layer]):
    factor = 2 if name == "kernel" else 1
    close(ours[name][...], factor * theirs[name][...], rtol=1e-3, atol=1e-3)


@every_conv
def test_a_convolution_of_the_user_s_gets_the_arguments_that_flax_gives_it(layer):
  calls = []

  def noting(x, kernel, strides, padding, **options):
    told = options | {"dimension_numbers": tuple(options["dimension_numbers"])}
    calls.append((x.shape, kernel.shape, strides, padding, told))
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

  for which in (layer, nnx.Conv):
    for more in ({}, {"precision": "high", "preferred_element_type": jnp.float32}):
      make(which, conv_general_dilated=noting, padding="CIRCULAR", strides=2, **more)(images(2))
  assert calls[:2] == calls[2:]


@each_of_ours  # nnx.Conv's own signature is what is compared with
def test_no_argument_of_nnx_conv_is_missing(layer):
  parameters = inspect.signature(nnx.Conv.__init__).parameters
  empty = inspect.Parameter.empty
  defaults = {name: p.default for name, p in parameters.items() if p.default is not empty}
  module, conv = make(layer, **defaults), make(nnx.Conv)
  np.testing.assert_array_equal(module.kernel[...], conv.kernel[...])
  assert list(inspect.signature(layer.__call__).parameters) == ["self", "inputs", "out_sharding"]
  ours = list(inspect.signature(vars(layer)["__init__"]).parameters)
  assert ours[:5] == list(parameters)[:5]


# The call.


@every_conv
def test_inputs_by_name_and_integers(layer):
  module = random(layer)
  x = jnp.arange(2 * 20 * 4).reshape(2, 5, 4, 4) % 5
  z = module(inputs=x, out_sharding=None)
  np.testing.assert_array_equal(z, module(x.astype(jnp.float32)))
  np.testing.assert_array_equal(module(np.asarray(x)), z)
