"""The block trainer, exact block SGD: first layers by large products, tails a sub-block at a time.

See per_sample.py for the equations, and _tails.py for what a tail is.
"""

import itertools
import math

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError
from qnn_jax.training import _compile
from qnn_jax.training._tails import Tail, from_lanes, to_lanes
from qnn_jax.training._trainer import Trainer, checked, one_hot
from qnn_jax.training.constant import Constant
from qnn_jax.training.fleet import Fleet


def block_trainer(fleet: Fleet, tails: list[Tail], sub_block: int, constants: Constant) -> Trainer:
  """The trainer of nets whose first layers are affine, with these tails."""
  widths = [net.hidden if isinstance(net.hidden, int) else net.hidden[0] for net in fleet.nets]
  cuts = list(itertools.accumulate(widths))[:-1]

  def start(params, rates):
    first = [p["layers"][0] for p in params]
    start_kernel = jnp.concatenate([layer["kernel"] for layer in first], -1)  # [S, n, columns]
    start_bias = jnp.concatenate([layer["bias"] for layer in first], -1)
    kernel, bias = constants.merge(start_kernel, start_bias)
    return {
      "kernel": kernel,
      "bias": bias,
      "tails": [tail.start(p) for tail, p in zip(tails, params)],
      "rates": checked(fleet, params, rates),
      # What the constant inputs' weights are told from in the end.
      "start": {"kernel": start_kernel[:, ~constants.varies], "bias": start_bias},
    }

  def finish(state):
    kernel, bias = constants.separate(state["kernel"], state["bias"], **state["start"])
    kernels, biases = jnp.split(kernel, cuts, -1), jnp.split(bias, cuts, -1)
    lanes = len(bias)
    return [
      {"layers": {**tail.finish(s, lanes)["layers"], 0: {"kernel": kernel, "bias": bias}}}
      for tail, s, kernel, bias in zip(tails, state["tails"], kernels, biases)
    ]

  def samples(inputs, valid):
    return fleet.as_inputs(inputs) * valid[:, None]  # [S or 1, B, k]

  def prepare(inputs, chunk):
    def gram(block):
      order, valid = block
      x = samples(inputs[order], valid)
      return x @ x.swapaxes(1, 2) + constants.weight

    valid = chunk.valid.astype(fleet.dtype)
    return chunk._replace(gram=jax.lax.map(gram, (chunk.order, valid)))

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
      x, y = samples(inputs, valid), one_hot(labels, fleet)
      # From here on every lane has its own, in a shared order too: that is no slower on a CPU.
      x, gram, y = (jnp.broadcast_to(a, (lanes, *a.shape[1:])) for a in (x, gram, y))
      rates = fixed["rates"], constants.weight
      return _block_step(rates, tails, cuts, sub_block, state, x, gram, y, valid), None

    # All of the chunk's samples at once: they lie anywhere in memory, and a loop that does nothing but
    # fetch them has more of them under way.
    fetched = inputs[chunk.order], labels[chunk.order]
    blocks = *fetched, chunk.valid.astype(fleet.dtype), chunk.gram
    return jax.lax.scan(step, state, blocks)[0] | fixed

  return Trainer(
    start=_compile.jit(start, level=0),
    prepare=_compile.jit(prepare),
    run=_compile.jit(run, donate_argnums=0),
    finish=_compile.jit(finish, level=0),
  )


def _block_step(rates, tails, cuts, sub_block, state, x, gram, y, valid):
  """One block: x [S, B, k], gram [S, B, B], y [S, B, C], valid [B]; rates eta [S] and the bias's weight."""
  eta, weight = rates
  kernel, bias = state["kernel"], state["bias"]  # [S, k, columns], [S, columns]
  lanes, size, _ = y.shape
  b = math.gcd(sub_block, size)
  z0 = x @ kernel + bias[:, None]  # Z0 = X W0 + b0
  y, etas = to_lanes(y), to_lanes(eta)
  before = jnp.tril(jnp.ones((b, b), x.dtype), -1)

  def take(a, i, axis):
    return jax.lax.dynamic_slice_in_dim(a, i * b, b, axis)

  def sub_step(carry, i):
    steps, states = carry
    rows = take(gram, i, 1)
    # The steps of this sub-block and those behind it are still zero: the product sees only the past.
    z = to_lanes(take(z0, i, 1) - rows @ steps)
    inside = to_lanes(take(rows, i, 2) * before)
    here = [
      tail.run(s, etas, z_net, inside, take(y, i, 0), take(valid, i, 0))
      for tail, s, z_net in zip(tails, states, jnp.split(z, cuts, 1))
    ]
    new = from_lanes(etas * jnp.concatenate([delta for _, delta in here], 1), lanes)
    return (jax.lax.dynamic_update_slice_in_dim(steps, new, i * b, 1), [s for s, _ in here]), None

  carry = (jnp.zeros_like(z0), state["tails"])  # eta Delta, and the tails' states
  (steps, states), _ = jax.lax.scan(sub_step, carry, jnp.arange(size // b))
  bias = bias - weight * steps.sum(1)
  return {"kernel": _add(kernel, x, steps), "bias": bias, "tails": states}


def _add(kernel, x, steps):
  """W = W0 - X^T (eta Delta), one lane after another: the product of all would not fit a cache."""

  def one(i, kernel):
    of = lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False)
    return kernel.at[i].add(-(of(x).T @ of(steps)))

  return jax.lax.fori_loop(0, len(kernel), one, kernel)
