"""The same cases for `nnx.Linear` and for every layer of ours: arguments, the call, bad input."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from in_the_place import (
  OWN,
  SIZES,
  close,
  doubling_dot_general,
  each_of_ours,
  every_layer,
  input_gradient,
  inputs,
  make,
  named,
  of_linear,
  random,
  run,
)

import qnn_jax
from qnn_jax import InputError

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
    axes = {name: ("in", "out")[-getattr(module, name)[...].ndim :] for name in names}
    module = make(layer, **{f"{name}_metadata": {"out_sharding": axes[name]} for name in names})
  for name in names:
    assert getattr(module, name).out_sharding == axes[name]


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
