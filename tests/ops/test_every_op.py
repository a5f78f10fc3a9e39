"""What holds for every op: its equation, its derivative, any batch, any dtype, any transform."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from op_cases import CASES, arguments

from qnn_jax import InputError

BATCHES = [(), (3,), (2, 3), (0,), (2, 0, 3)]

every_op = pytest.mark.parametrize("name", CASES)


def float32(name, *args, **kwargs):
  return [jnp.asarray(a, jnp.float32) for a in arguments(name, *args, **kwargs)]


def loss(op):
  """A scalar with a different cotangent in every entry of z."""
  return lambda *args: jnp.sum(jnp.sin(op(*args)))


@pytest.mark.fast
@every_op
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_op_equals_its_reference_for_any_leading_axes(name, batch, x64):
  case = CASES[name]
  x, *params = arguments(name, batch)
  reference = functools.reduce(
    lambda f, _: jax.vmap(f, (0, *(None for _ in params))), batch, case.reference
  )
  z = case.op(x, *params)
  assert z.shape == (*batch, 2) and z.dtype == jnp.float64
  np.testing.assert_allclose(z, jax.jit(reference)(x, *params), rtol=1e-12, atol=1e-12)
  np.testing.assert_allclose(z, case.truth(x, *params), rtol=1e-12, atol=1e-12)


@every_op
@pytest.mark.parametrize("batch", [(0,), (2, 0, 3)], ids=str)
def test_an_empty_batch_has_zero_gradients(name, batch):
  args = float32(name, batch)
  gradients = jax.jit(jax.grad(loss(CASES[name].op), tuple(range(len(args)))))(*args)
  for gradient, argument in zip(gradients, args, strict=True):
    assert gradient.shape == argument.shape
    assert not gradient.any()


@pytest.mark.fast
@every_op
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_the_numerical_ones(name, order, x64):
  op = CASES[name].op
  x, *params = arguments(name, (2,))
  if name == "quadratic_full":
    # Along all of q only symmetric directions are differentiated: see test_quadratic.py.
    q, *params = params
    f = jax.jit(lambda x, kernel, bias: op(x, q, kernel, bias))
  else:
    f = jax.jit(op)
  check_grads(f, (x, *params), order=order, modes=["rev"])


@every_op
def test_gradients_of_a_batch_are_the_sum_over_its_samples(name, x64):
  op = CASES[name].op
  x, *params = arguments(name, (2, 3))
  argnums = tuple(range(1, 1 + len(params)))
  gradient = jax.jit(jax.grad(loss(op), argnums))
  rows = [gradient(row, *params) for row in x.reshape(6, -1)]
  for whole, *parts in zip(gradient(x, *params), *rows, strict=True):
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-12, atol=1e-12)


@every_op
def test_bfloat16_stays_bfloat16_and_close(name):
  case = CASES[name]
  args = [a.astype(jnp.bfloat16) for a in float32(name)]
  z = case.op(*args)
  assert z.dtype == jnp.bfloat16
  truth = case.truth(*(np.asarray(a, np.float64) for a in args))
  # A handful of roundings of 2^-8 in terms that may cancel.
  np.testing.assert_allclose(np.asarray(z, np.float64), truth, atol=0.03 * np.abs(truth).max())
  for gradient in jax.grad(loss(case.op), tuple(range(len(args))))(*args):
    assert gradient.dtype == jnp.bfloat16 and jnp.isfinite(gradient).all()


@every_op
def test_mixed_dtypes_are_computed_in_the_widest(name):
  op = CASES[name].op
  x, *params = float32(name)
  x = x.astype(jnp.bfloat16)
  z = op(x, *params)
  assert z.dtype == jnp.float32
  np.testing.assert_array_equal(z, op(x.astype(jnp.float32), *params))
  dx, dlast = jax.grad(loss(op), (0, len(params)))(x, *params)
  assert dx.dtype == jnp.bfloat16 and dlast.dtype == jnp.float32


@every_op
def test_integers_are_computed_in_float32(name):
  op = CASES[name].op
  x, *params = float32(name)
  x = jnp.round(3 * x).astype(jnp.int32)
  np.testing.assert_array_equal(op(x, *params), op(x.astype(jnp.float32), *params))
  everything = op(x, *(jnp.ones_like(p, jnp.int32) for p in params))
  assert everything.dtype == jnp.float32


@every_op
def test_jit_vmap_and_scan_change_nothing(name):
  op = CASES[name].op
  x, *params = float32(name)
  z = op(x, *params)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  close(jax.jit(op)(x, *params), z)
  close(jax.vmap(op, (0, *(None for _ in params)))(x, *params), z)
  close(jax.lax.scan(lambda carry, row: (carry, op(row, *params)), 0, x)[1], z)


@every_op
def test_a_fleet_of_parameters_equals_each_alone_gradients_included(name):
  op = CASES[name].op
  members = [float32(name, seed=seed) for seed in range(3)]
  gradient = jax.jit(jax.value_and_grad(loss(op), tuple(range(len(members[0])))))
  together = jax.vmap(gradient)(*(jnp.stack(column) for column in zip(*members, strict=True)))
  for i, member in enumerate(members):
    alone = jax.tree.leaves(gradient(*member))
    for fleet, single in zip(jax.tree.leaves(together), alone, strict=True):
      np.testing.assert_allclose(fleet[i], single, rtol=1e-4, atol=1e-4)


@every_op
@hypothesis.settings(deadline=None, max_examples=6, derandomize=True, database=None)
@hypothesis.given(
  batch=st.lists(st.integers(0, 3), max_size=2).map(tuple),
  n=st.integers(1, 4),
  m=st.integers(1, 3),
)
def test_any_shape(name, batch, n, m):
  case = CASES[name]
  args = arguments(name, batch, n, m)

  @jax.jit  # one compilation a shape, not one for every operation in it
  def value_and_gradients(*args):
    z, pullback = jax.vjp(case.op, *args)
    return z, pullback(z)

  z, gradients = value_and_gradients(*(jnp.asarray(a, jnp.float32) for a in args))
  assert z.shape == (*batch, m)
  np.testing.assert_allclose(z, case.truth(*args), rtol=1e-4, atol=1e-4)
  assert [g.shape for g in gradients] == [a.shape for a in args]


@pytest.mark.fast
@every_op
def test_shapes_that_do_not_fit_are_named(name):
  op = CASES[name].op
  x, *params = float32(name)
  for i, parameter in enumerate(CASES[name].shapes(3, 2)):
    wrong = list(params)
    wrong[i] = jnp.zeros((7, *params[i].shape))
    with pytest.raises(InputError) as error:
      op(x, *wrong)
    message = str(error.value)
    assert message.startswith(f"{name}: {parameter} has shape (7, ")
    assert f"{params[i].shape} is needed for x of shape (4, 3)" in message
  with pytest.raises(InputError, match=rf"^{name}: .* is needed for x of shape \(4, 5\)$"):
    op(jnp.zeros((4, 5)), *params)


@every_op
def test_scalars_are_refused(name):
  op = CASES[name].op
  x, *params = float32(name)
  with pytest.raises(InputError, match=rf"^{name}: x must be \[\.\.\., n\].* got a scalar$"):
    op(jnp.float32(1), *params)
  with pytest.raises(InputError, match=rf"^{name}: (bias|c) must have .* got a scalar$"):
    op(x, *(p if p.ndim > 1 else jnp.float32(1) for p in params))
