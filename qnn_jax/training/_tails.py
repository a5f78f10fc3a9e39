"""Tails: they train the layers after the first one, sample by sample within a sub-block.

In exact block SGD (see per_sample.py) a tail computes the recurrence inside a sub-block of b samples.
Let Z be the first layer's total inputs, as far as they are known at the sub-block's start, and
G_ts = x_t.x_s + 1. Then

    z_t = Z_t - eta * sum_{s<t} G_ts delta_s,     delta_t = dL/dz_t,

and the tail's own parameters take their SGD step after every sample. A tail is three functions:

    start(params)                      parameters of its net, leaves [S, ...] -> working state
    run(state, rates, z, g, y, valid)  eta [L], z [b, h, L], g [b, b, L] strictly lower, y [b, C, L],
                                       valid [b] -> (state, delta [b, h, L])
    finish(state, lanes)               -> parameters of S lanes, without the first layer's

The last axis holds the lanes, padded from S to L with zeros, rates too (see `to_lanes`). A sample with
valid = 0 is padding and changes nothing. `module_tail` works for any Classifier, with gradients
through the modules and their custom_vjp. `_fused.py` has a faster tail for some heads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax import losses
from qnn_jax.training.fleet import Fleet, Net

_REGISTER = 16  # float32 numbers of a 512-bit vector


class Tail(NamedTuple):
  """See the module's docstring."""

  start: Callable[[Any], Any]
  run: Callable[..., tuple[Any, jax.Array]]
  finish: Callable[[Any, int], Any]


def to_lanes(x: jax.Array) -> jax.Array:
  """[S, ...] -> [..., L]: the lanes last, padded with zeros to whole vector registers."""
  missing = -len(x) % _REGISTER
  return jnp.moveaxis(jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)), 0, -1)


def from_lanes(x: jax.Array, lanes: int) -> jax.Array:
  """[..., L] -> [S, ...], the padding left out."""
  return jnp.moveaxis(x, -1, 0)[:lanes]


def module_tail(fleet: Fleet, net: Net) -> Tail:
  """The tail of one net, whatever its layers, by `jax.grad` through its modules."""
  graphdef = fleet.graphdef(net)

  def loss(params, z, y):
    return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params).tail(z), y)

  def run_lane(params, rate, z, g, y, valid):
    def step(carry, sample):
      params, deltas = carry
      t, z, g, y, valid = sample
      z = z - rate * (g @ deltas)
      grads, delta = jax.grad(loss, argnums=(0, 1))(params, z, y)
      step_rate = rate * valid
      params = jax.tree.map(lambda p, grad: p - step_rate * grad, params, grads)  # (7)
      return (params, deltas.at[t].set(valid * delta)), None

    steps = (jnp.arange(z.shape[0]), z, g, y, valid)
    return jax.lax.scan(step, (params, jnp.zeros_like(z)), steps)[0]

  def run(params, rates, z, g, y, valid):
    lanes = len(jax.tree.leaves(params)[0])
    lane_by_lane = jax.vmap(run_lane, in_axes=(0, 0, 0, 0, 0, None))
    rates, z, g, y = (from_lanes(x, lanes) for x in (rates, z, g, y))
    params, delta = lane_by_lane(params, rates, z, g, y, valid)
    return params, to_lanes(delta)

  return Tail(start=lambda params: params, run=run, finish=lambda params, lanes: params)
