"""a^T Q a for a batch, and its derivatives, with packed Q: in the form that is fast on the platform.

The platform is known only when a program is lowered, so `jax.lax.platform_dependent` chooses the form.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qnn_jax.ops import _arguments, _mesh, _products, _symmetric, _tiles
from qnn_jax.ops._products import How


class Plan(NamedTuple):
  """How the closed form is computed: the products' options, Q in tiles or whole, V kept or not."""

  how: How = How()
  tiled: bool = False
  cache: bool = True


def forward(plan, x, q):
  """x [..., n], q [P, m] -> (a^T Q a [..., m], the residuals for `backward`)."""
  if not plan.tiled:
    z, v = whole(plan.how, x, _symmetric.unpack(q))
    return z, v if plan.cache else None
  rows, cached = _tiled(plan._replace(how=plan.how.form(x.dtype)), _arguments.as_rows(x), q)
  return rows.reshape(*x.shape[:-1], q.shape[-1]), cached


def backward(plan, x, delta, q, cached):
  """delta [..., m] -> (dx [..., n], dq [P, m]), where every packed entry is one variable."""
  if not plan.tiled:
    v = whole(plan.how, x, _symmetric.unpack(q))[1] if cached is None else cached
    dx, dq = whole_backward(plan.how, x, v, delta, _mesh.spec_of(q)[-1])
    # M(a)_ij of (35) is added once, not once for each half.
    return dx, _symmetric.pack(dq)
  wide_x, wide_delta, wide_q = _products.alike(x, delta, q)
  rows = [_arguments.as_rows(a) for a in (wide_x, wide_delta)]
  dx, dq = _tiled_backward(plan, *rows, wide_q, cached)
  return dx.reshape(x.shape), dq


# On an accelerator few large steps are faster than tiles: each kernel costs a launch, and each shape is
# compiled. Measured for value and gradient of 784 -> 10 with 256 rows, compiled on two cores. H100: 80
# kernels, compiled in 14 s, with tiles; 11 kernels in 1 s with Q whole. TPU v5e, by XLA's estimate: 51
# million cycles, compiled in 32 s, with tiles; 6 million in 2 s with Q whole.
#
# One jit around both: without it each step of a tile would be compiled by itself outside other jits.
@functools.partial(jax.jit, static_argnames="plan", inline=True)
def _tiled(plan, x, q):
  on_cpu = functools.partial(_tiles.forward, cache=plan.cache, how=plan.how)
  elsewhere = functools.partial(on_accelerator, plan)
  return jax.lax.platform_dependent(x, q, cpu=on_cpu, default=elsewhere)


@functools.partial(jax.jit, static_argnames="plan", inline=True)
def _tiled_backward(plan, x, delta, q, cached):
  on_cpu = functools.partial(_tiles.backward, how=plan.how)
  elsewhere = functools.partial(on_accelerator_backward, plan)
  return jax.lax.platform_dependent(x, delta, q, cached, cpu=on_cpu, default=elsewhere)


def on_accelerator(plan, x, q):
  """`_tiles.forward` with Q whole. V is cut into the same tiles, since the residuals must be alike."""
  z, v = whole(plan.how, x, _symmetric.unpack(q))
  v = v.swapaxes(1, 2)
  parts = [v[:, j0:j1] for j0, j1 in _tiles.tiles(x.shape[-1], q.shape[-1])]
  return z, (z[:1, :1], parts if plan.cache else None)


def on_accelerator_backward(plan, x, delta, q, residuals):
  """`_tiles.backward` with Q whole."""
  _, parts = residuals
  if parts is None:
    # Otherwise XLA sees that the forward pass computed this V, and keeps it in memory.
    x, delta, q = jax.lax.optimization_barrier((x, delta, q))
    v = whole(plan.how, x, _symmetric.unpack(q))[1]
  else:
    v = jnp.concatenate(parts, 1).swapaxes(1, 2)
  dx, dq = whole_backward(plan.how, x, v, delta, None)
  return dx.astype(x.dtype), _symmetric.pack(dq).astype(x.dtype)


def whole(how, x, q):
  """x [..., n], full q [m, n, n] -> (a^T Q a [..., m], V [..., m, n])."""
  how = how.form(x.dtype)
  einsum = functools.partial(
    jnp.einsum, precision=how.precision, preferred_element_type=how.preferred_element_type
  )
  v = einsum("...i,mij->...mj", x, q)  # V = A Q, (44): row k of a sample's V is a^T Q_k
  return einsum("...mj,...j->...m", *_products.alike(v, x)), v


def whole_backward(how, x, v, delta, neurons):
  """The derivatives of a^T Q a by a and by a full Q, whose neurons are sharded over `neurons`."""
  x, v, delta = _products.alike(x, v, delta)
  dx = 2 * jnp.einsum(  # (47) without g' and W
    "...m,...mj->...j", delta, v, precision=how.precision, out_sharding=_mesh.sharding(x)
  )
  outer = delta[..., :, None] * x[..., None, :]
  batch = tuple(range(x.ndim - 1))
  place = _mesh.sharding_like(x, neurons, None, None)
  dq = _products.dot(outer, x, batch, batch, how, place)
  return dx, dq * (2 - jnp.eye(x.shape[-1], dtype=x.dtype))[None]  # (37) with M(a) of (35)
