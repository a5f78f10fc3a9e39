"""The test accuracy of a fleet's nets."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax import ops
from qnn_jax.layers import AffineLinear
from qnn_jax.training.fleet import Fleet, Params

# The logits of all nets for so many samples fit into a core's cache.
_SAMPLES_AT_ONCE = 1000


class Evaluation(NamedTuple):
  """The result of a test.

  Attributes:
    accuracy: [nets, S] in percent.
    finite: [nets, S], whether the run's loss is a finite number.
  """

  accuracy: jax.Array
  finite: jax.Array


def evaluate(
  fleet: Fleet, params: list[Params], inputs: jax.Array, labels: jax.Array
) -> Evaluation:
  """The accuracy of a `fleet` with `params` on inputs [N, n] (floats or 8-bit pixels), labels [N].

  The labels are in 0..C-1; the prediction is the output with the largest logit. The result has arrays
  [nets, S]. A run is finite if all its parameters and logits are: then the loss (25), which is computed
  from logits, is finite too. Lanes are evaluated one after the other, and samples a thousand at a time,
  so that memory does not grow with their numbers.
  """
  parts = max(1, math.ceil(len(inputs) / _SAMPLES_AT_ONCE))
  missing = -len(inputs) % parts
  # Padding repeats the last sample with an impossible label: this changes neither count nor finiteness.
  inputs = jnp.pad(inputs, ((0, missing), (0, 0)), mode="edge").reshape(parts, -1, inputs.shape[1])
  padded = jnp.pad(labels, (0, missing), constant_values=-1).reshape(parts, -1)

  def of_lane(params):
    def of_part(part):
      x, labels = fleet.as_inputs(part[0]), part[1]
      logits = jnp.stack(_logits(fleet, params, x))  # [nets, N, C]
      return (logits.argmax(-1) == labels).sum(-1), jnp.isfinite(logits).all((1, 2))

    right, finite = jax.lax.map(of_part, (inputs, padded))
    of_params = [
      jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(net)]).all() for net in params
    ]
    return 100 * right.sum(0) / len(labels), finite.all(0) & jnp.stack(of_params)

  accuracy, finite = jax.lax.map(of_lane, params)
  return Evaluation(accuracy.T, finite.T)


def _logits(fleet, params, x):
  """The logits of every net of one lane, with one matrix product for all affine first layers."""
  modules = [nnx.merge(fleet.graphdef(net), p) for net, p in zip(fleet.nets, params)]
  affine = [i for i, module in enumerate(modules) if isinstance(module.layers[0], AffineLinear)]
  logits = [None if i in affine else module(x) for i, module in enumerate(modules)]
  if affine:
    kernels = [modules[i].layers[0].kernel[...] for i in affine]
    biases = [modules[i].layers[0].bias[...] for i in affine]
    z = ops.affine(x, jnp.concatenate(kernels, -1), jnp.concatenate(biases))
    ends = list(itertools.accumulate(kernel.shape[1] for kernel in kernels))
    for i, z_net in zip(affine, jnp.split(z, ends[:-1], -1)):
      logits[i] = modules[i].tail(z_net)
  return logits
