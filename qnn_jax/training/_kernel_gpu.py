"""The kernel of _kernel.py for a GPU, by Triton, and for Pallas' interpret mode: one program for each run."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from qnn_jax.training._steps import STEPS, activation, error, hidden_step, iota, loop, shapes

# Warps of a program. Q takes 64 KB at 16 classes and 32 neurons: 8 warps have the registers, 4 would spill.
_WARPS = {"qnn": 8}
_FEW_WARPS = 4
# Above 128 KB more threads share it, each with half the registers. (Nobody has measured that.)
_MANY, _MANY_WARPS = 2**17, 16
# Bytes: a multiprocessor's 256 KB of registers, and as much that spills to its own cache.
_MOST = 2**19


def fits(head: str, classes: int, wide: int, block: int, dtype: str) -> bool:
  """Whether a program can hold its parameters and eta Delta; all sizes are padded ones."""
  return _bytes(head, classes, wide, block, dtype) <= _MOST


def _bytes(head, classes, wide, block, dtype):
  parameters = sum(math.prod(shape) for shape in shapes(head, classes, wide).values())
  return (parameters + block * wide) * jnp.dtype(dtype).itemsize


def _warps(head, held):
  return _MANY_WARPS if held > _MANY else _WARPS.get(head, _FEW_WARPS)


def run(head, classes, state, widths, rates, labels, valid, gram, z, interpret):
  """`_kernel.run`, with a grid of runs: gram [S, B, B], its last axis padded, and valid [B, 1]."""
  lanes, count, block, wide = z.shape
  arguments = (
    (widths.reshape(count, 1, 1), _of_net), (rates.reshape(lanes, 1, 1), _of_lane),
    (labels[..., None], _of_lane), (valid, _of_all), (gram, _of_lane), (z, _of_both),
    *((value, _of_both) for value in state.values()),
  )  # fmt: skip
  found = [(lanes, count, gram.shape[2], wide), *(value.shape for value in state.values())]
  outputs = [jax.ShapeDtypeStruct(shape, z.dtype) for shape in found]
  options: dict[str, Any] = {}
  if not interpret:
    tall = state["bias"].shape[2]
    warps = _warps(head, _bytes(head, tall, wide, gram.shape[2], z.dtype))
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
    g = gram[here, :]
    past = jnp.where(iota((1, samples), 1) < t, g, jnp.zeros_like(g)).reshape(samples, 1)
    a = activation(z[here, :] - (past * steps).sum(0, keepdims=True), is_neuron)  # [1, h]
    is_label = iota((tall, 1), 0) == labels[here, :]
    last = lambda outputs: jnp.where(is_class, error(outputs, is_label), jnp.zeros_like(outputs))
    rate = eta[...] * valid[here, :]
    back, params = head(params, a, last, rate)
    new = hidden_step(rate, back, a)
    return jnp.where(iota((samples, wide), 0) == t, new, steps), params

  steps, params = loop(block, step, (jnp.zeros((samples, wide), z.dtype), params))
  steps_out[...] = steps
  for name, ref in zip(names, params_out):
    ref[...] = params[name]


# Which part of an argument the program of lane s and net n gets: indices of the leading axes.


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
