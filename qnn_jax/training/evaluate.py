"""Test accuracy of a fleet's nets."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from qnn_jax import ops
from qnn_jax.layers import AffineLinear
from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Params


class Evaluation(NamedTuple):
  """accuracy [nets, S] in percent; finite [nets, S]: whether the run's loss is a finite number."""

  accuracy: jax.Array
  finite: jax.Array


def evaluate(
  fleet: Fleet, params: list[Params], inputs: jax.Array, labels: jax.Array
) -> Evaluation:
  """Accuracy on `inputs` [N, n] (floats, or 8-bit pixels) with `labels` [N] in 0..C-1.

  The prediction is the output with the largest logit. A run is finite if all its parameters and all
  its logits are: then the loss (25), which takes logits, is finite too. One seed is taken after
  another, so that memory does not grow with their number.
  """
  x = per_sample.as_inputs(inputs, fleet.dtype)

  def of_seed(params):
    accuracy, finite = [], []
    for net_params, logits in zip(params, _logits(fleet, params, x)):
      accuracy.append(100 * (logits.argmax(-1) == labels).mean())
      numbers = [*jax.tree.leaves(net_params), logits]
      finite.append(jnp.stack([jnp.isfinite(a).all() for a in numbers]).all())
    return jnp.stack(accuracy), jnp.stack(finite)

  accuracy, finite = jax.lax.map(of_seed, params)
  return Evaluation(accuracy.T, finite.T)


def _logits(fleet, params, x):
  """Logits of every net of one seed, with one matrix product for all affine first layers."""
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
