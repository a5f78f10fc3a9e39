"""Starts and orders: what a seed's number alone decides."""

import dataclasses
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.initializers import STARTS
from qnn_jax.training import _compile
from qnn_jax.training import fleet as fleet_module
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates, sample_order

FLEET = Fleet(tuple(Net(head, 3) for head in ("ann", "qnn", "rpqnn", "heavy", "lowrank")), 6, 2)


def lanes(seeds, **values):
  return [Lane(seed, **values) for seed in seeds]


def equal(ours, theirs):
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_start_is_the_same_in_any_company():
  together = init(FLEET, lanes((3, 0, 2)))
  # Other seeds beside it, and other nets, in another order.
  fewer = dataclasses.replace(FLEET, nets=(FLEET.nets[2], Net("qnn", 4), FLEET.nets[1]))
  rpqnn, _, qnn = init(fewer, lanes((2,)))
  for ours, theirs in ((rpqnn, together[2]), (qnn, together[1])):
    equal(ours, jax.tree.map(lambda leaf: leaf[2:], theirs))


@pytest.mark.parametrize("partitionable", (True, False))
def test_a_start_is_what_the_module_itself_draws(partitionable):
  """Whether a draw is the beginning of a longer one, as with JAX's default, or not."""
  with jax.threefry_partitionable(partitionable):
    assert_starts_are_what_the_modules_draw()


def assert_starts_are_what_the_modules_draw():
  # Each head and two hidden layers: draws are made together, a module makes its own.
  nets = (*FLEET.nets, Net("qnn", (3, 4)), Net("ann", 3, "heavy"))
  fleet = dataclasses.replace(FLEET, nets=nets)
  lane = Lane(7)
  for net, ours in zip(nets, init(fleet, [lane]), strict=True):
    key = jax.random.fold_in(jax.random.key(7), zlib.crc32(net.name.encode()))
    module = nnx.to_pure_dict(nnx.state(fleet.module(net, key, lane.param_init)))
    # Directions v [n, r, m] are of length one, not of the start's scale.
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(
        a[0], b, rtol=3e-7, atol=1e-7 if b.ndim == 3 else 1e-9
      ),
      ours,
      module,
    )


def test_no_two_nets_or_seeds_start_alike():
  starts = init(FLEET, lanes(range(3)))
  kernels = [p["layers"][0]["kernel"] for p in starts]
  assert {kernel.shape for kernel in kernels} == {(3, 6, 3)}
  numbers = np.concatenate([np.asarray(kernel).ravel() for kernel in kernels])
  assert np.unique(numbers).size > 0.95 * numbers.size


WIDE = Fleet((Net("qnn", 25), Net("rpqnn", 25), Net("heavy", 25)), 30, 20)


@pytest.mark.parametrize(
  "start, scale, low, high",
  (("symmetric", 0.01, -0.01, 0.01), ("positive", 0.01, 0.0, 0.01), ("symmetric", 0.3, -0.3, 0.3)),
)
def test_every_parameter_starts_in_its_range(start, scale, low, high):
  for params in init(WIDE, lanes(range(2), init=start, init_scale=scale)):
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    for leaf in jax.tree.leaves(params):
      edge = 0.2 * (high - low)
      assert low <= leaf.min() < low + edge and high - edge < leaf.max() < high


def test_a_normal_start():
  for params in init(WIDE, lanes(range(9), init="normal", init_scale=0.2)):
    kernel = params["layers"][0]["kernel"]
    assert kernel.std() == pytest.approx(0.2, rel=0.05)
    assert abs(kernel.mean()) < 0.01 and abs(kernel).max() > 0.5


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_a_scale_that_is_a_value_draws_the_bits_of_one_in_the_program(dtype):
  """Of every distribution, in a mixture of them."""
  with jax.enable_x64(dtype == "float64"):
    fleet = dataclasses.replace(WIDE, nets=(Net("qnn", 12),), dtype=dtype)
    mixed = [Lane(4, init=name) for name in STARTS]
    mixed += [Lane(4, init_scale=scale) for scale in (0.02, 0.005)]
    together = init(fleet, mixed)
    for i, lane in enumerate(mixed):

      def literal(seed, lane=lane):
        return fleet_module._init_lane(fleet, lane.init, seed, lane.init_scale)

      alone = _compile.jit(jax.vmap(literal), level=0)(jnp.asarray([lane.seed], jnp.uint32))
      equal(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], together), alone)


def test_a_start_compiles_once_a_distribution():
  fleet = dataclasses.replace(FLEET, in_features=5)
  before = fleet_module._init._cache_size()
  for name in ("positive", "normal"):
    for scale in (0.1, 0.2):
      init(fleet, [Lane(3, 0.1, name, scale), Lane(1, 0.2, name, 2 * scale)])
  init(fleet, [Lane(0, init="positive"), Lane(0, init="normal")])
  assert fleet_module._init._cache_size() - before == 2


def test_rates():
  lanes = [Lane(0, 0.5), Lane(0), Lane(7, 0.25)]
  np.testing.assert_array_equal(rates(FLEET, lanes), np.float32([0.5, 0.01, 0.25]), strict=True)


def test_an_unknown_start():
  with pytest.raises(
    InputError, match="unknown init 'cubic'; choose one of symmetric, positive, n"
  ):
    Lane(0, init="cubic")


def test_the_quadratic_start_is_the_mean_of_two_draws():
  q = np.asarray(init(WIDE, [Lane(0, init="positive")])[0]["layers"][1]["q"][0])
  rows, columns = np.triu_indices(25)
  diagonal, off = q[rows == columns], q[rows != columns]
  # (Q + Q^T) / 2: the mean of two draws off the diagonal, which is less spread.
  assert diagonal.std() == pytest.approx(0.01 / 12**0.5, rel=0.08)
  assert off.std() == pytest.approx(0.01 / 24**0.5, rel=0.04)
  assert off.mean() == pytest.approx(0.005, rel=0.04)


@pytest.mark.parametrize("size", (1, 7, 50))
def test_an_order_draws_without_repeats(size):
  orders = np.asarray(sample_order(range(4), size, 50, shared=False))
  assert orders.shape == (4, size)
  for order in orders:
    assert set(order) <= set(range(50)) and len(set(order)) == size


def test_seeds_draw_different_samples_in_different_orders():
  orders = np.asarray(sample_order(range(4), 50, 50, shared=False))
  assert len({tuple(order) for order in orders}) == 4
  assert not any((np.diff(order) > 0).all() for order in orders)
  assert len({frozenset(order[:20].tolist()) for order in orders}) == 4


def test_a_smaller_size_is_a_beginning_of_a_larger_one():
  large = sample_order(range(3), 50, 50, shared=False)
  np.testing.assert_array_equal(sample_order(range(3), 12, 50, shared=False), large[:, :12])


def test_an_order_is_the_same_in_any_company():
  together = sample_order((4, 0, 9), 20, 50, shared=False)
  np.testing.assert_array_equal(sample_order((9,), 20, 50, shared=False), together[2:])


def test_a_shared_order_is_that_of_seed_0():
  zero = sample_order((0,), 20, 50, shared=False)
  np.testing.assert_array_equal(
    sample_order((3, 1), 20, 50, shared=True), np.repeat(np.asarray(zero), 2, 0)
  )


def test_equal_seeds_have_equal_orders_drawn_once(monkeypatch):
  drawn, draw = [], fleet_module._draw_orders
  monkeypatch.setattr(
    fleet_module, "_draw_orders", lambda seeds, n: drawn.append(len(seeds)) or draw(seeds, n)
  )
  of = sample_order((6, 1, 6, 6, 1, 0), 20, 49, shared=False)
  assert drawn == [3]
  for i, seed in enumerate((6, 1, 6, 6, 1, 0)):
    np.testing.assert_array_equal(of[i], sample_order((seed,), 20, 49, shared=False)[0])


@pytest.mark.parametrize("size", (0, 51, -1))
def test_a_size_beyond_the_samples(size):
  with pytest.raises(InputError, match=f"must be 1 to 50, the number of samples, got {size}$"):
    sample_order((0,), size, 50, shared=False)


@pytest.mark.parametrize("nets", ((), (Net("ann", 2), Net("ann", 2))))
def test_a_fleet_needs_nets_each_once(nets):
  with pytest.raises(InputError, match="a fleet needs nets, each once, got"):
    Fleet(nets, 3, 2)


def test_bad_nets_are_told_when_they_are_made():
  with pytest.raises(InputError, match="unknown head 'cubic'; choose one of ann, qnn"):
    init(Fleet((Net("cubic", 2),), 3, 2), [Lane(0)])
  with pytest.raises(InputError, match="hidden must be at least 1"):
    init(Fleet((Net("ann", 0),), 3, 2), [Lane(0)])
