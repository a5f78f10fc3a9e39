"""What a layer costs: the paper's closed forms, and a count over what XLA compiled.

Section 5: Tables 1 and 2, (67) to (70). Axis letters as everywhere: n = n_{l-1} inputs and m = n_l
neurons of a layer, one sample. The formulas are those of the paper as printed. docs/equations.md
lists where they disagree with each other or with the algorithms.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from qnn_jax.errors import InputError

KINDS = ("ann", "qnn", "rpqnn")
"""The kinds of layer whose costs the paper gives."""


class Multiplications(NamedTuple):
  """Floating-point multiplications of one layer for one sample.

  Attributes:
    forward: the forward pass, a^{l-1} -> z^l.
    backward: backpropagation, delta^l -> delta^{l-1}.
    update: the gradient step of every parameter of the layer.
  """

  forward: int
  backward: int
  update: int


def ann_layer(n: int, m: int) -> Multiplications:
  """The multiplications of an affine layer of n inputs and m neurons: A_FP of (67), A_BP of (68).

  >>> ann_layer(n=30, m=10)
  Multiplications(forward=300, backward=330, update=340)
  """
  _check_sizes(n, m)
  return Multiplications(n * m, n * m + n, n * m + m + n)


def extra(kind: str, n: int, m: int) -> Multiplications:
  """Table 1: the multiplications that a layer needs beyond those of an affine one; zeros for ann.

  Args:
    kind: one of `KINDS`.
    n: inputs, at least 1.
    m: neurons, at least 1.

  Raises:
    InputError: the kind is not in the paper, or a size is below 1.

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
  """The multiplications of a whole layer of a `kind`: `ann_layer(n, m)` plus `extra(kind, n, m)`."""
  return Multiplications(*map(sum, zip(ann_layer(n, m), extra(kind, n, m))))


def low_rank_extra(n: int, m: int, rank: int) -> Multiplications:
  """The multiplications of a low-rank layer beyond those of an affine one, counted as in Section 5.

  The paper has no such layer. Let t = v^T a, r m numbers for a layer of n inputs, m neurons and
  rank r. The forward pass computes t, s t and s t t. The backward pass computes delta s t, twice that,
  and its product with v. The update computes t t, delta t t, and a product with a. The products with
  v and with a take n r m multiplications each, everything else takes r m.

  >>> low_rank_extra(n=30, m=10, rank=4)
  Multiplications(forward=1280, backward=1280, update=1280)
  """
  _check_sizes(n, m)
  if rank < 1:
    raise InputError(f"the rank of a low-rank layer must be at least 1, got {rank}")
  return Multiplications(*(n * rank * m + 2 * rank * m,) * 3)


def low_rank_memory(n: int, m: int, rank: int) -> int:
  """Numbers that a layer of n inputs, m neurons and this rank stores beyond an affine one: v, s and t.

  >>> low_rank_memory(n=30, m=10, rank=4)
  1280
  """
  return low_rank_extra(n, m, rank).forward


def extra_memory(kind: str, n: int, m: int) -> int:
  """Table 2: numbers that a layer of this kind, n inputs and m neurons stores beyond an affine one.

  >>> extra_memory("rpqnn", n=30, m=10)
  330
  """
  _check(kind, n, m)
  if kind == "ann":
    return 0
  return m * n * (n + 1) // 2 + 2 * n * m if kind == "qnn" else n * m + 3 * m


def ann_memory(n: int, m: int) -> int:
  """Section 5.4: numbers in W, b, z and a of an affine layer of n inputs and m neurons."""
  _check_sizes(n, m)
  return n * m + 3 * m


def ann_forward(sizes: Sequence[int]) -> int:
  """(67): A_FP, the multiplications of an affine network's forward pass.

  Args:
    sizes: the layer sizes n_0, n_1, ..., n_L, inputs first.

  Raises:
    InputError: there are fewer than two sizes, or a size is below 1.

  >>> ann_forward((784, 30, 10))
  23820
  """
  return sum(m * n for n, m in _layers(sizes))


def ann_backward(sizes: Sequence[int]) -> int:
  """(68): A_BP, backpropagation and update of an affine network, by `sizes` as in `ann_forward`.

  As in the print, both counts leave the first layer out.
  """
  return sum(2 * m * n + m + 2 * n for n, m in _layers(sizes)[1:])


def reduced_forward(sizes: Sequence[int]) -> int:
  """(69): R_FP, the forward pass of a reduced network, by `sizes` as in `ann_forward`.

  The paper calls it extra, but it is the total: (67) plus the extra of Table 1.
  """
  return sum(2 * m * n + m for n, m in _layers(sizes))


def reduced_backward(sizes: Sequence[int]) -> int:
  """(70): R_BP, all backpropagation and updates of Algorithm 2 from layer 2 on, by `sizes`."""
  return sum(4 * m * n + 6 * m + n for n, m in _layers(sizes)[1:])


_INSTRUCTION = re.compile(r"%(\S+) = (\w+)\[([\d,]*)\]\S* ([\w-]+)\((.*)")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
# Instructions that may hide multiplications, or run them more or less often than once.
_OPAQUE = re.compile(r"^.* = .*? (custom-call|while|convolution|conditional)\(", re.MULTILINE)


def count_multiplications(hlo: str) -> int:
  """Floating-point multiplications in a compiled program, instruction by instruction.

  A `multiply` counts once for every element. A `dot` counts, for every element of its result, the
  number of terms of the sum. XLA's own `cost_analysis` gives only `flops`, which count a dot's
  additions too.

  Args:
    hlo: `jax.jit(f).lower(...).compile().as_text()`, compiled for CPU. Other backends replace products
      by library calls, whose multiplications are not visible.

  Raises:
    InputError: the program has loops or calls, whose multiplications cannot be counted.
  """
  if opaque := _OPAQUE.search(hlo):
    raise InputError(
      f"cannot count the multiplications of a program with a {opaque[1]}; "
      "compile a program without loops, for CPU"
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
    raise InputError(
      f"a network must have at least two sizes, its inputs and its outputs, got {tuple(sizes)}"
    )
  pairs = list(itertools.pairwise(sizes))
  for n, m in pairs:
    _check_sizes(n, m)
  return pairs


def _check(kind: str, n: int, m: int) -> None:
  if kind not in KINDS:
    if isinstance(kind, str) and kind.partition(":")[0] == "lowrank":
      raise InputError(
        f"the paper has no costs for '{kind}'; use low_rank_extra(n, m, rank) and "
        "low_rank_memory(n, m, rank) for a low-rank layer"
      )
    raise InputError(f"the paper has no costs for '{kind}'; choose one of {', '.join(KINDS)}")
  _check_sizes(n, m)


def _check_sizes(n: int, m: int) -> None:
  if n < 1 or m < 1:
    raise InputError(f"a layer must have at least 1 input and 1 neuron, got n = {n} and m = {m}")
