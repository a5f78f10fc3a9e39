"""The kernel of _kernel.py for a GPU, by Triton, and for Pallas' interpret mode: a program a run."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from qnn_jax.training._steps import STEPS, iota

# Registers of a program: Q takes 64 KB at 16 classes and 32 neurons, which 8 warps hold and 4 spill.
_WARPS = {"qnn": 8}
_FEW_WARPS = 4


def run(head, classes, state, widths, rates, labels, valid, gram, z, interpret):
  """`_kernel.run`, with a grid of runs: gram [S, B, B], its last axis padded, and valid [B, 1]."""
  lanes, count, block, wide = z.shape
  arguments = (
    (widths.reshape(count, 1, 1), _of_net), (rates.reshape(lanes, 1, 1), _of_lane),
    (labels[..., None], _of_lane), (valid, _of_all), (gram, _of_lane), (z, _of_both),
    *((value, _of_both) for value in state.values()),
  )  # fmt: skip
  shapes = [(lanes, count, gram.shape[2], wide), *(value.shape for value in state.values())]
  outputs = [jax.ShapeDtypeStruct(shape, z.dtype) for shape in shapes]
  options: dict[str, Any] = {}
  if not interpret:
    warps = _WARPS.get(head, _FEW_WARPS)
    options["compiler_params"] = triton.CompilerParams(num_warps=warps, num_stages=1)
  steps, *new = pl.pallas_call(
    functools.partial(_in_registers, STEPS[head], classes, tuple(state)),
    grid=(lanes, count),
    in_specs=[_spec(value, of) for value, of in arguments],
    out_specs=[_spec(value, _of_both) for value in outputs],
    out_shape=outputs,
    input_output_aliases={6 + i: 1 + i for i in range(len(state))},
    interpret=interpret,
    **options,
  )(*(value for value, _ in arguments))
  return dict(zip(state, new)), steps[:, :, :block]


def _in_registers(head, classes, names, width, eta, labels, valid, gram, z, *refs):
  """The program of one run; arguments are references without the axes [S, N]."""
  params = {name: ref[...] for name, ref in zip(names, refs)}
  steps_out, *params_out = refs[len(names) :]
  block, wide = z.shape
  samples = steps_out.shape[0]
  tall = params["bias"].shape[0]
  is_neuron = iota((1, wide), 1) < width[...]
  is_class = iota((tall, 1), 0) < classes

  def step(t, carry):
    steps, params = carry  # eta Delta [B, h], zero from t on
    here = pl.ds(t, 1)
    past = jnp.where(iota((1, samples), 1) < t, gram[here, :], 0).reshape(samples, 1)
    total = z[here, :] - (past * steps).sum(0, keepdims=True)
    a = jnp.where(is_neuron, jax.nn.sigmoid(total), 0)  # [1, h]
    y = jnp.where(iota((tall, 1), 0) == labels[here, :], 1.0, 0.0)
    last = lambda outputs: jnp.where(is_class, jax.nn.sigmoid(outputs) - y, 0)  # (50)
    rate = eta[...] * valid[here, :]
    back, params = head(params, a, last, rate)
    delta = back * a * (1 - a)  # g' of (41)
    return jnp.where(iota((samples, wide), 0) == t, rate * delta, steps), params

  steps, params = jax.lax.fori_loop(0, block, step, (jnp.zeros((samples, wide), z.dtype), params))
  steps_out[...] = steps
  for name, ref in zip(names, params_out):
    ref[...] = params[name]


# Which part of an argument the program of lane s and net n gets: the axes in front that it indexes.


def _of_both(s, n):
  return s, n


def _of_lane(s, n):
  return (s,)


def _of_net(s, n):
  return (n,)


def _of_all(s, n):
  return ()


def _spec(value, of):
  leading = len(of(0, 0))
  rest = value.shape[leading:]
  zeros = (0,) * len(rest)
  return pl.BlockSpec((None,) * leading + rest, lambda s, n: (*of(s, n), *zeros))
