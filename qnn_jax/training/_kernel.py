"""A block's recurrence as one kernel a kind of head, for accelerators: Algorithms 1 and 2 in Pallas.

On a GPU or TPU a sample's few thousand products take no time; what takes it is that they follow one
another, each a launch of its own. Here one launch takes a block of B samples: a program a net and lane
holds the head's parameters on the chip and walks through the block's samples, plain per-sample SGD,

    z_t = Z0_t - sum_{s<t} G_ts (eta delta_s),

with Z0 and G as in per_sample.py. Its slow twins are `_fused` and `_tails.module_tail`, which tests hold
it to; on a CPU it runs in Pallas' interpret mode, for those tests.

All nets of a kind go in one launch. Hidden neurons, classes and samples are padded to powers of two,
which Triton asks for; what is padded is masked, and stays zero. The same source serves Triton (GPU) and
Mosaic (TPU): every value has two axes or more, as Mosaic wants it, and no row of a value is indexed.

Axis letters: S lanes, N nets of the kind, B samples, h hidden neurons, C classes, the last three padded.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from qnn_jax import ops
from qnn_jax.training.fleet import Fleet, Net

State = dict[str, jax.Array]
"""A head's parameters by name: matrices [S, N, C, h], vectors [S, N, C, 1], q [S, N, C, h, h] in full."""

# Registers of a GPU's program: Q takes 64 KB at 16 classes and 32 neurons, which 8 warps hold and 4 spill.
_WARPS = {"qnn": 8}
_FEW_WARPS = 4


def padded(size: int) -> int:
  """The least power of two that is not smaller."""
  return 1 << (size - 1).bit_length()


def width(nets: Sequence[Net]) -> int:
  """h, padded, of nets that the kernel takes, those of `_fused.fits`."""
  return padded(max(net.hidden for net in nets if isinstance(net.hidden, int)))


def start(fleet: Fleet, nets: Sequence[Net], params: Sequence[Any]) -> State:
  """The heads' parameters of nets of one kind, leaves [S, ...], as the kernel holds them."""
  wide, tall = width(nets), padded(fleet.classes)

  def laid_out(name, value):
    if name == "q":
      value = jax.vmap(ops.unpack)(value)  # [S, C, h, h]
    elif value.ndim == 2:
      value = value[..., None]  # [S, C, 1]
    else:
      value = value.swapaxes(1, 2)  # [S, C, h]
    sizes = {1: (tall,), 2: (tall, 1 if name in _VECTORS else wide), 3: (tall, wide, wide)}
    missing = [m - n for m, n in zip(sizes[value.ndim - 1], value.shape[1:])]
    return jnp.pad(value, [(0, 0), *((0, n) for n in missing)])

  layers = [of_net["layers"][1] for of_net in params]
  return {
    name: jnp.stack([laid_out(name, layer[name]) for layer in layers], 1) for name in layers[0]
  }


def finish(fleet: Fleet, nets: Sequence[Net], state: State) -> list[Any]:
  """The nets' parameters without the first layer's, leaves [S, ...]."""

  def plain(name, value, hidden):
    value = value[:, : fleet.classes]
    if name == "q":
      q = value[:, :, :hidden, :hidden]
      return jax.vmap(ops.pack)((q + q.swapaxes(-1, -2)) / 2)  # rounding parts the halves
    return value[..., 0] if name in _VECTORS else value[..., :hidden].swapaxes(1, 2)

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
    state: of `start`.
    rates: [S] eta.
    z: [S, N, B, h] the first layers' total inputs by the parameters at the block's start.
    gram: [S, B, B] G.
    labels: [S, B] in 0..classes-1.
    valid: [B], 0 for a sample that is padding.
    platform: 'gpu', 'tpu', or 'cpu' for interpret mode.

  Returns:
    (state behind the block, eta Delta [S, N, B, h]).
  """
  head, names = nets[0].head, tuple(state)
  lanes, count, block, wide = z.shape
  gram = jnp.pad(gram, ((0, 0), (0, 0), (0, padded(block) - block)))
  widths = jnp.asarray([net.hidden for net in nets], jnp.int32).reshape(count, 1, 1)
  arguments = (
    (widths, _of_net), (rates.reshape(lanes, 1, 1), _of_lane),
    (labels.astype(jnp.int32)[..., None], _of_lane), (valid.astype(z.dtype)[:, None], _of_all),
    (gram, _of_lane), (z, _of_both), *((state[name], _of_both) for name in names),
  )  # fmt: skip
  shapes = [(lanes, count, padded(block), wide), *(state[name].shape for name in names)]
  outputs = [jax.ShapeDtypeStruct(shape, z.dtype) for shape in shapes]
  options: dict[str, Any] = {}
  if platform == "gpu":
    warps = _WARPS.get(head, _FEW_WARPS)
    options["compiler_params"] = triton.CompilerParams(num_warps=warps, num_stages=1)
  steps, *new = pl.pallas_call(
    functools.partial(_kernel, _HEADS[head], fleet.classes, names),
    grid=(lanes, count),
    in_specs=[_spec(value, of) for value, of in arguments],
    out_specs=[_spec(value, _of_both) for value in outputs],
    out_shape=outputs,
    input_output_aliases={6 + i: 1 + i for i in range(len(names))},
    interpret=platform == "cpu",
    **options,
  )(*(value for value, _ in arguments))
  return dict(zip(names, new)), steps[:, :, :block]


def _kernel(head, classes, names, width, eta, labels, valid, gram, z, *refs):
  """The program of one net and lane; arguments are references without the axes [S, N]."""
  params = {name: ref[...] for name, ref in zip(names, refs)}
  steps_out, *params_out = refs[len(names) :]
  block, wide = z.shape
  samples, rate = steps_out.shape[0], eta[...]
  tall = params["bias"].shape[0]
  is_neuron = _iota((1, wide), 1) < width[...]
  is_class = _iota((tall, 1), 0) < classes

  def step(t, carry):
    steps, params = carry  # eta Delta [B, h], zero from t on
    here = pl.ds(t, 1)
    past = jnp.where(_iota((1, samples), 1) < t, gram[here, :], 0).reshape(samples, 1)
    total = z[here, :] - (past * steps).sum(0, keepdims=True)
    a = jnp.where(is_neuron, jax.nn.sigmoid(total), 0)  # [1, h]
    y = jnp.where(_iota((tall, 1), 0) == labels[here, :], 1.0, 0.0)

    def last(outputs):  # (50)
      return jnp.where(is_class, valid[here, :] * (jax.nn.sigmoid(outputs) - y), 0)

    back, params = head(params, a, last, rate)
    delta = back * a * (1 - a)  # g' of (41)
    return jnp.where(_iota((samples, wide), 0) == t, rate * delta, steps), params

  steps, params = jax.lax.fori_loop(0, block, step, (jnp.zeros((samples, wide), z.dtype), params))
  steps_out[...] = steps
  for name, ref in zip(names, params_out):
    ref[...] = params[name]


# A head's step: (params, a [1, h], outputs [C, 1] -> delta of the last layer, eta) -> (what goes back to the
# hidden layer [1, h], params behind the step). The equations are those of `_fused`, written for one sample.


def _ann(params, a, last, rate):
  e = last(_rows(params["kernel"] * a) + params["bias"])
  return _columns(params["kernel"] * e), _moved(params, rate, kernel=e * a, bias=e)


def _qnn(params, a, last, rate):
  q = params["q"]
  tall, wide = params["kernel"].shape
  v = (q * a.reshape(1, 1, wide)).sum(2)  # [C, h], V = A Q of (44)
  e = last(_rows(params["kernel"] * a) + params["bias"] + _rows(v * a))  # (24)
  back = _columns(params["kernel"] * e) + 2 * _columns(v * e)  # (47)
  m_a = jnp.where(_iota((wide, wide), 0) == _iota((wide, wide), 1), 1.0, 2.0)
  m_a = m_a * (a.reshape(wide, 1) * a)  # M(a) of (35)
  q_step = e.reshape(tall, 1, 1) * m_a.reshape(1, wide, wide)  # (37)
  return back, _moved(params, rate, kernel=e * a, bias=e, q=q_step)


def _rpqnn(params, a, last, rate):
  v1 = _rows(params["kernel"] * a) + params["bias"]
  v2 = _rows(params["u"] * a) + params["c"]
  e = last(v1 * v2)  # (52)
  e1, e2 = e * v2, e * v1  # (56) and (59), (57) and (60)
  back = _columns(params["kernel"] * e1) + _columns(params["u"] * e2)
  return back, _moved(params, rate, kernel=e1 * a, bias=e1, u=e2 * a, c=e2)


def _heavy(params, a, last, rate):
  square = a * a
  e = last(_rows(params["kernel"] * a) + _rows(params["heavy_kernel"] * square) + params["bias"])
  back = _columns(params["kernel"] * e) + 2 * a * _columns(params["heavy_kernel"] * e)
  return back, _moved(params, rate, kernel=e * a, bias=e, heavy_kernel=e * square)


_HEADS: dict[str, Callable] = {"ann": _ann, "qnn": _qnn, "rpqnn": _rpqnn, "heavy": _heavy}
_VECTORS = ("bias", "c")


def _moved(params, rate, **gradients):
  """Every parameter after its step, (7)."""
  return {name: value - rate * gradients[name] for name, value in params.items()}


def _rows(x):
  return x.sum(1, keepdims=True)


def _columns(x):
  return x.sum(0, keepdims=True)


def _iota(shape, axis):
  return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


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
