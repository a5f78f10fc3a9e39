"""The kernel of _kernel.py for a TPU, by Mosaic: one program for each tile of runs, which are the last axis."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu

from qnn_jax.training._steps import STEPS, activation, error, hidden_step, iota, loop, shapes

SUBLANES, TILE = 8, 128
"""Numbers of a vector register along its two axes."""

_MEMORY = 100 * 2**20  # bytes on the chip that a kernel may take, of a v5e's 128 MiB
_PUT_ASIDE = 8 * 2**20  # bytes that the compiler needs for itself
# Rows of parameters that 64 registers hold, together with what is computed from them.
_ROWS_AT_ONCE = 40 * SUBLANES


def fits(head: str, classes: int, wide: int, block: int, dtype: str) -> bool:
  """Whether the data of a program fit on the chip; `wide` is the padded number of neurons."""
  return _bytes(head, classes, wide, block, dtype) <= _MEMORY


def _bytes(head, classes, wide, block, dtype):
  """The memory of a program: the state as input and as output; the rest twice, one in use and one being loaded.

  The axis before that of the lanes is padded to the eight rows of a register.
  """
  eights = lambda size: math.ceil(size / SUBLANES) * SUBLANES
  rows = lambda *shape: math.prod(shape[:-1]) * eights(shape[-1])
  padded = eights(block)
  of_state = sum(rows(*shape) for shape in shapes(head, classes, wide).values())
  # Widths, rates, labels, valid; G; Z; the steps.
  rest = (
    2 * rows(1) + 2 * rows(block) + rows(block, padded) + rows(block, wide) + rows(padded, wide)
  )
  return 2 * (of_state + rest) * TILE * jnp.dtype(dtype).itemsize


def run(head, classes, state, widths, rates, labels, valid, gram, z):
  """`_kernel.run`, with a grid of tiles of runs: gram [S, B, B], its last axis padded, and valid [B, 1]."""
  lanes, count, block, wide = z.shape
  of_runs = lambda a: to_tiles(jnp.broadcast_to(a, (lanes, count, *a.shape[2:])))
  tiled = (
    of_runs(widths[None, :, None]), of_runs(rates[:, None, None]), of_runs(labels[:, None]), valid,
    of_runs(gram[:, None]), of_runs(z),
  )  # fmt: skip
  found = [(len(tiled[0]), gram.shape[2], wide, TILE), *(value.shape for value in state.values())]
  outputs = [jax.ShapeDtypeStruct(shape, z.dtype) for shape in found]
  one = pl.Buffered(1)
  memory = _bytes(head, classes, wide, block, z.dtype) + _PUT_ASIDE

  def spec(value, mode=None):
    zeros = (0,) * (value.ndim - 1)
    return pl.BlockSpec((None, *value.shape[1:]), lambda t: (t, *zeros), pipeline_mode=mode)

  states = [spec(value, one) for value in state.values()]
  inputs = [spec(value) for value in tiled]
  inputs[3] = pl.BlockSpec(valid.shape, lambda t: (0, 0))
  steps, *new = pl.pallas_call(
    functools.partial(_in_memory, STEPS[head], classes, tuple(state)),
    grid=(len(tiled[0]),),
    in_specs=inputs + states,
    out_specs=[spec(outputs[0]), *states],
    out_shape=outputs,
    input_output_aliases={6 + i: 1 + i for i in range(len(state))},
    compiler_params=tpu.CompilerParams(vmem_limit_bytes=memory),
  )(*tiled, *state.values())
  return dict(zip(state, new)), from_tiles(steps, lanes, count)[:, :, :block]


def _in_memory(head, classes, names, width, eta, labels, valid, gram, z, *refs):
  """The program of one tile; arguments are references without the axis [T], with L as the last."""
  steps = refs[len(names)]  # eta Delta [B, h, L], zero from t on
  params = dict(zip(names, refs[len(names) + 1 :]))
  block, wide, tile = z.shape
  rows = wide * wide if "q" in names else wide
  part = max(
    n for n in range(1, classes + 1) if not classes % n and n * rows <= max(rows, _ROWS_AT_ONCE)
  )

  one, eight = np.int32(1), np.int32(SUBLANES)  # kernels need 32 bits

  def copy(c, _):
    for ref, of in zip(refs, params.values()):
      of[c] = ref[c]

  loop(classes, copy, None)
  steps[...] = jnp.zeros_like(steps)
  is_neuron = iota((wide, tile), 0) < width[...]

  def step(t, _):
    here = pl.ds(t, 1)

    def past(i, total):
      first = pl.multiple_of(i * eight, SUBLANES)
      row = gram[t, pl.ds(first, SUBLANES), :]
      return total - sum(row[k : k + 1] * steps[first + np.int32(k)] for k in range(SUBLANES))

    total = loop(jax.lax.div(t + eight - one, eight), past, z[t])
    a = activation(total, is_neuron)[None]  # [1, h, L]
    rate = (eta[...] * valid[here, :])[None]  # [1, 1, L]

    def some(i, back):
      first = i * np.int32(part)
      mine = pl.ds(first, part)
      is_label = iota((part, 1, tile), 0) + first == labels[here, :][None]
      last = lambda outputs: error(outputs, is_label)
      of_these, new = head(_Of(params, mine), a, last, rate)
      for name, value in new.items():
        params[name][mine] = value
      return back + of_these

    back = loop(classes // part, some, jnp.zeros((1, wide, tile), z.dtype))
    steps[t] = hidden_step(rate, back, a)[0]

  loop(block, step, None)


class _Of:
  """The parameters of some classes, read only where they are used, because they do not fit the registers."""

  def __init__(self, params, classes):
    self.params, self.classes = params, classes

  def __getitem__(self, name):
    return self.params[name][self.classes]


def to_tiles(value: jax.Array) -> jax.Array:
  """[S, N, ...] -> [T, ..., L], the last tile filled up with zeros."""
  runs = value.reshape(-1, *value.shape[2:])
  missing = -len(runs) % TILE
  runs = jnp.pad(runs, [(0, missing)] + [(0, 0)] * (runs.ndim - 1))
  return jnp.moveaxis(runs.reshape(-1, TILE, *runs.shape[1:]), 1, -1)


def from_tiles(value: jax.Array, lanes: int, count: int) -> jax.Array:
  """[T, ..., L] -> [S, N, ...]."""
  runs = jnp.moveaxis(value, -1, 1)
  runs = runs.reshape(-1, *runs.shape[2:])[: lanes * count]
  return runs.reshape(lanes, count, *runs.shape[1:])
