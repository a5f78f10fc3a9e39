"""The same cases for `nnx.Linear` and for every layer of ours: who takes a place must fit it.

The layers start with their quadratic part at zero, so that `nnx.Linear` itself is the truth that each
is held to, to the last bit where the program is one jit. Cases with a mesh of several devices:
tests/mesh.
"""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx

import qnn_jax
from qnn_jax import InputError

OURS = (
  qnn_jax.AffineLinear,
  qnn_jax.QuadraticLinear,
  qnn_jax.ReducedQuadraticLinear,
  qnn_jax.HeavyLinear,
)
LAYERS = (nnx.Linear, *OURS)
OWN = {  # the parameters beside kernel and bias, with their arguments
  nnx.Linear: {},
  qnn_jax.AffineLinear: {},
  qnn_jax.QuadraticLinear: {"q": "q_init"},
  qnn_jax.ReducedQuadraticLinear: {"u": "u_init", "c": "c_init"},
  qnn_jax.HeavyLinear: {"heavy_kernel": "heavy_init"},
}
SIZES = [(4, 3), (70, 33)]  # the second in tiles

named = lambda value: getattr(value, "__name__", str(value))
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=named)
each_of_ours = pytest.mark.parametrize("layer", OURS, ids=named)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def make(layer, n=4, m=3, seed=0, **arguments):
  return layer(n, m, rngs=nnx.Rngs(seed), **arguments)


def random(layer, n=4, m=3, seed=0, **arguments):
  """Every parameter drawn, so that nothing is hidden behind a zero."""
  normal = jax.nn.initializers.normal(0.3)
  starts = dict.fromkeys(["kernel_init", "bias_init", *OWN[layer].values()], normal)
  return make(layer, n, m, seed, **starts | arguments)


def inputs(*batch, n=4, dtype=jnp.float32, seed=1):
  return jax.random.normal(jax.random.key(seed), (*batch, n), dtype)


@functools.partial(jax.jit, static_argnums=0)
def run(graphdef, params, x):
  return nnx.merge(graphdef, params)(x)


@functools.partial(jax.jit, static_argnums=0)
def input_gradient(graphdef, params, x):
  return jax.grad(lambda x: nnx.merge(graphdef, params)(x).astype(jnp.float32).sum())(x)


def of_linear(layer, n, m, **arguments):
  """The layer with the parameters of an `nnx.Linear`, and that `nnx.Linear`."""
  normal = jax.nn.initializers.normal(1.0)
  linear = make(nnx.Linear, n, m, seed=7, bias_init=normal, **arguments)
  module = make(layer, n, m, **arguments)
  nnx.update(module, nnx.state(linear))
  return module, linear


# Arguments.


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)], ids=str)
def test_the_state_of_a_linear_carries_over_to_the_last_bit(layer, n, m, use_bias, batch):
  module, linear = of_linear(layer, n, m, use_bias=use_bias)
  x = inputs(*batch, n=n)
  np.testing.assert_array_equal(run(*nnx.split(module), x), run(*nnx.split(linear), x))
  close(input_gradient(*nnx.split(module), x), input_gradient(*nnx.split(linear), x))
  assert (module.bias is None) == (not use_bias)
  assert all(getattr(module, name) is not None for name in OWN[layer])


@every_layer
@pytest.mark.parametrize("dtype", [None, jnp.float32, jnp.float16, jnp.bfloat16], ids=named)
@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.float16, jnp.bfloat16], ids=named)
@pytest.mark.parametrize("preferred", [None, jnp.float32], ids=named)
def test_dtypes_and_precision(layer, dtype, param_dtype, preferred):
  arguments = {
    "dtype": dtype,
    "param_dtype": param_dtype,
    "preferred_element_type": preferred,
    "precision": "highest" if preferred else None,
  }
  module, linear = of_linear(layer, 4, 3, **arguments)
  assert all(leaf.dtype == param_dtype for leaf in jax.tree.leaves(nnx.state(module)))
  for given in (jnp.float32, jnp.bfloat16):
    x = inputs(5, dtype=given)
    ours, theirs = run(*nnx.split(module), x), run(*nnx.split(linear), x)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    ours, theirs = (input_gradient(*nnx.split(which), x) for which in (module, linear))
    assert ours.dtype == theirs.dtype
    close(*(a.astype(jnp.float32) for a in (ours, theirs)), rtol=0.02, atol=0.02)


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_precision_reaches_every_product(layer, n, m):
  """All products of the program ask for it, forward and backward."""

  def program(precision):
    graphdef, params = nnx.split(random(layer, n, m, precision=precision))
    value = lambda params, x: nnx.merge(graphdef, params)(x).sum()
    return str(jax.make_jaxpr(jax.grad(value, (0, 1)))(params, inputs(5, n=n)))

  default, highest = program(None), program("highest")
  products = highest.count("dot_general[")
  assert products == default.count("dot_general[") >= 2
  assert highest.count("precision=(Precision.HIGHEST") == products
  assert "Precision" not in default


@every_layer
def test_starts_are_the_user_s(layer):
  ones, zeros = jax.nn.initializers.ones, jax.nn.initializers.zeros
  module = make(layer, kernel_init=ones, bias_init=zeros)
  assert (module.kernel[...] == 1).all() and (module.bias[...] == 0).all()
  for name, argument in OWN[layer].items():
    module = make(layer, **{argument: jax.nn.initializers.constant(0.5)})
    assert (getattr(module, name)[...] == 0.5).all()


@every_layer
def test_modules_that_differ_in_their_starts_have_one_graph(layer):
  names = ["kernel_init", "bias_init", *OWN[layer].values()]
  ones, zeros = (getattr(jax.nn.initializers, name) for name in ("ones", "zeros"))
  one, other = (make(layer, **dict.fromkeys(names, init)) for init in (ones, zeros))
  assert nnx.graphdef(one) == nnx.graphdef(other)


@every_layer
def test_metadata_of_every_parameter(layer):
  names = ("kernel", "bias", *OWN[layer])
  given = {f"{name}_metadata": {"note": name} for name in names}
  module = make(layer, **given)
  assert {name: getattr(module, name).note for name in names} == {name: name for name in names}
  mesh = jax.make_mesh((1, 1), ("in", "out"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
  with jax.set_mesh(mesh):
    axes = {"bias": ("out",), "c": ("out",)}
    given = {f"{name}_metadata": {"out_sharding": axes.get(name, ("in", "out"))} for name in names}
    module = make(layer, **given)
  for name in names:
    assert getattr(module, name).out_sharding == axes.get(name, ("in", "out"))


@every_layer
def test_attributes_and_repr(layer):
  module = make(layer, use_bias=False, dtype=jnp.float32)
  assert (module.in_features, module.out_features, module.use_bias) == (4, 3, False)
  assert module.dtype == module.param_dtype == jnp.float32 and isinstance(module, nnx.Linear)
  text = repr(module)
  assert (
    text.startswith(f"{layer.__name__}(") and "in_features=4" in text and "use_bias=False" in text
  )
  assert all(f"{name}=" in text for name in OWN[layer])


@every_layer
@pytest.mark.parametrize("use_bias", [True, False])
def test_promote_dtype_is_called_as_flax_calls_it(layer, use_bias):
  calls = []

  def promote(arrays, dtype=None):
    calls.append(([a if a is None else a.shape for a in arrays], dtype))
    return tuple(a if a is None else a.astype(jnp.bfloat16) for a in arrays)

  module = make(layer, use_bias=use_bias, promote_dtype=promote, dtype=jnp.float16)
  assert module(inputs(5)).dtype == jnp.bfloat16
  assert calls == [([(5, 4), (4, 3), (3,) if use_bias else None], jnp.float16)]


def doubling_dot_general(x, kernel, dimensions, **options):
  """The product, with a gradient that is not the product's: twice as long on its kernel."""

  @jax.custom_vjp
  def twice(kernel):
    return kernel

  twice.defvjp(lambda kernel: (kernel, None), lambda _, delta: (2 * delta,))
  return jax.lax.dot_general(x, twice(kernel), dimensions, **options)


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_a_dot_general_is_used_and_differentiated_as_it_is(layer, n, m):
  plain, other = random(layer, n, m), random(layer, n, m, dot_general=doubling_dot_general)
  x = inputs(5, n=n)
  close(other(x), plain(x), rtol=1e-4, atol=1e-4)
  gradient = nnx.grad(lambda module: jnp.sin(module(x)).sum())
  ours, theirs = gradient(other), gradient(plain)
  for name in ("kernel", "bias", *OWN[layer]):
    factor = 2 if name == "kernel" else 1
    close(ours[name][...], factor * theirs[name][...], rtol=1e-3, atol=1e-3)


@every_layer
def test_a_dot_general_gets_the_arguments_that_flax_gives_it(layer):
  calls = []

  def noting(x, kernel, dimensions, **options):
    calls.append((x.shape, kernel.shape, dimensions, options))
    return jax.lax.dot_general(x, kernel, dimensions, **options)

  module = make(layer, dot_general=noting, precision="high", preferred_element_type=jnp.float32)
  module(inputs(2, 5))
  make(layer, dot_general=noting)(inputs(2, 5))
  dimensions = ((2,), (0,)), ((), ())
  usual = {"precision": None, "out_sharding": None}
  high = {"precision": "high", "out_sharding": None, "preferred_element_type": jnp.float32}
  assert calls == [((2, 5, 4), (4, 3), dimensions, options) for options in (high, usual)]


@each_of_ours  # nnx.Linear's own signature is what is compared with
def test_no_argument_of_nnx_linear_is_missing(layer):
  defaults = {
    name: parameter.default
    for name, parameter in inspect.signature(nnx.Linear.__init__).parameters.items()
    if parameter.default is not inspect.Parameter.empty
  }
  module, linear = make(layer, **defaults), make(nnx.Linear)
  np.testing.assert_array_equal(module.kernel[...], linear.kernel[...])
  assert list(inspect.signature(layer.__call__).parameters) == ["self", "inputs", "out_sharding"]


# The call.


@every_layer
def test_inputs_by_name_and_integers(layer):
  module = make(layer)
  x = jnp.arange(8).reshape(2, 4)
  z = module(inputs=x, out_sharding=None)
  np.testing.assert_array_equal(z, module(x.astype(jnp.float32)))
  np.testing.assert_array_equal(module(np.asarray(x)), z)


@every_layer
def test_complex_numbers(layer):
  module = random(layer, param_dtype=jnp.complex64)
  x = inputs(5).astype(jnp.complex64) * (1 + 2j)
  assert module(x).dtype == jnp.complex64
  by_hand = x @ module.kernel[...]
  if layer in (nnx.Linear, qnn_jax.AffineLinear):
    close(module(x), by_hand + module.bias[...])
  gradient = jax.grad(lambda x: module(x).sum(), holomorphic=True)(x)
  autodiff = random(layer, param_dtype=jnp.complex64)
  if layer is not nnx.Linear:
    autodiff.derivative = "autodiff"
  close(gradient, jax.grad(lambda x: autodiff(x).sum(), holomorphic=True)(x))


# Numbers.


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
@pytest.mark.parametrize(
  "dtype, largest", [(jnp.float16, 6e4), (jnp.bfloat16, 1e19), (jnp.float32, 1e19)], ids=named
)
@pytest.mark.parametrize("dot_general", [jax.lax.dot_general, doubling_dot_general], ids=named)
def test_a_zero_quadratic_part_makes_no_infinity(layer, n, m, dtype, largest, dot_general):
  """Where the linear layer's outputs and input gradients are finite, they are the layer's."""
  module, linear = of_linear(layer, n, m, dtype=dtype, dot_general=dot_general)
  for size in (1.0, 300.0, largest):
    x = jnp.clip(inputs(6, n=n) * size, -largest, largest).astype(dtype)
    for get in (run, input_gradient):
      ours, theirs = (get(*nnx.split(which), x) for which in (module, linear))
      finite = jnp.isfinite(theirs)
      if layer is qnn_jax.ReducedQuadraticLinear and dot_general is doubling_dot_general:
        # The product of the two maps is JAX's there: where z is infinite, so is U's cotangent, and
        # infinity times its zero is not a number.
        finite &= jnp.isfinite(run(*nnx.split(linear), x)).all(-1, keepdims=True)
      assert finite.any()
      np.testing.assert_allclose(
        ours[finite].astype(jnp.float32), theirs[finite].astype(jnp.float32), rtol=0.02
      )


@each_of_ours  # for nnx.Linear there is nothing to learn to differ
def test_float16_squares_are_taken_in_float32(layer):
  """x = 300: x * x is 90,000, above float16's 65,504; the form that it is in need not be."""
  module = make(layer, 4, 3, dtype=jnp.float16, kernel_init=jax.nn.initializers.zeros)
  for name in OWN[layer]:
    parameter = getattr(module, name)
    parameter[...] = jnp.full(parameter.shape, 1e-3)
  x = jnp.full((2, 4), 300.0)
  expected = make(layer, 4, 3, kernel_init=jax.nn.initializers.zeros)
  nnx.update(expected, nnx.state(module))
  np.testing.assert_allclose(module(x).astype(jnp.float32), expected(x), rtol=2e-3)
  assert jnp.isfinite(input_gradient(*nnx.split(module), x)).all()


# An affine map has no such part, and the reduced layer multiplies.
@pytest.mark.parametrize("layer", [qnn_jax.QuadraticLinear, qnn_jax.HeavyLinear], ids=named)
@pytest.mark.parametrize(
  "arguments",
  [{}, {"derivative": "autodiff"}, {"dot_general": doubling_dot_general}],
  ids=["closed form", "autodiff", "dot_general"],
)
def test_a_sum_that_fits_float16_may_have_a_part_that_does_not(layer, arguments):
  """x^T Q x = 90,000, above float16's 65,504, and -60,000 from the kernel."""
  ones = jax.nn.initializers.ones
  kernel = jax.nn.initializers.constant(-200.0)
  start = {argument: ones for argument in OWN[layer].values()}
  module = make(layer, 1, 1, kernel_init=kernel, dtype=jnp.float16, **start, **arguments)
  np.testing.assert_allclose(module(jnp.array([300.0])), [30_000.0])


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32], ids=named)
@pytest.mark.parametrize("preferred", [None, jnp.float32], ids=named)
def test_strict_promotion_of_dtypes_and_ranks(layer, n, m, dtype, preferred):
  """Where JAX is told to convert nothing by itself, nnx.Linear works, and so do these."""
  use_bias = preferred is None or dtype == jnp.float32  # its own sum raises there
  module = random(layer, n, m, dtype=dtype, preferred_element_type=preferred, use_bias=use_bias)
  graphdef, params = nnx.split(module)
  x = inputs(5, n=n, dtype=dtype)
  f = lambda params, x: nnx.merge(graphdef, params)(x).sum()
  expected = jax.grad(f, (0, 1))(params, x)
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    found = jax.grad(f, (0, 1))(params, x)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@every_layer
def test_a_dot_general_with_a_dtype_of_its_own(layer):
  narrow = functools.partial(jax.lax.dot_general, preferred_element_type=jnp.bfloat16)
  module = random(layer, use_bias=False, dot_general=narrow)
  assert module(inputs(5)).dtype == jnp.bfloat16


@every_layer
def test_integers_of_a_promote_dtype(layer):
  """As quantised training has them: the sum is an integer then."""

  def promote(arrays, dtype=None):
    inputs, kernel, bias = arrays
    return inputs.astype(jnp.int8), kernel.astype(jnp.int8), bias.astype(jnp.int32)

  whole = jax.nn.initializers.constant(2.0)
  arguments = {"promote_dtype": promote, "preferred_element_type": jnp.int32}
  module = make(layer, kernel_init=whole, **arguments)
  z = module(jnp.ones((5, 4)))
  assert z.dtype == jnp.int32 and (z == 8).all()


# Transforms.


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_jit_vmap_scan_and_remat(layer, n, m):
  graphdef, params = nnx.split(random(layer, n, m))
  x = inputs(5, n=n)
  apply = lambda params, x: nnx.merge(graphdef, params)(x)
  near = functools.partial(close, rtol=1e-4, atol=1e-4)
  z = apply(params, x)
  near(jax.jit(apply)(params, x), z)
  near(jax.vmap(apply, (None, 0))(params, x), z)
  near(jax.lax.scan(lambda p, row: (p, apply(p, row)), params, x)[1], z)
  loss = lambda apply: jax.jit(jax.grad(lambda p, x: jnp.sin(apply(p, x)).sum(), (0, 1)))
  expected = loss(apply)(params, x)
  jax.tree.map(near, loss(jax.checkpoint(apply))(params, x), expected)
  saving = jax.checkpoint(apply, policy=jax.checkpoint_policies.dots_saveable)
  jax.tree.map(near, loss(saving)(params, x), expected)
  through_scan = lambda p, x: jax.lax.scan(lambda p, row: (p, apply(p, row)), p, x)[1]
  jax.tree.map(near, loss(through_scan)(params, x), expected)


@every_layer
def test_a_fleet_of_models_by_nnx_vmap(layer):
  @nnx.split_rngs(splits=3)
  @nnx.vmap
  def make_fleet(rngs):
    return layer(4, 3, rngs=rngs)

  fleet, x = make_fleet(nnx.Rngs(0)), inputs(5)
  z = nnx.vmap(lambda module, x: module(x), in_axes=(0, None))(fleet, x)
  assert z.shape == (3, 5, 3) and not jnp.allclose(z[0], z[1])
  graphdef, states = nnx.split(fleet)
  one = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[1], states))
  close(one(x), z[1])


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_second_derivatives(layer, n, m):
  """Forward over reverse, reverse over reverse and hessian, held to autodiff's."""
  graphdef, params = nnx.split(random(layer, n, m))
  derivatives = {} if layer is nnx.Linear else {"derivative": "autodiff"}
  plain = nnx.graphdef(random(layer, n, m, **derivatives))
  x, direction = inputs(n=n), inputs(n=n, seed=2)

  def second(graphdef):
    f = lambda params, x: jnp.sin(nnx.merge(graphdef, params)(x) / 10).sum()
    slope = lambda x: jax.grad(f, (0, 1))(params, x)
    forward = jax.jvp(slope, (x,), (direction,))[1]
    along = lambda x: jax.tree.reduce(jnp.add, jax.tree.map(lambda g: (g**2).sum(), slope(x)))
    return forward, jax.grad(along)(x), jax.hessian(f, 1)(params, x)

  found, expected = jax.jit(second, static_argnums=0)(graphdef), second(plain)
  near = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
  jax.tree.map(near, found, expected)


@each_of_ours  # nnx.Linear has JAX's derivative alone
@pytest.mark.parametrize("n, m", SIZES)
def test_both_derivatives_are_the_same_numbers(layer, n, m):
  x = inputs(2, 3, n=n)
  found = []
  for derivative in ("closed_form", "autodiff"):
    graphdef, params = nnx.split(random(layer, n, m, derivative=derivative))
    f = lambda params, x, graphdef=graphdef: nnx.merge(graphdef, params)(x)
    z, pullback = jax.jit(functools.partial(jax.vjp, f))(params, x)
    found.append((z, pullback(jnp.cos(z))))
  jax.tree.map(functools.partial(close, rtol=1e-3, atol=1e-3), *found)


@every_layer
def test_forward_mode(layer):
  """By autodiff; the closed form has JAX's own word for it, and nnx.Linear has no other mode."""
  derivatives = {} if layer is nnx.Linear else {"derivative": "autodiff"}
  module, x, direction = random(layer, **derivatives), inputs(5), inputs(5, seed=2)
  z, tangent = jax.jvp(module, (x,), (direction,))
  step = 1e-2
  difference = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
  close(tangent, difference, rtol=1e-2, atol=1e-3)
  close(jax.linearize(module, x)[1](direction), tangent)
  close(jnp.einsum("bkcn,cn->bk", jax.jacfwd(module)(x), direction), tangent, rtol=1e-4, atol=1e-4)
  if layer is not nnx.Linear:
    with pytest.raises(TypeError, match="forward-mode .* custom_vjp"):
      jax.jvp(random(layer), (x,), (direction,))


@every_layer
@pytest.mark.parametrize("n, m", SIZES)
def test_export_with_any_batch_size_and_for_every_platform(layer, n, m):
  graphdef, params = nnx.split(random(layer, n, m))
  leaves, tree = jax.tree.flatten(params)
  apply = lambda x, *leaves: nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))(x)
  (batch,) = jax.export.symbolic_shape("b")
  shapes = [jax.ShapeDtypeStruct((batch, n), jnp.float32)]
  shapes += [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
  exported = jax.export.export(jax.jit(apply), platforms=["cpu", "cuda", "tpu"])(*shapes)
  gradient = exported.vjp()
  assert exported.platforms == gradient.platforms == ("cpu", "cuda", "tpu")
  for rows in (1, 5, 130):
    x = inputs(rows, n=n)
    z, pullback = jax.vjp(apply, x, *leaves)
    near = functools.partial(close, rtol=1e-4, atol=1e-3)
    near(exported.call(x, *leaves), z)
    jax.tree.map(near, tuple(gradient.call(x, *leaves, z)), pullback(z))


@every_layer
def test_debug_nans_finds_none_in_a_step(layer):
  for n, m in SIZES:
    graphdef, params = nnx.split(make(layer, n, m))
    f = lambda params, x, graphdef=graphdef: (nnx.merge(graphdef, params)(x) ** 2).sum()
    with jax.debug_nans(True), jax.debug_infs(True):
      gradient = jax.grad(f, (0, 1))(params, inputs(5, n=n))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


# Checkpoints.


@every_layer
def test_a_checkpoint_brings_back_every_parameter(layer, tmp_path):
  module, x = random(layer), inputs(5)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "state", nnx.to_pure_dict(nnx.state(module)))
  other = make(layer, seed=9)
  with orbax.checkpoint.StandardCheckpointer() as checkpointer:
    restored = checkpointer.restore(tmp_path / "state", nnx.to_pure_dict(nnx.state(other)))
  state = nnx.state(other)
  nnx.replace_by_pure_dict(state, restored)
  nnx.update(other, state)
  np.testing.assert_array_equal(other(x), module(x))


# Whole networks with one layer exchanged.


class MLP(nnx.Module):
  """Three layers, the one at `place` of the class `layer`."""

  def __init__(self, layer, place, rngs):
    sizes = (6, 5, 4, 3)
    self.layers = nnx.List(
      (layer if i == place else nnx.Linear)(n, m, rngs=rngs)
      for i, (n, m) in enumerate(itertools.pairwise(sizes))
    )

  def __call__(self, x):
    for layer in self.layers[:-1]:
      x = nnx.relu(layer(x))
    return self.layers[-1](x)


class CNN(nnx.Module):
  """A convolution, normalisation, dropout and two layers, the one at `place` of the class `layer`."""

  def __init__(self, layer, place, rngs):
    self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.middle = (layer if place == 1 else nnx.Linear)(4 * 4 * 4, 33, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.last = (layer if place == 2 else nnx.Linear)(33, 3, rngs=rngs)

  def __call__(self, x):
    x = nnx.avg_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
    x = self.dropout(nnx.relu(self.middle(x.reshape(len(x), -1))))
    return self.last(x)


@each_of_ours  # an nnx.Linear in its own place is the network that it is compared with
@pytest.mark.parametrize("place", [1, 2], ids=["middle", "last"])
@pytest.mark.parametrize("network, shape", [(MLP, (5, 6)), (CNN, (5, 8, 8, 1))], ids=named)
def test_a_layer_exchanged_in_a_network_changes_nothing_else(layer, place, network, shape):
  x = jax.random.normal(jax.random.key(1), shape)
  ours, theirs = (network(which, place, nnx.Rngs(3)) for which in (layer, nnx.Linear))
  flat = lambda module: dict(nnx.to_flat_state(nnx.state(module, nnx.Param)))
  found, expected = flat(ours), flat(theirs)
  for path, variable in expected.items():
    np.testing.assert_array_equal(found[path][...], variable[...])
  assert {path[-1] for path in found.keys() - expected.keys()} == set(OWN[layer])
  # The dropout's and the normalisation's state is the same too: the whole forward pass is one.
  outputs = [nnx.jit(lambda module, x: module(x))(module, x) for module in (ours, theirs)]
  np.testing.assert_array_equal(*outputs)
  loss = lambda module, x: (module(x) ** 2).sum()
  gradients = [flat(nnx.jit(nnx.grad(loss))(module, x)) for module in (ours, theirs)]
  for path, variable in gradients[1].items():
    close(gradients[0][path][...], variable[...], rtol=1e-4, atol=1e-4)


# Bad input.


@each_of_ours  # nnx.Linear has Python's word for it
def test_an_argument_that_no_one_knows_is_named(layer):
  with pytest.raises(TypeError, match=f"^{layer.__name__} has no argument 'bias_int'; "):
    make(layer, bias_int=jax.nn.initializers.ones)


@each_of_ours  # nnx.Linear has one derivative
@pytest.mark.parametrize("derivative", ["autograd", None, 3], ids=str)
def test_a_derivative_that_does_not_exist_is_told_which_do(layer, derivative):
  told = f"^{layer.__name__}: derivative must be one of closed_form, autodiff, got "
  with pytest.raises(InputError, match=told):
    make(layer, derivative=derivative)


@each_of_ours  # nnx.Linear has JAX's word for it
def test_inputs_that_do_not_fit(layer):
  with pytest.raises(InputError, match=r"\(4, 3\) is needed for|is needed for x of shape \(2, 5\)"):
    make(layer)(jnp.ones((2, 5)))
