"""What is behind the first layer: how a tail takes a sub-block of samples, one by one.

Exact block SGD (see per_sample.py) leaves to a tail the recurrence inside a sub-block of b samples.
With Z the first layer's total inputs as far as they are known at the sub-block's start and
G_ts = x_t.x_s + 1,

    z_t = Z_t - eta * sum_{s<t} G_ts delta_s,     delta_t = dL/dz_t,

and the tail's own parameters take their SGD step after every sample. A tail is three functions:

    start(params)                      parameters of its net -> working state
    run(state, z, g, y, valid)         z [S, b, h], g [S, b, b] strictly lower, y [S, b, C],
                                       valid [b] -> (state, delta [S, b, h])
    finish(state, seeds)               -> parameters of S seeds, without the first layer's

A sample with valid = 0 is padding and changes nothing. `module_tail` is the general one: any
Classifier, gradients through the modules and their custom_vjp. `_fused.py` has the fast one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax import losses
from qnn_jax.training.fleet import Fleet, Net


class Tail(NamedTuple):
  """See the module's docstring."""

  start: Callable[[Any], Any]
  run: Callable[..., tuple[Any, jax.Array]]
  finish: Callable[[Any, int], Any]


def module_tail(fleet: Fleet, net: Net) -> Tail:
  """The tail of one net, whatever its layers, by `jax.grad` through its modules."""
  graphdef = fleet.graphdef(net)

  def loss(params, z, y):
    return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params).tail(z), y)

  def run_seed(params, z, g, y, valid):
    def step(carry, sample):
      params, deltas = carry
      t, z, g, y, valid = sample
      z = z - fleet.learning_rate * (g @ deltas)
      grads, delta = jax.grad(loss, argnums=(0, 1))(params, z, y)
      rate = fleet.learning_rate * valid
      params = jax.tree.map(lambda p, grad: p - rate * grad, params, grads)  # (7)
      return (params, deltas.at[t].set(valid * delta)), None

    steps = (jnp.arange(z.shape[0]), z, g, y, valid)
    return jax.lax.scan(step, (params, jnp.zeros_like(z)), steps)[0]

  return Tail(
    start=lambda params: params,
    run=jax.vmap(run_seed, in_axes=(0, 0, 0, 0, None)),
    finish=lambda params, seeds: params,
  )
