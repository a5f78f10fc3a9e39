"""What the cases on four devices share: every op, every kind of mesh, every way to split."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import qnn_jax
from qnn_jax import ops

assert jax.device_count() == 4

AUTO, EXPLICIT = (
  jax.make_mesh((4,), ("d",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit)
)
# name -> (op, names of its parameters in their order)
OPS = {
  "affine": (ops.affine, ("kernel", "bias")),
  "quadratic": (ops.quadratic, ("q", "kernel", "bias")),
  "recomputed": (functools.partial(ops.quadratic, cache=False), ("q", "kernel", "bias")),
  "quadratic_full": (ops.quadratic_full, ("full", "kernel", "bias")),
  "reduced_quadratic": (ops.reduced_quadratic, ("kernel", "bias", "u", "c")),
  "heavy": (ops.heavy, ("heavy_kernel", "kernel", "bias")),
  "low_rank_quadratic": (ops.low_rank_quadratic, ("v", "s", "kernel", "bias")),
}
LAYERS = {
  "affine": nnx.Linear,
  "quadratic": qnn_jax.QuadraticLinear,
  "reduced_quadratic": qnn_jax.ReducedQuadraticLinear,
  "heavy": qnn_jax.HeavyLinear,
  "low_rank_quadratic": qnn_jax.LowRankQuadraticLinear,
}
RANK = 4
VECTORS = ("bias", "c")
every_op = pytest.mark.parametrize("name", OPS)
# The last is in tiles where a device has it for itself.
every_size = pytest.mark.parametrize(
  "name, n, m", [*((name, 8, 4) for name in OPS), ("quadratic", 64, 64), ("recomputed", 64, 64)]
)
close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


def shapes(n, m):
  packed = ops.packed_size(n)
  others = {"v": (n, RANK, m), "s": (RANK, m), "bias": (m,), "c": (m,)}
  return collections.defaultdict(lambda: (n, m), {"q": (packed, m), "full": (m, n, n)} | others)


@functools.cache
def expected_of(name, n, m, batch):
  """Value and gradients by one device, which the first has for itself."""
  with jax.default_device(jax.devices()[0]):
    return jax.jit(value_and_gradients(OPS[name][0]))(*arguments(name, n, m, batch))


def arguments(name, n, m, batch):
  rng = np.random.default_rng(0)
  of = shapes(n, m)
  params = [rng.normal(size=of[key]).astype(np.float32) / n for key in OPS[name][1]]
  if name == "quadratic_full":
    params[0] = (params[0] + params[0].swapaxes(1, 2)) / 2
  return rng.normal(size=(*batch, n)).astype(np.float32), *params


def value_and_gradients(op, cotangent=jnp.cos):
  def run(*args):
    z, pullback = jax.vjp(op, *args)
    return z, pullback(cotangent(z))

  return run


def split_neurons(name, axis="d"):
  """Specs of an op's parameters with every neuron's own on one device."""
  places = {"full": P(axis), "bias": P(axis), "c": P(axis), "v": P(None, None, axis)}
  return [places.get(key, P(None, axis)) for key in OPS[name][1]]


def ways(name):
  """how -> (batch, spec of x, specs of the parameters, out_sharding where nnx.Linear needs it)."""
  whole = [P() for _ in OPS[name][1]]
  by_neurons = zip(OPS[name][1], split_neurons(name))
  # Where the batch is split too, nnx.Linear cannot add a split bias to a split z.
  whole_vectors = [P() if key in VECTORS else spec for key, spec in by_neurons]
  rows = [P("d") if key not in (*VECTORS, "q", "full", "s") else P() for key in OPS[name][1]]
  found = {
    "batch": ((8,), P("d"), whole, None),
    "neurons": ((8,), P(), split_neurons(name), None),
    "inputs": ((8,), P(None, "d"), whole, None),
    "inputs, by neurons": ((8,), P(None, "d"), split_neurons(name), P(None, "d")),
    "inputs, kernels too": ((8,), P(None, "d"), rows, P(None, None)),
    "batch, by neurons": ((8,), P("d"), whole_vectors, P("d", None)),
    "batch to neurons": ((8,), P("d"), whole, P(None, "d")),
    "one sample": ((), P("d"), whole, None),
  }
  for axis in range(3):
    spec = [None] * 4
    spec[axis] = "d"
    found[f"rank 4, axis {axis}"] = ((4, 4, 4), P(*spec), whole, None)
  return found


WAYS = tuple(ways("affine"))


def placed(mesh, args, specs):
  return [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip(args, specs)]
