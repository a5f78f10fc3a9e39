"""The block trainer for exact block SGD: first layers by large products, heads one block or sub-block at a time.

See per_sample.py for the equations. A net's head is trained by a tail (_tails.py), one sub-block at a time, or,
together with all heads of its kind, by a kernel (_kernel.py), one block at a time.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError
from qnn_jax.training import _compile, _kernel
from qnn_jax.training._tails import Tail, from_lanes, to_lanes
from qnn_jax.training._trainer import Trainer, checked, one_hot, precisely
from qnn_jax.training.constant import Constant
from qnn_jax.training.fleet import Fleet, Net


class _Layout(NamedTuple):
  """The columns of each net in the product of all first layers: nets with tails first, then kind by kind.

  Attributes:
    order: indices in `fleet.nets`, in the order of the columns.
    widths: how many columns each net has, padded if a kernel trains its head.
    tails: how many columns the tails have.
    kinds: indices in `fleet.nets` of the nets of each kernel.
  """

  order: list[int]
  widths: list[int]
  tails: int
  kinds: list[list[int]]

  @property
  def cuts(self) -> list[int]:
    """Where the columns of one net end and those of the next begin."""
    return list(itertools.accumulate(self.widths))[:-1]


def _layout(nets: Sequence[Net], tails: Sequence[Tail | None], platform: str) -> _Layout:
  width = lambda net: net.hidden if isinstance(net.hidden, int) else net.hidden[0]
  by_tail = [i for i, tail in enumerate(tails) if tail]
  kinds: dict[str, list[int]] = {}
  for i, tail in enumerate(tails):
    if not tail:
      kinds.setdefault(nets[i].head, []).append(i)
  widths = [width(nets[i]) for i in by_tail]
  of_tails = sum(widths)
  for of_kind in kinds.values():
    widths += [_kernel.width([nets[i] for i in of_kind], platform)] * len(of_kind)
  return _Layout(by_tail + sum(kinds.values(), []), widths, of_tails, list(kinds.values()))


def block_trainer(
  fleet: Fleet,
  tails: list[Tail | None],
  sub_block: int,
  constants: Constant,
  platform: str,
  precision: str,
) -> Trainer:
  """The trainer of nets whose first layers are affine.

  Args:
    fleet: the nets.
    tails: the tail of each net; None if a kernel trains its head.
    sub_block: samples that a tail takes at once.
    constants: inputs that are the same in every sample.
    platform: 'cpu', 'gpu' or 'tpu', where the programs run.
    precision: the precision of matrix products there.
  """
  layout = _layout(fleet.nets, tails, platform)
  of_kind = [[fleet.nets[i] for i in kind] for kind in layout.kinds]
  by_tail = [i for i, tail in enumerate(tails) if tail]

  def start(params, rates):
    first = [params[i]["layers"][0] for i in layout.order]
    pad = lambda a, width: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, width - a.shape[-1])])
    side_by_side = lambda name: jnp.concatenate(
      [pad(layer[name], width) for layer, width in zip(first, layout.widths)], -1
    )
    first_weights, first_bias = side_by_side("kernel"), side_by_side("bias")  # [S, n, columns]
    kernel, bias = constants.merge(first_weights, first_bias)
    return {
      "kernel": kernel,
      "bias": bias,
      "tails": [tail.start(p) for tail, p in zip(tails, params) if tail],
      "kinds": [
        _kernel.start(fleet, nets, [params[i] for i in kind], platform)
        for nets, kind in zip(of_kind, layout.kinds)
      ],
      "rates": checked(fleet, params, rates),
      # `finish` computes the weights of the constant inputs from these.
      "start": {"kernel": first_weights[:, ~constants.varies], "bias": first_bias},
    }

  def finish(state):
    kernel, bias = constants.separate(state["kernel"], state["bias"], **state["start"])
    kernels, biases = jnp.split(kernel, layout.cuts, -1), jnp.split(bias, layout.cuts, -1)
    lanes = len(bias)
    mine = [(i, tail) for i, tail in enumerate(tails) if tail]
    behind = {i: tail.finish(of, lanes) for (i, tail), of in zip(mine, state["tails"])}
    for nets, kind, of_state in zip(of_kind, layout.kinds, state["kinds"]):
      behind |= zip(kind, _kernel.finish(fleet, nets, of_state, lanes, platform))
    found = {}
    for i, kernel, bias in zip(layout.order, kernels, biases):
      hidden = fleet.nets[i].hidden
      h = hidden if isinstance(hidden, int) else hidden[0]
      first = {"kernel": kernel[..., :h], "bias": bias[..., :h]}
      found[i] = {"layers": {**behind[i]["layers"], 0: first}}
    return [found[i] for i in range(len(fleet.nets))]

  def samples(inputs, valid):
    return fleet.as_inputs(inputs) * valid[:, None]  # [S or 1, B, k]

  def prepare(inputs, chunk):
    def gram(block):
      order, valid = block
      x = samples(inputs[order], valid)
      return x @ x.swapaxes(1, 2) + constants.weight

    valid = chunk.valid.astype(fleet.dtype)
    return chunk._replace(gram=jax.lax.map(gram, (chunk.order, valid)))

  def heads(state, rates, z0, gram, labels, valid):
    states, steps, rest = state["tails"], [], (gram, labels, valid)
    if by_tail:
      mine, cuts = [tails[i] for i in by_tail], layout.cuts[: len(by_tail) - 1]
      z_tails = z0[..., : layout.tails] if of_kind else z0
      states, new = _by_tails(fleet, mine, cuts, sub_block, states, rates, z_tails, *rest)
      steps.append(new)
    z_kinds = z0[..., layout.tails :] if of_kind else z0
    kinds, new = _by_kernels(fleet, of_kind, state["kinds"], rates, z_kinds, *rest, platform)
    steps += new
    return states, kinds, steps[0] if len(steps) == 1 else jnp.concatenate(steps, -1)

  def run(state, inputs, labels, chunk):
    if chunk.gram is None:
      raise InputError(
        "run takes a chunk that the trainer's prepare has returned, got one without G"
      )
    lanes = len(state["bias"])
    fixed = {k: state[k] for k in ("rates", "start")}
    state = {k: v for k, v in state.items() if k not in fixed}

    def step(state, block):
      inputs, labels, valid, gram = block
      # From here on every lane has its own copy, even if all share an order: that is no slower on a CPU.
      of_lanes = lambda a: jnp.broadcast_to(a, (lanes, *a.shape[1:]))
      x, gram, labels = of_lanes(samples(inputs, valid)), of_lanes(gram), of_lanes(labels)
      kernel, bias = state["kernel"], state["bias"]  # [S, k, columns], [S, columns]
      z0 = x @ kernel + bias[:, None]  # Z0 = X W0 + b0
      states, kinds, steps = heads(state, fixed["rates"], z0, gram, labels, valid)
      bias = bias - constants.weight * steps.sum(1)
      kernel = _add(kernel, x, steps, platform)
      return {"kernel": kernel, "bias": bias, "tails": states, "kinds": kinds}, None

    # Fetches all samples of the chunk at once. They lie anywhere in memory, and a loop that only fetches
    # has more memory reads in flight.
    fetched = inputs[chunk.order], labels[chunk.order]
    blocks = *fetched, chunk.valid.astype(fleet.dtype), chunk.gram
    return jax.lax.scan(step, state, blocks)[0] | fixed

  start, prepare, run, finish = (
    precisely(function, platform, precision) for function in (start, prepare, run, finish)
  )
  return Trainer(
    start=_compile.jit(start, level=0),
    prepare=_compile.jit(prepare),
    run=_compile.jit(run, donate_argnums=0),
    finish=_compile.jit(finish, level=0),
  )


def _by_tails(fleet, tails, cuts, sub_block, states, rates, z0, gram, labels, valid):
  """(the tails' states, eta Delta) after one block, sub-block by sub-block.

  z0 [S, B, columns], gram [S, B, B], labels [S, B], valid [B], rates [S].
  """
  lanes, size, _ = z0.shape
  b = math.gcd(sub_block, size)
  y, etas = to_lanes(one_hot(labels, fleet)), to_lanes(rates)
  before = jnp.tril(jnp.ones((b, b), z0.dtype), -1)

  def take(a, i, axis):
    return jax.lax.dynamic_slice_in_dim(a, i * b, b, axis)

  def sub_step(carry, i):
    steps, states = carry
    rows = take(gram, i, 1)
    # The steps of this and later sub-blocks are still zero, so that the product sees earlier samples only.
    z = to_lanes(take(z0, i, 1) - rows @ steps)
    inside = to_lanes(take(rows, i, 2) * before)
    here = [
      tail.run(s, etas, z_net, inside, take(y, i, 0), take(valid, i, 0))
      for tail, s, z_net in zip(tails, states, jnp.split(z, cuts, 1))
    ]
    new = from_lanes(etas * jnp.concatenate([delta for _, delta in here], 1), lanes)
    return (jax.lax.dynamic_update_slice_in_dim(steps, new, i * b, 1), [s for s, _ in here]), None

  carry = (jnp.zeros_like(z0), states)  # eta Delta, and the tails' states
  (steps, states), _ = jax.lax.scan(sub_step, carry, jnp.arange(size // b))
  return states, steps


def _by_kernels(fleet, kinds, states, rates, z0, gram, labels, valid, platform):
  """(the kinds' states, eta Delta) after one block, with one launch for each kind; shapes as in `_by_tails`."""
  lanes, size, _ = z0.shape
  behind, steps, first = [], [], 0
  for nets, state in zip(kinds, states):
    wide = _kernel.width(nets, platform)
    z = z0[..., first : first + len(nets) * wide].reshape(lanes, size, len(nets), wide)
    state, new = _kernel.run(
      fleet, nets, state, rates, z.swapaxes(1, 2), gram, labels, valid, platform
    )
    behind.append(state)
    steps.append(new.swapaxes(1, 2).reshape(lanes, size, -1))
    first += len(nets) * wide
  return behind, steps


def _add(kernel, x, steps, platform):
  """W = W0 - X^T (eta Delta); on a CPU lane by lane, since the product of all would not fit a cache."""
  if platform != "cpu":
    return kernel - jnp.einsum("sbk,sbc->skc", x, steps)

  def one(i, kernel):
    of = lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False)
    return kernel.at[i].add(-(of(x).T @ of(steps)))

  return jax.lax.fori_loop(0, len(kernel), one, kernel)
