"""On Auto axes no more collectives than the einsum of the same equation, on four virtual devices.

Run by test_on_four_devices.py; as a program it prints the table of docs/performance_diary.md.
"""

import collections
import itertools
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from meshes import AUTO, OPS, WAYS, arguments, close, value_and_gradients, ways

from qnn_jax import ops

# Collectives on Auto axes. Left out: one sample, which nothing splits for speed, and batch and neurons
# on one axis, where XLA moves x or the kernels as it likes.

KINDS = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
EINSUMS = {
  "quadratic": lambda x, q, kernel, bias: (
    jnp.einsum("...i,mij,...j->...m", x, ops.unpack(q), x) + x @ kernel + bias
  ),
  "reduced_quadratic": lambda x, kernel, bias, u, c: (x @ kernel + bias) * (x @ u + c),
  "heavy": lambda x, heavy, kernel, bias: (x * x) @ heavy + x @ kernel + bias,
  "low_rank_quadratic": lambda x, v, s, kernel, bias: (
    jnp.einsum("...rm,rm->...m", jnp.einsum("...i,irm->...rm", x, v) ** 2, s) + x @ kernel + bias
  ),
  "affine": lambda x, kernel, bias: x @ kernel + bias,
}


def collectives(op, args, specs):
  """How often each kind stands in the compiled program."""
  there = [
    jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(AUTO, spec))
    for a, spec in zip(args, specs)
  ]
  text = jax.jit(op).lower(*there).compile().as_text()
  return collections.Counter(re.findall(rf" ({'|'.join(KINDS)})(?:-start)?\(", text))


def counts(name, n, m, way, gradient):
  """(ours, the einsum's)."""
  batch, x_spec, specs, _ = ways(name)[way]
  args = arguments(name, n, m, batch)
  wrap = value_and_gradients if gradient else lambda op: op
  return tuple(
    collectives(wrap(op), args, [x_spec, *specs]) for op in (OPS[name][0], EINSUMS[name])
  )


COUNTED = [way for way in WAYS if way not in ("one sample", "batch, by neurons")]


@pytest.mark.parametrize("way", COUNTED)
@pytest.mark.parametrize(
  "name, n, m", [*((name, 16, 8) for name in EINSUMS), ("quadratic", 64, 64)]
)
def test_no_more_collectives_than_the_einsum(name, n, m, way):
  for gradient in (False, True):
    ours, einsum = counts(name, n, m, way, gradient)
    spare = {"all-gather": 1} if "inputs" in way else {}
    more = {kind: ours[kind] - einsum[kind] - spare.get(kind, 0) for kind in KINDS}
    assert max(more.values()) <= 0, (gradient, ours, einsum)


def test_neurons_split_need_no_exchange_forward_and_one_sum_backward():
  for n, m in ((64, 64), (16, 8)):
    assert not counts("quadratic", n, m, "neurons", False)[0]
    assert counts("quadratic", n, m, "neurons", True)[0] == {"all-reduce": 1}


@pytest.mark.parametrize("way", ["batch", "neurons", "rank 4, axis 1"])
def test_a_mesh_that_only_jit_is_told_of(way):
  """Arguments without a place, in_shardings: the op cannot see the mesh, and adds no collective."""
  batch, x_spec, specs, _ = ways("quadratic")[way]
  for rows in ((8,), (192,)) if len(batch) == 1 else (batch,):
    args = arguments("quadratic", 64, 64, rows)
    places = [NamedSharding(AUTO, spec) for spec in (x_spec, *specs)]
    programs = [
      jax.jit(value_and_gradients(op), in_shardings=places).lower(*args).compile()
      for op in (ops.quadratic, EINSUMS["quadratic"])
    ]
    ours, einsum = (
      collections.Counter(re.findall(rf" ({'|'.join(KINDS)})(?:-start)?\(", p.as_text()))
      for p in programs
    )
    assert all(ours[kind] <= einsum[kind] for kind in KINDS), (rows, ours, einsum)
    jax.tree.map(close, programs[0](*args), jax.jit(value_and_gradients(ops.quadratic))(*args))


if __name__ == "__main__":  # the table of docs/performance_diary.md
  print("| op | n -> m | split | forward: ours | einsum | gradient: ours | einsum |")
  print("| :-- | --: | :-- | :-- | :-- | :-- | :-- |")
  tell = lambda found: ", ".join(f"{k} {v}" for k, v in sorted(found.items())) or "none"
  for name, (n, m), way in itertools.product(EINSUMS, [(64, 64)], COUNTED):
    forward, gradient = (counts(name, n, m, way, which) for which in (False, True))
    cells = [tell(found) for found in (*forward, *gradient)]
    print(f"| {name} | {n} -> {m} | {way} | {' | '.join(cells)} |", flush=True)
