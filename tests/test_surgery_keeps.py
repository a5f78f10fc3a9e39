"""replace: what an exchanged layer keeps, and models that are stacked, traced or abstract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from in_the_place import OURS, doubling_dot_general, inputs, named

import qnn_jax
from qnn_jax import AffineLinear, HeavyLinear, LowRankQuadraticLinear, QuadraticLinear
from qnn_jax.layers import QuadraticParam

N, M, DEPTH = 4, 3, 5
outputs = nnx.jit(lambda model, x: model(x))


def sequence(*layers):
  return nnx.Sequential(*layers, nnx.tanh)


def trained(**arguments):
  normal = jax.nn.initializers.normal(1.0)
  return nnx.Linear(N, M, bias_init=normal, rngs=nnx.Rngs(7), **arguments)


def own_of(layer):
  return {name: var for name, var in nnx.state(layer).items() if name not in ("kernel", "bias")}


CASES = {
  "as it is": {},
  "no bias": {"use_bias": False},
  "half": {"param_dtype": jnp.float16},
  "mixed": {"dtype": jnp.bfloat16, "preferred_element_type": jnp.float32},
  "precision": {"precision": "highest"},
  "own product": {"dot_general": doubling_dot_general},
  "own promotion": {"promote_dtype": lambda arrays, dtype: nnx.nn.dtypes.promote_dtype(arrays)},
}


# The arguments come from one place whatever the kind: each case with two of the kinds.
PAIRS = [(case, OURS[(i + j) % len(OURS)]) for i, case in enumerate(CASES) for j in (0, 2)]


@pytest.mark.parametrize("case, layer", PAIRS, ids=named)
def test_all_that_a_call_depends_on_is_kept_to_the_last_bit(case, layer):
  old = trained(**CASES[case])
  model, x = sequence(old), inputs(5)
  before = outputs(model, x)
  new = qnn_jax.replace(model, {"layers.0": layer})["layers.0"].new
  after = outputs(model, x)
  assert after.dtype == before.dtype
  np.testing.assert_array_equal(after, before)
  assert new.kernel is old.kernel and new.bias is old.bias
  for name in vars(old):
    if not name.startswith("_pytree__"):
      assert getattr(new, name) is getattr(old, name), name
  assert all(var.dtype == old.kernel.dtype for var in own_of(new).values())


@pytest.mark.fast
def test_parameters_that_were_cast_have_new_ones_of_their_dtype():
  old = trained()
  old.kernel.set_value(old.kernel[...].astype(jnp.bfloat16))
  model = sequence(old)
  new = qnn_jax.replace(model, {"*": "qnn"})["layers.0"].new
  assert new.q.dtype == jnp.bfloat16 and new.param_dtype == jnp.float32 == old.param_dtype
  wider = functools.partial(QuadraticLinear, param_dtype=jnp.float32)
  assert qnn_jax.replace(sequence(old), {"*": wider})["layers.0"].new.q.dtype == jnp.float32


def test_what_a_partial_names_is_taken_in_the_place_of_the_old_layer_s():
  kind = functools.partial(HeavyLinear, precision="highest")
  new = qnn_jax.replace(sequence(trained(precision="high")), {"*": kind})["layers.0"].new
  assert new.precision == "highest"


def test_types_metadata_and_attributes_of_the_user():
  class Frozen(nnx.Param):
    pass

  old = trained(bias_metadata={"note": "b"})
  old.kernel = Frozen(old.kernel[...], note="k")
  old.label = "the head"
  new = qnn_jax.replace(sequence(old), {"*": "rpqnn"})["layers.0"].new
  assert type(new.kernel) is Frozen and (new.kernel.note, new.bias.note) == ("k", "b")
  assert new.label == "the head"
  assert type(new.u) is QuadraticParam and type(new.c) is nnx.Param


OF_THE_USER = {
  "q": (nnx.Param(jnp.ones(7)), "qnn"),
  "cache": ("a note", "qnn"),
  "rank": (7, "lowrank"),
}


@pytest.mark.parametrize("name", OF_THE_USER)
def test_an_attribute_that_the_new_layer_has_itself_is_refused(name):
  value, kind = OF_THE_USER[name]
  model = sequence(trained(), trained())
  setattr(model.layers[1], name, value)
  before = nnx.graphdef(model)
  with pytest.raises(
    qnn_jax.InputError, match=f"^layers.1 has an attribute '{name}', and .*Linear"
  ):
    qnn_jax.replace(model, {"*": kind})
  assert nnx.graphdef(model) == before


def test_the_derivative_is_kept():
  old = AffineLinear(N, M, derivative="autodiff", rngs=nnx.Rngs(0))
  new = qnn_jax.replace(sequence(old), {"*": "qnn"})["layers.0"].new
  assert new.derivative == "autodiff" and jax.jacfwd(new)(jnp.ones(N)).shape == (M, N)
  chosen = functools.partial(QuadraticLinear, derivative="closed_form")
  assert qnn_jax.replace(sequence(old), {"*": chosen})["layers.0"].new.derivative == "closed_form"


def test_the_old_layer_is_as_it_was_and_a_clone_is_not_touched():
  model = sequence(trained())
  other, x = nnx.clone(model), inputs(5)
  old = qnn_jax.replace(model, {"*": "qnn"})["layers.0"].old
  assert type(old) is type(other.layers[0]) is nnx.Linear
  np.testing.assert_array_equal(old(x), other.layers[0](x))


def directions(seed, depth=1):
  model = sequence(*(nnx.Linear(N, N, rngs=nnx.Rngs(0)) for _ in range(depth)))
  rngs = None if seed is None else nnx.Rngs(seed)
  replaced = qnn_jax.replace(model, {"*": "lowrank:2"}, rngs=rngs)
  return [new.v[...] for _, new in replaced.values()]


def test_what_is_drawn_comes_from_rngs():
  np.testing.assert_array_equal(directions(None), directions(0))
  one, two = directions(0, 2)
  assert not (one == two).any() and not (one == directions(1)[0]).any()
  assert one.shape == (N, 2, N)


# Stacks.


@functools.partial(nnx.vmap, in_axes=0, out_axes=0)
def stack(key):
  return sequence(nnx.Linear(N, N, bias_init=jax.nn.initializers.normal(1.0), rngs=nnx.Rngs(key)))


KEYS = jax.random.split(jax.random.key(0), DEPTH)
side_by_side = nnx.jit(nnx.vmap(lambda model, x: model(x), in_axes=(0, None)))


@nnx.jit
def one_after_the_other(model, x):
  body = lambda x, layer: (layer(x), None)
  return nnx.scan(body, in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))(x, model)[0]


@pytest.mark.parametrize("layer", OURS, ids=named)
def test_a_stack_becomes_a_stack(layer):
  model, x = stack(KEYS), inputs(2)
  beside, behind = side_by_side(model, x), one_after_the_other(model, x)
  new = qnn_jax.replace(model, {"layers.0": layer})["layers.0"].new
  np.testing.assert_array_equal(side_by_side(model, x), beside)
  # A loop's body is a program of its own, which XLA may fuse otherwise.
  np.testing.assert_allclose(one_after_the_other(model, x), behind, rtol=1e-6, atol=1e-7)
  single = own_of(layer(N, N, rngs=nnx.Rngs(0)))
  assert {name: var.shape for name, var in own_of(new).items()} == {
    name: (DEPTH, *var.shape) for name, var in single.items()
  }


def test_every_layer_of_a_stack_draws_its_own():
  new = qnn_jax.replace(stack(KEYS), {"*": LowRankQuadraticLinear})["layers.0"].new
  assert len(np.unique(new.v[...].reshape(DEPTH, -1), axis=0)) == DEPTH


def test_a_stack_of_stacks():
  model = nnx.vmap(stack)(jax.random.split(jax.random.key(0), (2, 3)))
  assert qnn_jax.replace(model, {"*": "rpqnn"})["layers.0"].new.c.shape == (2, 3, N)


def test_a_stack_along_another_axis_is_refused():
  model = nnx.vmap(lambda key: sequence(nnx.Linear(N, M, rngs=nnx.Rngs(key))), out_axes=1)(KEYS)
  told = r"^layers.0 has a kernel of the shape \(4, 5, 3\), where one layer has \(4, 3\): only"
  with pytest.raises(qnn_jax.InputError, match=told):
    qnn_jax.replace(model, {"*": "qnn"})


# Traced and abstract models.


@pytest.mark.fast
def test_inside_a_jit():
  model, x = sequence(trained()), inputs(5)
  before, kernel = outputs(model, x), model.layers[0].kernel

  @nnx.jit
  def operate(model):
    qnn_jax.replace(model, {"*": "lowrank"})

  operate(model)
  assert type(model.layers[0]) is LowRankQuadraticLinear and model.layers[0].kernel is kernel
  np.testing.assert_array_equal(outputs(model, x), before)


@pytest.mark.fast
def test_an_abstract_model_has_the_form_of_the_real_one():
  make = lambda: sequence(trained(), nnx.Linear(M, M, rngs=nnx.Rngs(0)))
  kinds = {"layers.0": "qnn", "layers.1": "lowrank:2"}
  real, abstract = make(), nnx.eval_shape(make)
  qnn_jax.replace(real, kinds)
  qnn_jax.replace(abstract, kinds)
  assert nnx.graphdef(abstract) == nnx.graphdef(real)
  forms = lambda model: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.state(model))
  assert forms(abstract) == forms(real)
  assert all(
    isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(abstract))
  )


def test_numpy_weights():
  """As a checkpoint may bring them."""
  model = sequence(trained())
  before = outputs(model, inputs(5))
  nnx.update(model, jax.tree.map(np.asarray, nnx.state(model)))
  qnn_jax.replace(model, {"*": "qnn"})
  np.testing.assert_array_equal(outputs(model, inputs(5)), before)


# Training on.


def test_a_new_optimizer_trains_the_new_parameters():
  model, x = sequence(trained()), inputs(8)
  qnn_jax.replace(model, {"*": "lowrank"})
  optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)
  before = jax.tree.map(jnp.copy, own_of(model.layers[0]))
  loss = lambda model: ((model(x) - 1) ** 2).mean()
  first = loss(model)
  for _ in range(3):
    optimizer.update(model, nnx.grad(loss)(model))
  assert loss(model) < first
  for name, var in own_of(model.layers[0]).items():
    assert (var[...] != before[name][...]).any()
