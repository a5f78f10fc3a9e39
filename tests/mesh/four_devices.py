"""Value and gradient on four virtual devices: every op, every kind of mesh, every way to split.

Run by test_on_four_devices.py. What is split gives the numbers of what is whole, to rounding, and on
Auto axes no more collectives than the einsum of the same equation.
"""

import collections
import functools
import itertools
import re

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
}
LAYERS = {
  "affine": nnx.Linear,
  "quadratic": qnn_jax.QuadraticLinear,
  "reduced_quadratic": qnn_jax.ReducedQuadraticLinear,
  "heavy": qnn_jax.HeavyLinear,
}
VECTORS = ("bias", "c")
every_op = pytest.mark.parametrize("name", OPS)
# The last is in tiles where a device has it for itself.
every_size = pytest.mark.parametrize(
  "name, n, m", [*((name, 8, 4) for name in OPS), ("quadratic", 64, 64), ("recomputed", 64, 64)]
)
close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)


def shapes(n, m):
  packed = ops.packed_size(n)
  return collections.defaultdict(
    lambda: (n, m), {"q": (packed, m), "full": (m, n, n), "bias": (m,), "c": (m,)}
  )


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
  places = {"full": P(axis), "bias": P(axis), "c": P(axis)}
  return [places.get(key, P(None, axis)) for key in OPS[name][1]]


def ways(name):
  """how -> (batch, spec of x, specs of the parameters, out_sharding where nnx.Linear needs it)."""
  whole = [P() for _ in OPS[name][1]]
  by_neurons = zip(OPS[name][1], split_neurons(name))
  # Where the batch is split too, nnx.Linear cannot add a split bias to a split z.
  whole_vectors = [P() if key in VECTORS else spec for key, spec in by_neurons]
  rows = [P("d") if key not in (*VECTORS, "q", "full") else P() for key in OPS[name][1]]
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


@every_size
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_value_and_gradient_on_a_mesh(name, n, m, way, mesh):
  op = OPS[name][0]
  batch, x_spec, specs, out = ways(name)[way]
  args = arguments(name, n, m, batch)
  expected = expected_of(name, n, m, batch)
  if mesh is EXPLICIT and out is not None:
    op = functools.partial(op, out_sharding=NamedSharding(mesh, out))
  there = placed(mesh, args, [x_spec, *specs])
  z, gradients = jax.jit(value_and_gradients(op))(*there)
  jax.tree.map(close, (z, gradients), expected)
  if mesh is EXPLICIT:  # every derivative lies where its argument does
    for gradient, argument in zip(gradients, there):
      assert gradient.sharding.is_equivalent_to(argument.sharding, argument.ndim)
    if out is not None:
      assert z.sharding.is_equivalent_to(NamedSharding(mesh, out), z.ndim)


@every_op
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_without_jit_and_in_the_context_of_a_mesh(name, mesh):
  op = OPS[name][0]
  args = arguments(name, 8, 4, (8,))
  expected = expected_of(name, 8, 4, (8,))
  there = placed(mesh, args, [P("d"), *[P()] * (len(args) - 1)])
  jax.tree.map(close, value_and_gradients(op)(*there), expected)
  with jax.set_mesh(mesh):
    jax.tree.map(close, jax.jit(value_and_gradients(op))(*there), expected)


@every_size
@pytest.mark.parametrize(
  "way, mesh",
  [("batch", AUTO), ("batch", EXPLICIT), ("neurons", EXPLICIT), ("rank 4, axis 2", EXPLICIT)],
  ids=["batch-auto", "batch-explicit", "neurons-explicit", "rank 4-explicit"],
)
def test_value_and_gradient_in_shard_map(name, n, m, way, mesh):
  """With check_vma: JAX proves which results are equal on all devices, and sums the others."""
  op = OPS[name][0]
  batch, x_spec, specs, _ = ways(name)[way]
  args = arguments(name, n, m, batch)
  z_spec = P(None, "d") if way == "neurons" else x_spec
  there = placed(mesh, args, [x_spec, *specs])
  expected = expected_of(name, n, m, batch)
  inside = jax.shard_map(
    value_and_gradients(op),
    mesh=mesh,
    in_specs=(x_spec, *specs),
    out_specs=(z_spec, (x_spec, *specs)),
    check_vma=True,
  )
  jax.tree.map(close, jax.jit(inside)(*there), expected)

  def loss(*args):
    return jax.lax.psum(jnp.sin(op(*args)).sum(), "d")

  through = jax.shard_map(loss, mesh=mesh, in_specs=(x_spec, *specs), out_specs=P())
  # The cotangent of sin is the cosine that `expected` is of.
  everything = tuple(range(len(args)))
  jax.tree.map(close, jax.jit(jax.grad(through, everything))(*there), expected[1])


@every_op
def test_a_mesh_that_is_manual_in_part(name):
  """Two axes, one manual with the batch, the other Auto or Explicit with the neurons."""
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  expected = expected_of(name, 8, 4, (8,))
  for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2, 2), ("b", "m"), axis_types=(kind, kind))
    specs = [P("b"), *[P()] * (len(args) - 1)]
    there = placed(mesh, args, [P("b"), *split_neurons(name, "m")])
    inside = jax.shard_map(
      value_and_gradients(op),
      mesh=mesh,
      in_specs=tuple(specs),
      out_specs=(P("b"), tuple(specs)),
      axis_names={"b"},
    )
    jax.tree.map(close, jax.jit(inside)(*there), expected)


@every_op
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_autodiff_second_derivatives_and_vmap_on_a_mesh(name, mesh):
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  forms = {"closed form": op}
  if name != "quadratic_full":
    forms["autodiff"] = functools.partial(op, derivative="autodiff")
  for specs in ([P("d"), *[P()] * (len(args) - 1)], [P(), *split_neurons(name)]):
    there = placed(mesh, args, specs)
    for form in forms.values():
      slope = jax.grad(lambda *args, form=form: jnp.sin(form(*args)).sum(), 1)
      square = jax.jit(jax.value_and_grad(lambda *args, slope=slope: (slope(*args) ** 2).sum()))
      jax.tree.map(close, square(*there), square(*args))
  fleet = [np.stack([a, a / 2, a / 3, -a]) for a in args]
  expected = jax.jit(jax.vmap(value_and_gradients(op)))(*fleet)
  there = placed(mesh, fleet, [P("d")] * len(fleet))
  jax.tree.map(close, jax.jit(jax.vmap(value_and_gradients(op)))(*there), expected)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_a_layer_made_and_called_on_a_mesh(layer, mesh):
  """Parameters by their metadata, data-parallel training steps, out_sharding in the call."""
  x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
  loss = lambda module, x: (jnp.sin(module(x)) ** 2).mean()
  alone = layer(8, 4, rngs=nnx.Rngs(0))
  expected = nnx.state(nnx.grad(loss)(alone, x))
  for kernel, rows in (((None, None), P("d")), ((None, "d"), P())):
    with jax.set_mesh(mesh):
      module = layer(8, 4, rngs=nnx.Rngs(0), kernel_metadata={"out_sharding": kernel})
      there = jax.device_put(x, NamedSharding(mesh, rows))
      found = nnx.state(nnx.jit(nnx.grad(loss))(module, there))
      jax.tree.map(close, *(nnx.to_pure_dict(state) for state in (found, expected)))
  if mesh is EXPLICIT:
    with jax.set_mesh(mesh):
      z = nnx.jit(lambda module, x: module(x, out_sharding=P("d")))(alone_on(mesh, alone), x)
    assert z.sharding.spec == P("d", None)
    close(z, alone(x))


def alone_on(mesh, module):
  graphdef, state = nnx.split(module)
  return nnx.merge(graphdef, jax.device_put(state, NamedSharding(mesh, P())))


@every_op
def test_an_axis_that_is_not_there_is_jax_s_own_sentence(name):
  op, args = OPS[name][0], arguments(name, 8, 4, (8,))
  there = placed(EXPLICIT, args, [P()] * len(args))
  with pytest.raises(ValueError, match="(?i)axis.*nowhere|nowhere.*axis"):
    jax.jit(functools.partial(op, out_sharding=NamedSharding(EXPLICIT, P("nowhere"))))(*there)


# Collectives on Auto axes. Left out: one sample, which nothing splits for speed, and batch and neurons
# on one axis, where XLA moves x or the kernels as it likes.

KINDS = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
EINSUMS = {
  "quadratic": lambda x, q, kernel, bias: (
    jnp.einsum("...i,mij,...j->...m", x, ops.unpack(q), x) + x @ kernel + bias
  ),
  "reduced_quadratic": lambda x, kernel, bias, u, c: (x @ kernel + bias) * (x @ u + c),
  "heavy": lambda x, heavy, kernel, bias: (x * x) @ heavy + x @ kernel + bias,
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


if __name__ == "__main__":  # the table of docs/performance.md
  print("| op | n -> m | split | forward: ours | einsum | gradient: ours | einsum |")
  print("| :-- | --: | :-- | :-- | :-- | :-- | :-- |")
  tell = lambda found: ", ".join(f"{k} {v}" for k, v in sorted(found.items())) or "none"
  for name, (n, m), way in itertools.product(EINSUMS, [(64, 64)], COUNTED):
    forward, gradient = (counts(name, n, m, way, which) for which in (False, True))
    cells = [tell(found) for found in (*forward, *gradient)]
    print(f"| {name} | {n} -> {m} | {way} | {' | '.join(cells)} |", flush=True)
