"""The layer of low rank beside the full one: conversions, the start, and what trains to what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax import HeavyLinear, InputError, LowRankQuadraticLinear, QuadraticLinear, ops

pytestmark = pytest.mark.fast

NORMAL = jax.nn.initializers.normal(1.0)
X = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


def full(**arguments):
  return QuadraticLinear(5, 3, q_init=NORMAL, bias_init=NORMAL, rngs=nnx.Rngs(0), **arguments)


def test_a_full_layer_of_full_rank_is_the_same_function():
  layer = full()
  low = LowRankQuadraticLinear.from_quadratic(layer, 5)
  assert low.rank == 5 and low.v.shape == (5, 5, 3)
  np.testing.assert_allclose(low(X), layer(X), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(low.to_quadratic()(X), layer(X), rtol=1e-4, atol=1e-4)


def test_a_truncated_layer_differs_by_what_the_bound_allows():
  layer = full()
  low = LowRankQuadraticLinear.from_quadratic(layer, 2)
  eigenvalues = np.linalg.eigvalsh(ops.unpack(layer.q[...]))
  third = np.sort(abs(eigenvalues), -1)[:, -3]
  bound = third * (X**2).sum(-1)[:, None]
  gap = abs(low(X) - layer(X))
  assert (gap <= bound + 1e-4).all() and gap.max() > 1
  np.testing.assert_array_equal(low.kernel[...], layer.kernel[...])
  np.testing.assert_array_equal(low.bias[...], layer.bias[...])


@pytest.mark.parametrize("there", [True, False], ids=["to low rank", "to full"])
def test_a_conversion_keeps_all_that_a_call_depends_on(there):
  arguments = {
    "use_bias": False,
    "dtype": jnp.float32,
    "param_dtype": jnp.bfloat16,
    "precision": "highest",
    "preferred_element_type": jnp.float32,
    "derivative": "autodiff",
    "kernel_metadata": {"note": "mine"},
  }
  if there:
    layer = QuadraticLinear(5, 3, q_init=NORMAL, rngs=nnx.Rngs(0), **arguments)
    other = LowRankQuadraticLinear.from_quadratic(layer, 2)
  else:
    layer = LowRankQuadraticLinear(5, 3, s_init=NORMAL, rngs=nnx.Rngs(0), **arguments)
    other = layer.to_quadratic()
  for name in set(arguments) - {"kernel_metadata"}:
    assert getattr(other, name) == getattr(layer, name), name
  assert other.kernel.note == "mine" and other.bias is None
  assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(nnx.state(other)))


class Frozen(nnx.Param):
  pass


@pytest.mark.parametrize("there", [True, False], ids=["to low rank", "to full"])
def test_a_conversion_keeps_types_and_a_bias_that_was_taken_away(there):
  layer = full() if there else LowRankQuadraticLinear(5, 3, s_init=NORMAL, rngs=nnx.Rngs(0))
  layer.kernel = Frozen(layer.kernel[...], note="mine")
  layer.bias = None
  convert = lambda: (
    LowRankQuadraticLinear.from_quadratic(layer, 5) if there else layer.to_quadratic()
  )
  other = convert()
  assert type(other.kernel) is Frozen and other.kernel.note == "mine" and other.bias is None
  np.testing.assert_allclose(other(X), layer(X), rtol=1e-4, atol=1e-4)
  other.kernel[...] += 1  # a copy: the two learn each for itself
  np.testing.assert_array_equal(layer.kernel[...], convert().kernel[...])


def test_what_is_not_one_full_layer_is_not_converted():
  stack = lambda make: nnx.vmap(make)(jax.random.split(jax.random.key(0), 2))
  of_full = stack(lambda key: QuadraticLinear(5, 3, rngs=nnx.Rngs(key)))
  of_low = stack(lambda key: LowRankQuadraticLinear(5, 3, rngs=nnx.Rngs(key)))
  told = r"^this is a stack of layers, with a kernel of the shape \(2, 5, 3\): convert one of them"
  with pytest.raises(InputError, match=told):
    LowRankQuadraticLinear.from_quadratic(of_full, 2)
  with pytest.raises(InputError, match=told):
    of_low.to_quadratic()
  for other in (HeavyLinear(5, 3, rngs=nnx.Rngs(0)), nnx.Linear(5, 3, rngs=nnx.Rngs(0)), X):
    told = f"^from_quadratic needs a QuadraticLinear, got {type(other).__name__}$"
    with pytest.raises(InputError, match=told):
      LowRankQuadraticLinear.from_quadratic(other, 2)


def test_ranks_that_do_not_fit_are_refused():
  with pytest.raises(
    InputError, match="^to_low_rank: rank must be a whole number from 1 to n = 5, .* got 6$"
  ):
    LowRankQuadraticLinear.from_quadratic(full(), 6)
  for rank in (0, 2.5, True, "a", None):
    told = f"^LowRankQuadraticLinear: rank must be a whole number of at least 1, got {rank!r}$"
    with pytest.raises(InputError, match=told):
      LowRankQuadraticLinear(5, 3, rank, rngs=nnx.Rngs(0))


def test_directions_start_at_length_one_and_zeros_start_as_a_linear_layer():
  layer = LowRankQuadraticLinear(200, 30, 4, rngs=nnx.Rngs(0))
  v = np.asarray(layer.v[...])
  np.testing.assert_allclose((v**2).sum(0), 1, rtol=1e-5)
  assert abs(v.mean()) < 0.001 and not layer.s[...].any()
  # v^T x is of the size of x's entries.
  x = np.random.default_rng(1).normal(size=(50, 200))
  np.testing.assert_allclose(np.einsum("bi,irm->brm", x, v).std(), 1, rtol=0.05)


def test_a_layer_of_low_rank_learns_a_quadric_that_no_affine_layer_can():
  """The product of two inputs, rank two, from the default start by plain gradient descent."""
  x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
  y = x[:, :1] * x[:, 1:2]
  graphdef, start = nnx.split(LowRankQuadraticLinear(3, 1, 2, rngs=nnx.Rngs(0)))
  loss = lambda params: ((nnx.merge(graphdef, params)(x) - y) ** 2).mean()
  step = lambda params, _: (
    jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params)),
    None,
  )
  end, _ = jax.jit(lambda params: jax.lax.scan(step, params, length=1000))(start)
  assert loss(start) > 0.5 and loss(end) < 1e-3
