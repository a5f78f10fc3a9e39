"""The closed forms against the algorithms' loops, and the counter against known programs."""

import math

import jax
import jax.numpy as jnp
import pytest

from qnn_jax import complexity, ops
from qnn_jax.errors import InputError

pytestmark = pytest.mark.fast

SHAPES = [(1, 1), (3, 2), (5, 7), (30, 10)]


@pytest.mark.parametrize("n, m", SHAPES)
def test_forward_passes_are_loops_over_products(n, m):
  pairs = sum(1 for i in range(n) for j in range(i, n))
  assert complexity.ann_layer(n, m).forward == sum(n for _ in range(m))
  # A neuron: q_ij (times a_j) for i <= j, times a_i a row; and w.
  assert complexity.layer("qnn", n, m).forward == sum(pairs + n + n for _ in range(m))
  assert complexity.layer("rpqnn", n, m).forward == sum(n + n + 1 for _ in range(m))


@pytest.mark.parametrize("n, m", SHAPES)
def test_the_papers_equations_are_sums_of_its_table(n, m):
  """(68) and (69) follow from Section 5.1 and Table 1 for a network of one counted layer."""
  ann, reduced = complexity.ann_layer(n, m), complexity.layer("rpqnn", n, m)
  sizes = (4, n, m)
  assert complexity.ann_backward(sizes) == ann.backward + ann.update
  first = complexity.layer("rpqnn", 4, n).forward
  assert complexity.reduced_forward(sizes) == first + reduced.forward
  # (70) takes the products of backpropagation as cached: n m and 4 m for each pair of W, b.
  assert complexity.reduced_backward(sizes) == reduced.backward + 2 * (n * m + 2 * m)
  # Table 1's update is another count than (70)'s: the erratum in docs/equations.md.
  assert reduced.update - 2 * (n * m + 2 * m) == 2 * n * m + 4 * m


def test_mnist_network():
  assert complexity.ann_forward((784, 30, 10)) == 784 * 30 + 30 * 10
  assert complexity.ann_backward((784, 30, 10)) == 2 * 300 + 10 + 60


@pytest.mark.parametrize("kind, power", [("ann", 2), ("qnn", 3), ("rpqnn", 2)])
def test_orders(kind, power):
  large = sum(complexity.layer(kind, 2**14, 2**14)) / sum(complexity.layer(kind, 2**13, 2**13))
  assert large == pytest.approx(2**power, rel=1e-3)
  if kind != "ann":
    memory = complexity.extra_memory(kind, 2**14, 2**14) / complexity.extra_memory(
      kind, 2**13, 2**13
    )
    assert memory == pytest.approx(2**power, rel=1e-3)


def test_memory_of_the_quadratic_layer_is_its_packed_matrices_and_two_products():
  assert complexity.extra_memory("qnn", 3, 2) == 2 * 6 + 2 * 6
  assert complexity.extra_memory("ann", 3, 2) == 0
  assert complexity.ann_memory(3, 2) == 6 + 2 + 2 + 2


def compiled(function, *shapes):
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  with jax.default_device(jax.devices("cpu")[0]):
    return jax.jit(function).lower(*arguments).compile()


@pytest.mark.parametrize(
  "function, shapes, expected",
  [
    (lambda a, b: a @ b, [(5, 7), (7, 3)], 5 * 7 * 3),
    (lambda a, b: a @ b, [(7,), (7,)], 7),
    (lambda a, b: a @ b, [(64, 80), (80, 96)], 64 * 80 * 96),
    (lambda a, b: jnp.einsum("bi,bij->bj", a, b), [(4, 5), (4, 5, 6)], 4 * 5 * 6),
    (lambda a, b: a * b + a, [(5, 7), (5, 7)], 35),
    (lambda a, b: a + b, [(5, 7), (5, 7)], 0),
    (lambda a: a[jnp.arange(3) * 2], [(9,)], 0),  # index arithmetic is not counted
    (lambda a: (a * a) @ jnp.ones((4, 2)), [(3, 4)], 12 + 24),
  ],
)
def test_counted_multiplications(function, shapes, expected):
  assert complexity.count_multiplications(compiled(function, *shapes).as_text()) == expected


def test_counts_are_xlas_flops_without_the_additions():
  program = compiled(lambda a, b, c: (a @ b) * c, (5, 7), (7, 3), (5, 3))
  flops = program.cost_analysis()["flops"]
  assert complexity.count_multiplications(program.as_text()) == 5 * 7 * 3 + 5 * 3
  assert flops == 2 * 5 * 7 * 3 + 5 * 3


def test_low_rank_is_what_is_counted():
  """Forwards to the last one; backwards XLA makes what it has fused twice, up to four of r m numbers."""
  n, m, rank = 7, 5, 3
  shapes = ((n,), (n, rank, m), (rank, m), (n, m), (m,))
  forward = compiled(ops.low_rank_quadratic, *shapes)
  extra = complexity.low_rank_extra(n, m, rank)
  assert complexity.count_multiplications(forward.as_text()) == n * m + extra.forward

  def value_and_gradient(delta, *args):
    z, pullback = jax.vjp(ops.low_rank_quadratic, *args)
    return z, pullback(delta)

  counted = complexity.count_multiplications(compiled(value_and_gradient, (m,), *shapes).as_text())
  assert 3 * n * m + sum(extra) <= counted <= 3 * n * m + sum(extra) + 4 * rank * m
  stored = sum(math.prod(shape) for shape in shapes[1:3]) + rank * m
  assert complexity.low_rank_memory(n, m, rank) == stored


def test_a_loop_cannot_be_counted():
  program = compiled(lambda a: jax.lax.fori_loop(0, 1000, lambda i, b: b * a, a), (3,))
  with pytest.raises(InputError, match="while"):
    complexity.count_multiplications(program.as_text())


@pytest.mark.parametrize(
  "call",
  [
    lambda: complexity.layer("cnn", 3, 3),
    lambda: complexity.extra("qnn", 0, 3),
    lambda: complexity.extra_memory("cnn", 3, 3),
    lambda: complexity.ann_layer(3, 0),
    lambda: complexity.low_rank_extra(3, 2, 0),
    lambda: complexity.ann_forward((3,)),
    lambda: complexity.reduced_backward((3, 0, 2)),
  ],
)
def test_mistakes(call):
  with pytest.raises(InputError):
    call()


@pytest.mark.parametrize("costs", [complexity.layer, complexity.extra, complexity.extra_memory])
def test_low_rank_has_functions_of_its_own(costs):
  with pytest.raises(InputError, match="'lowrank:4'; use low_rank_extra.* low_rank_memory"):
    costs("lowrank:4", 5, 3)
