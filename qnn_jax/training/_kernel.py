"""A block's recurrence as one kernel for each kind of head, on accelerators: Algorithms 1 and 2 in Pallas.

On a GPU or TPU the few thousand products of a sample take almost no time, but launching them one after another
does take time. Here one launch trains on a block of B samples: a program holds the heads' parameters on the chip and goes
through the block's samples with plain per-sample SGD,

    z_t = Z0_t - sum_{s<t} G_ts (eta delta_s),

with Z0 and G as in per_sample.py, and a head's step as in _steps.py. Tests compare it with the slower
`_fused` and `_tails.module_tail`; for these tests it runs on a CPU in Pallas' interpret mode.

All nets of a kind are in one launch. Narrower nets are padded; the padding is masked and stays zero. How the
work is divided, and where the parameters are, depends on the chip:

    GPU, by Triton   one program for each run, all side by side; parameters in registers. Neurons,
                     classes and samples are padded to powers of two, which Triton requires.
    TPU, by Mosaic   a core runs one program after another, with vectors of 8 x 128 numbers: 128 runs in
                     each program, as the last axis; parameters in memory on the chip, some classes at
                     a time if they are many. Neurons are padded to multiples of 8.

A run is a lane of a net. Axis letters: S lanes, N nets of the kind, B samples, h hidden neurons, C classes,
the last three padded; on a TPU T tiles of L = 128 runs. Every value has at least two axes, as Mosaic requires.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from qnn_jax import ops
from qnn_jax.training import _kernel_gpu, _kernel_tpu
from qnn_jax.training._steps import VECTORS, shapes
from qnn_jax.training.fleet import Fleet, Net

State = dict[str, jax.Array]
"""A head's parameters by name: matrices [S, N, C, h], vectors [S, N, C, 1], q [S, N, C, h, h] in full; on a
TPU [T, C, h, L], [T, C, 1, L] and [T, C, h, h, L]."""


def fits(fleet: Fleet, net: Net, block: int, platform: str) -> bool:
  """Whether the kernel can train a net that `_fused.fits`: it has room on the chip, and on a TPU 32 bits."""
  wide, of = width([net], platform), (net.head, fleet.classes)
  if platform == "tpu":
    return fleet.dtype == "float32" and _kernel_tpu.fits(*of, wide, block, fleet.dtype)
  tall, samples = _padded(fleet.classes, platform), _padded(block, platform)
  return platform == "cpu" or _kernel_gpu.fits(net.head, tall, wide, samples, fleet.dtype)


def _padded(size: int, platform: str) -> int:
  """The size that this platform's kernel pads to."""
  if platform == "tpu":
    return math.ceil(size / _kernel_tpu.SUBLANES) * _kernel_tpu.SUBLANES
  return 1 << (size - 1).bit_length()


def width(nets: Sequence[Net], platform: str) -> int:
  """The padded h of nets that the kernel trains, which must pass `_fused.fits`."""
  return _padded(max(net.hidden for net in nets if isinstance(net.hidden, int)), platform)


def start(fleet: Fleet, nets: Sequence[Net], params: Sequence[Any], platform: str) -> State:
  """The heads' parameters of nets of one kind, leaves [S, ...], as the kernel holds them."""
  wide = width(nets, platform)
  tall = fleet.classes if platform == "tpu" else _padded(fleet.classes, platform)

  sizes = shapes(nets[0].head, tall, wide)

  def laid_out(name, value):
    if name == "q":
      value = jax.vmap(ops.unpack)(value)  # [S, C, h, h]
    elif value.ndim == 2:
      value = value[..., None]  # [S, C, 1]
    else:
      value = value.swapaxes(1, 2)  # [S, C, h]
    missing = [m - n for m, n in zip(sizes[name], value.shape[1:], strict=True)]
    return jnp.pad(value, [(0, 0), *((0, n) for n in missing)])

  layers = [of_net["layers"][1] for of_net in params]
  state = {
    name: jnp.stack([laid_out(name, layer[name]) for layer in layers], 1) for name in layers[0]
  }
  return jax.tree.map(_kernel_tpu.to_tiles, state) if platform == "tpu" else state


def finish(fleet: Fleet, nets: Sequence[Net], state: State, lanes: int, platform: str) -> list[Any]:
  """The nets' parameters without the first layer's, leaves [S, ...]."""
  if platform == "tpu":
    state = {name: _kernel_tpu.from_tiles(value, lanes, len(nets)) for name, value in state.items()}

  def plain(name, value, hidden):
    value = value[:, : fleet.classes]
    if name == "q":
      q = value[:, :, :hidden, :hidden]
      return jax.vmap(ops.pack)((q + q.swapaxes(-1, -2)) / 2)  # rounding makes the halves differ
    return value[..., 0] if name in VECTORS else value[..., :hidden].swapaxes(1, 2)

  return [
    {"layers": {1: {name: plain(name, v[:, i], net.hidden) for name, v in state.items()}}}
    for i, net in enumerate(nets)
  ]


def run(
  fleet: Fleet,
  nets: Sequence[Net],
  state: State,
  rates: jax.Array,
  z: jax.Array,
  gram: jax.Array,
  labels: jax.Array,
  valid: jax.Array,
  platform: str,
) -> tuple[State, jax.Array]:
  """One block of nets of one kind.

  Args:
    fleet: of the nets.
    nets: N nets with the same head.
    state: from `start`.
    rates: [S] eta.
    z: [S, N, B, h] the first layers' total inputs by the parameters at the block's start.
    gram: [S, B, B] G.
    labels: [S, B] in 0..classes-1.
    valid: [B], 0 for a sample that is padding.
    platform: 'gpu', 'tpu', or 'cpu' for interpret mode.

  Returns:
    (state after the block, eta Delta [S, N, B, h]).
  """
  gram = jnp.pad(gram, ((0, 0), (0, 0), (0, _padded(gram.shape[1], platform) - gram.shape[1])))
  widths = jnp.asarray([net.hidden for net in nets], jnp.int32)
  valid = valid.astype(z.dtype)[:, None]
  of = nets[0].head, fleet.classes, state
  arguments = widths, rates, labels.astype(jnp.int32), valid, gram, z
  if platform == "tpu":
    return _kernel_tpu.run(*of, *arguments)
  return _kernel_gpu.run(*of, *arguments, interpret=platform == "cpu")
