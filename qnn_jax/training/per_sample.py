"""Per-sample SGD, Algorithms 1 and 2, for a fleet of nets over many seeds at once.

Two methods walk the same trajectory, to rounding:

  scan    one sample a step, `jax.grad` through the whole module: the plain form and the reference.
  block   exact block SGD. The first layer sees x only through z = xW + b, so within a block of B
          samples that begins with W0, b0

              z_t = x_t W0 + b0 - eta * sum_{s<t} (x_s.x_t + 1) delta_s.

          Z0 = X W0 + b0 and G = X X^T + 1 are matrix products; what is sequential touches no array
          with an axis of inputs; the block ends with W = W0 - eta X^T Delta. Inside a block,
          sub-blocks do the same to the sum: a product for the sub-blocks before, and a recurrence
          over the few samples of one, which is the tails' part (_tails.py, _fused.py). The samples
          come in the same order in every epoch, so G is made in the first and kept. Inputs that are
          the same in every sample stay out of the products (constant.py).

`block` needs an affine first layer ("ann"); for `scan` any layer will do.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from qnn_jax import losses
from qnn_jax.errors import InputError
from qnn_jax.training import _compile, constant
from qnn_jax.training._fused import fits, fused_tail
from qnn_jax.training._tails import Tail, from_lanes, module_tail, to_lanes
from qnn_jax.training.constant import Constant
from qnn_jax.training.fleet import Fleet, Params

METHODS = ("block", "scan")

# Samples in one call of the compiled program, about: one program then serves every training size,
# and a call's own cost is a thousandth of its work.
_SAMPLES_A_CALL = 600

# Bytes of G that a process keeps from epoch to epoch; what is beyond is made anew every time. 25 seeds
# of 60,000 samples take 0.36 GB, whether one process has them or each worker its part.
_KEPT_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Method:
  """How the trajectory is computed, which changes it by rounding only.

  Attributes:
    name: 'block' or 'scan'.
    block: B, samples between two products with all the inputs; a size it does not divide is padded
      with samples that change nothing.
    sub_block: b, samples a tail takes at once; B is rounded up to a multiple of it.
    fused: whether nets that allow it use the hand-written tails, or all the modules' own gradient.
  """

  name: str = "block"
  block: int = 60
  sub_block: int = 6
  fused: bool = True

  def __post_init__(self):
    if self.name not in METHODS:
      raise InputError(f"unknown method '{self.name}'; choose one of {', '.join(METHODS)}")
    if self.block < 1 or self.sub_block < 1:
      raise InputError(
        f"block and sub_block must be at least 1, got block={self.block}, sub_block={self.sub_block}"
      )


class Chunk(NamedTuple):
  """Consecutive blocks of samples: order [blocks, S or 1, B] and valid [blocks, B], 0 on padding.

  gram [blocks, S or 1, B, B] is G, once `Trainer.prepare` has made it, which `Trainer.run` needs.
  """

  order: jax.Array
  valid: jax.Array
  gram: jax.Array | None = None


class Trainer(NamedTuple):
  """Compiled functions of one fleet; see `make_trainer`.

  start(params) -> state, prepare(inputs, chunk) -> chunk, run(state, inputs, labels, prepared chunk)
  -> state (the old one is given up) and finish(state) -> params.
  """

  start: Callable[[list[Params]], Any]
  prepare: Callable[[jax.Array, Chunk], Chunk]
  run: Callable[[Any, jax.Array, jax.Array, Chunk], Any]
  finish: Callable[[Any], list[Params]]


def train(
  trainer: Trainer,
  params: list[Params],
  inputs: jax.Array,
  labels: jax.Array,
  chunks: list[Chunk],
  epochs: int,
) -> list[Params]:
  """`epochs` passes over the chunks' samples, in the same order every time: i <- i + 1, no reshuffling.

  Args:
    trainer: of `make_trainer`.
    params: of every net, leaves [S, ...].
    inputs: [available, n] of floats, or of 8-bit pixels, which become x / 255 - fleet.input_shift;
      without the columns that `make_trainer` was told are constant.
    labels: [available], integers in 0..C-1.
    chunks: of `make_chunks`.
    epochs: passes.

  Returns:
    The parameters after the last sample.
  """
  state = trainer.start(params)
  for chunk in passes(trainer, inputs, chunks, epochs):
    state = trainer.run(state, inputs, labels, chunk)
  return trainer.finish(state)


def passes(
  trainer: Trainer, inputs: jax.Array, chunks: list[Chunk], epochs: int
) -> Iterator[Chunk]:
  """The chunks of `epochs` passes one after another, prepared for `trainer.run`."""
  kept, size = {}, 0
  for epoch, (i, chunk) in itertools.product(range(epochs), enumerate(chunks)):
    prepared = kept.get(i) or trainer.prepare(inputs, chunk)
    if i not in kept and epoch + 1 < epochs:
      size += sum(leaf.nbytes for leaf in jax.tree.leaves(prepared))
      if size <= _KEPT_BYTES:
        kept[i] = prepared
    yield prepared


def make_chunks(order: np.ndarray, method: Method) -> list[Chunk]:
  """Cuts an order [S, N] into blocks, and blocks into the calls of one epoch.

  A row of one seed, [1, N], is an order that all seeds share.
  """
  order = np.asarray(order)
  rows, size = order.shape
  sub_block = min(method.sub_block, size)
  block = sub_block * math.ceil(min(method.block, size) / sub_block)
  if method.name == "scan":
    block = math.gcd(size, _SAMPLES_A_CALL)  # the plain form knows no padding
  blocks = math.ceil(size / block)
  padded = np.zeros((rows, blocks * block), np.int32)
  padded[:, :size] = order
  valid = np.arange(blocks * block) < size
  padded = padded.reshape(rows, blocks, block).swapaxes(0, 1)
  valid = valid.reshape(blocks, block).astype(np.float32)
  wanted = max(1, _SAMPLES_A_CALL // block)
  a_call = max(k for k in range(1, wanted + 1) if blocks % k == 0)
  return [
    Chunk(jnp.asarray(padded[i : i + a_call]), jnp.asarray(valid[i : i + a_call]))
    for i in range(0, blocks, a_call)
  ]


def make_trainer(fleet: Fleet, method: Method, constants: Constant | None = None) -> Trainer:
  """The compiled functions that train `fleet` by `method`.

  Args:
    fleet: nets and how they learn.
    method: how the trajectory is computed.
    constants: of `constant.constant_inputs`; then `prepare` and `run` take only the inputs that
      vary, while parameters are of all inputs at both ends.

  Raises:
    InputError: method 'block' with a net whose first layer is not affine.
  """
  constants = constants or constant.none(fleet.in_features)
  if method.name == "scan":
    return _scan_trainer(fleet, constants)
  for net in fleet.nets:
    first = net.hidden_kind if isinstance(net.hidden_kind, str) else net.hidden_kind[0]
    if first != "ann":
      raise InputError(
        f"method 'block' needs an affine first layer, 'ann', got '{first}'; use method 'scan'"
      )
  return _block_trainer(fleet, make_tails(fleet, method), method.sub_block, constants)


def make_tails(fleet: Fleet, method: Method) -> list[Tail]:
  """The tail of every net: the fast one where it fits."""
  return [
    fused_tail(fleet, net) if method.fused and fits(net) else module_tail(fleet, net)
    for net in fleet.nets
  ]


def _one_hot(labels, fleet):
  return jax.nn.one_hot(labels, fleet.classes, dtype=fleet.dtype)


def _scan_trainer(fleet, constants):
  def run_net(net, params, inputs, labels, order):
    graphdef = fleet.graphdef(net)

    def loss(params, x, y):
      return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params)(x), y)

    def step(params, i):
      x = constants.whole(fleet.as_inputs(inputs[i]))
      grads = jax.grad(loss)(params, x, _one_hot(labels[i], fleet))
      return jax.tree.map(
        lambda p, grad: p - fleet.learning_rate * grad, params, grads
      ), None  # (7)

    run_seed = lambda params, order: jax.lax.scan(step, params, order)[0]
    if order.shape[0] == 1:
      return jax.vmap(run_seed, in_axes=(0, None))(params, order[0])
    return jax.vmap(run_seed)(params, order)

  def run(state, inputs, labels, chunk):
    order = chunk.order.swapaxes(0, 1).reshape(chunk.order.shape[1], -1)
    return [run_net(net, params, inputs, labels, order) for net, params in zip(fleet.nets, state)]

  copy = lambda params: jax.tree.map(jnp.copy, params)  # run gives its state up
  return Trainer(
    start=_compile.jit(copy, level=0),
    prepare=lambda inputs, chunk: chunk,
    run=_compile.jit(run, donate_argnums=0),
    finish=_compile.jit(copy, level=0),
  )


def _block_trainer(fleet, tails, sub_block, constants):
  widths = [net.hidden if isinstance(net.hidden, int) else net.hidden[0] for net in fleet.nets]
  cuts = list(itertools.accumulate(widths))[:-1]

  def start(params):
    first = [p["layers"][0] for p in params]
    start_kernel = jnp.concatenate([layer["kernel"] for layer in first], -1)  # [S, n, columns]
    start_bias = jnp.concatenate([layer["bias"] for layer in first], -1)
    kernel, bias = constants.merge(start_kernel, start_bias)
    return {
      "kernel": kernel,
      "bias": bias,
      "tails": [tail.start(p) for tail, p in zip(tails, params)],
      # What the constant inputs' weights are told from in the end.
      "start": {"kernel": start_kernel[:, ~constants.varies], "bias": start_bias},
    }

  def finish(state):
    kernel, bias = constants.separate(state["kernel"], state["bias"], **state["start"])
    kernels, biases = jnp.split(kernel, cuts, -1), jnp.split(bias, cuts, -1)
    seeds = len(bias)
    return [
      {"layers": {**tail.finish(s, seeds)["layers"], 0: {"kernel": kernel, "bias": bias}}}
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
    seeds, eta = len(state["bias"]), fleet.learning_rate
    start, state = state["start"], {k: v for k, v in state.items() if k != "start"}

    def step(state, block):
      inputs, labels, valid, gram = block
      x, y = samples(inputs, valid), _one_hot(labels, fleet)
      # From here on every seed has its own, in a shared order too: that is no slower on a CPU.
      x, gram, y = (jnp.broadcast_to(a, (seeds, *a.shape[1:])) for a in (x, gram, y))
      rates = eta, constants.weight
      return _block_step(rates, tails, cuts, sub_block, state, x, gram, y, valid), None

    # All of the chunk's samples at once: they lie anywhere in memory, and a loop that does nothing but
    # fetch them has more of them under way.
    fetched = inputs[chunk.order], labels[chunk.order]
    blocks = *fetched, chunk.valid.astype(fleet.dtype), chunk.gram
    return jax.lax.scan(step, state, blocks)[0] | {"start": start}

  return Trainer(
    start=_compile.jit(start, level=0),
    prepare=_compile.jit(prepare),
    run=_compile.jit(run, donate_argnums=0),
    finish=_compile.jit(finish, level=0),
  )


def _block_step(rates, tails, cuts, sub_block, state, x, gram, y, valid):
  """One block: x [S, B, k], gram [S, B, B], y [S, B, C], valid [B]; rates eta and the bias's weight."""
  eta, weight = rates
  kernel, bias = state["kernel"], state["bias"]  # [S, k, columns], [S, columns]
  seeds, size, _ = y.shape
  b = math.gcd(sub_block, size)
  z0 = x @ kernel + bias[:, None]  # Z0 = X W0 + b0
  y = to_lanes(y)
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
      tail.run(s, z_net, inside, take(y, i, 0), take(valid, i, 0))
      for tail, s, z_net in zip(tails, states, jnp.split(z, cuts, 1))
    ]
    new = eta * from_lanes(jnp.concatenate([delta for _, delta in here], 1), seeds)
    return (jax.lax.dynamic_update_slice_in_dim(steps, new, i * b, 1), [s for s, _ in here]), None

  carry = (jnp.zeros_like(z0), state["tails"])  # eta Delta, and the tails' states
  (steps, states), _ = jax.lax.scan(sub_step, carry, jnp.arange(size // b))
  bias = bias - weight * steps.sum(1)
  return {"kernel": _add(kernel, x, steps), "bias": bias, "tails": states}


def _add(kernel, x, steps):
  """W = W0 - X^T (eta Delta), one seed after another: the product of all would not fit a cache."""

  def one(i, kernel):
    of = lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False)
    return kernel.at[i].add(-(of(x).T @ of(steps)))

  return jax.lax.fori_loop(0, len(kernel), one, kernel)
