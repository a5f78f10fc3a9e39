"""What a layer costs: the paper's closed forms, and a count over what XLA compiled.

Section 5: Tables 1 and 2, (67) to (70). Axis letters as everywhere: n = n_{l-1} inputs and m = n_l
neurons of a layer, one sample. The forms are kept as printed; where they disagree with each other
or with the algorithms is in docs/equations.md.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from qnn_jax.errors import InputError

KINDS = ("ann", "qnn", "rpqnn")


class Multiplications(NamedTuple):
  """Floating-point multiplications of one layer for one sample.

  Attributes:
    forward: a^{l-1} -> z^l.
    backward: delta^l -> delta^{l-1}.
    update: of every parameter of the layer.
  """

  forward: int
  backward: int
  update: int


def ann_layer(n: int, m: int) -> Multiplications:
  """An affine layer, Section 5.1.

  >>> ann_layer(n=30, m=10)
  Multiplications(forward=300, backward=330, update=340)
  """
  _check_sizes(n, m)
  return Multiplications(n * m, n * m + n, n * m + m + n)


def extra(kind: str, n: int, m: int) -> Multiplications:
  """Table 1: what a layer of this kind needs beyond an affine one; zeros for ann.

  Raises InputError for a kind that is not in the paper or a size below 1.

  >>> extra("qnn", n=30, m=10)
  Multiplications(forward=4950, backward=300, update=4950)
  """
  _check(kind, n, m)
  if kind == "ann":
    return Multiplications(0, 0, 0)
  if kind == "qnn":
    packed = m * n * (n + 1) // 2
    return Multiplications(packed + n * m, n * m, packed + n * m)
  return Multiplications(n * m + m, n * m + 2 * m, 3 * n * m - n + 7 * m)


def layer(kind: str, n: int, m: int) -> Multiplications:
  """A whole layer: `ann_layer` and Table 1 together."""
  return Multiplications(*map(sum, zip(ann_layer(n, m), extra(kind, n, m))))


def low_rank_extra(n: int, m: int, rank: int) -> Multiplications:
  """What a layer of low rank needs beyond an affine one, counted as in Section 5; not in the paper.

  With t = v^T a: t, s t and s t t forwards; delta s t, twice that and its product with v backwards; t t,
  delta t t and the product with a for the update. Each is r m numbers, but the three products with n.

  >>> low_rank_extra(n=30, m=10, rank=4)
  Multiplications(forward=1280, backward=1280, update=1280)
  """
  _check_sizes(n, m)
  if rank < 1:
    raise InputError(f"a layer of low rank has a rank of at least 1, got {rank}")
  return Multiplications(*(n * rank * m + 2 * rank * m,) * 3)


def low_rank_memory(n: int, m: int, rank: int) -> int:
  """Numbers that a layer of low rank stores beyond those of an affine layer: v, s and t.

  >>> low_rank_memory(n=30, m=10, rank=4)
  1280
  """
  return low_rank_extra(n, m, rank).forward


def extra_memory(kind: str, n: int, m: int) -> int:
  """Table 2: numbers stored beyond those of an affine layer; 0 for ann.

  >>> extra_memory("rpqnn", n=30, m=10)
  330
  """
  _check(kind, n, m)
  if kind == "ann":
    return 0
  return m * n * (n + 1) // 2 + 2 * n * m if kind == "qnn" else n * m + 3 * m


def ann_memory(n: int, m: int) -> int:
  """Section 5.4: W, b, z and a of an affine layer."""
  _check_sizes(n, m)
  return n * m + 3 * m


def ann_forward(sizes: Sequence[int]) -> int:
  """(67), A_FP of a network with the layer sizes n_0, n_1, ..., n_L.

  Raises InputError for fewer than two sizes or a size below 1; so do the three below.

  >>> ann_forward((784, 30, 10))
  23820
  """
  return sum(m * n for n, m in _layers(sizes))


def ann_backward(sizes: Sequence[int]) -> int:
  """(68), A_BP: backpropagation and update. As printed the first layer is left out of both."""
  return sum(2 * m * n + m + 2 * n for n, m in _layers(sizes)[1:])


def reduced_forward(sizes: Sequence[int]) -> int:
  """(69), R_FP: called extra in the paper, but Table 1's extra and (67) together."""
  return sum(2 * m * n + m for n, m in _layers(sizes))


def reduced_backward(sizes: Sequence[int]) -> int:
  """(70), R_BP: the whole of backpropagation and update of Algorithm 2, from layer 2 on."""
  return sum(4 * m * n + 6 * m + n for n, m in _layers(sizes)[1:])


_INSTRUCTION = re.compile(r"%(\S+) = (\w+)\[([\d,]*)\]\S* ([\w-]+)\((.*)")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
# What may hide multiplications or run them more or less often than they are written.
_OPAQUE = re.compile(r"^.* = .*? (custom-call|while|convolution|conditional)\(", re.MULTILINE)


def count_multiplications(hlo: str) -> int:
  """Floating-point multiplications in a compiled program, instruction by instruction.

  A `multiply` counts its elements, a `dot` its result's elements times the terms of each. XLA's own
  `cost_analysis` gives only `flops`, in which a dot's additions count as much as its products.

  Args:
    hlo: `jax.jit(f).lower(...).compile().as_text()`, compiled for CPU: other backends replace
      products by calls that cannot be looked into.

  Raises:
    InputError: the program has loops or calls, whose multiplications cannot be counted.
  """
  if opaque := _OPAQUE.search(hlo):
    raise InputError(
      f"cannot count the multiplications of a program with a {opaque[1]}; "
      "compile one for CPU that has no loops"
    )
  shapes: dict[str, tuple[int, ...]] = {}
  count = 0
  for name, dtype, dims, op, rest in _INSTRUCTION.findall(hlo):
    shapes[name] = shape = _numbers(dims)
    if op == "multiply" and dtype[0] in "fb":  # f32, f64, bf16: no index arithmetic
      count += math.prod(shape)
    elif op == "dot":
      left = shapes[rest.split(",")[0].rstrip(")").strip().split("%")[-1]]
      contracted = _CONTRACTED.search(rest)
      assert contracted, rest  # HLO writes them in every dot
      terms = (left[axis] for axis in _numbers(contracted[1]))
      count += math.prod(shape) * math.prod(terms)
  return count


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(map(int, text.split(","))) if text else ()


def _layers(sizes: Sequence[int]) -> list[tuple[int, int]]:
  if len(sizes) < 2:
    raise InputError(f"a network has at least two sizes, inputs and outputs, got {tuple(sizes)}")
  pairs = list(itertools.pairwise(sizes))
  for n, m in pairs:
    _check_sizes(n, m)
  return pairs


def _check(kind: str, n: int, m: int) -> None:
  if kind not in KINDS:
    if isinstance(kind, str) and kind.partition(":")[0] == "lowrank":
      raise InputError(
        f"the paper has no costs for '{kind}'; low_rank_extra(n, m, rank) and "
        "low_rank_memory(n, m, rank) have those of a layer of low rank"
      )
    raise InputError(f"the paper has no costs for '{kind}'; choose one of {', '.join(KINDS)}")
  _check_sizes(n, m)


def _check_sizes(n: int, m: int) -> None:
  if n < 1 or m < 1:
    raise InputError(f"a layer has at least 1 input and 1 neuron, got n = {n} and m = {m}")
