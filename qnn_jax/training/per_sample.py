"""Per-sample SGD, Algorithms 1 and 2, for a fleet of nets over many lanes at once.

Two methods follow the same trajectory, except for rounding:

  scan    one sample a step, with `jax.grad` through the whole module: the plain form, the reference.
  block   exact block SGD. The first layer sees x only through z = xW + b, so within a block of B
          samples that begins with W0, b0

              z_t = x_t W0 + b0 - eta * sum_{s<t} (x_s.x_t + 1) delta_s.

          Z0 = X W0 + b0 and G = X X^T + 1 are matrix products. The sequential part uses no array with
          an axis of inputs. The block ends with W = W0 - eta X^T Delta. Inside a block, sub-blocks
          treat the sum in the same way: one product for the sub-blocks before, and a recurrence over
          the few samples of one sub-block. The recurrence is computed by the tails (_tails.py,
          _fused.py), or on a GPU or TPU by a kernel for a whole block (_kernel.py). The samples have
          the same order in every epoch, so G is computed in the first epoch and kept. Inputs that are
          the same in every sample stay out of the products (constant.py). The code is in _block.py.

Learning rates are values, one for each lane, so that one program serves all rates.

`block` needs an affine first layer ("ann"); `scan` works with any layer.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from qnn_jax import losses
from qnn_jax.errors import InputError
from qnn_jax.training import _compile, _kernel, _trial, constant
from qnn_jax.training._block import block_trainer
from qnn_jax.training._fused import fits, fused_tail
from qnn_jax.training._tails import Tail, module_tail
from qnn_jax.training._trainer import PRECISIONS, Chunk, Trainer, checked, one_hot, precisely
from qnn_jax.training.constant import Constant
from qnn_jax.training.fleet import Fleet, Net, Params

METHODS = ("block", "scan")
"""The names of the methods."""
PLATFORMS = ("cpu", "gpu", "tpu")
"""The platforms that a trainer can be compiled for."""
TAILS = ("auto", "kernel", "fused", "modules")
"""The ways to compute the layers after the first."""

# About so many samples are in one call of the compiled program: one program then serves every training
# size, and the overhead of a call is a thousandth of its work.
_SAMPLES_A_CALL = 600

# Bytes of G that a process keeps from epoch to epoch; the rest is computed again every time. 25 seeds
# of 60,000 samples take 0.36 GB, in one process or divided among the workers.
_KEPT_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Method:
  """How the trajectory is computed. It changes the results by rounding only.

  Attributes:
    name: 'block' or 'scan'.
    block: B, the number of samples between two products with all the inputs. A training size that is not
      a multiple of B is padded with samples that change nothing.
    sub_block: b, the number of samples that a tail takes at once; B is rounded up to a multiple of it.
    tails: what computes the layers after the first: 'kernel' (Pallas, _kernel.py) or 'fused' (_fused.py),
      each for the nets that it can handle, or 'modules', the gradient of the modules. 'auto' is 'fused'
      on a CPU. On other platforms it is the kernel, if a trial block at first use agrees with 'fused'.
    precision: the precision of matrix products on a GPU or TPU. 'highest' is float32. 'high' and 'default'
      round the inputs of products, so that the trajectory differs by more than float32 rounding. A CPU
      has only one precision.
  """

  name: str = "block"
  block: int = 60
  sub_block: int = 6
  tails: str = "auto"
  precision: str = "highest"

  def __post_init__(self):
    if self.name not in METHODS:
      raise InputError(f"unknown method '{self.name}'; choose one of {', '.join(METHODS)}")
    if self.tails not in TAILS:
      raise InputError(f"unknown tails '{self.tails}'; choose one of {', '.join(TAILS)}")
    if self.precision not in PRECISIONS:
      raise InputError(
        f"unknown precision '{self.precision}'; choose one of {', '.join(PRECISIONS)}"
      )
    if self.block < 1 or self.sub_block < 1:
      raise InputError(
        f"block and sub_block must be at least 1, got block={self.block}, sub_block={self.sub_block}"
      )

  def samples_a_block(self, size: float = math.inf) -> int:
    """The B that is used: a multiple of sub_block, and no more than needed for `size` samples."""
    sub_block = min(self.sub_block, size)
    return int(sub_block) * math.ceil(min(self.block, size) / sub_block)


def train(
  trainer: Trainer,
  params: list[Params],
  rates: jax.Array,
  inputs: jax.Array,
  labels: jax.Array,
  chunks: list[Chunk],
  epochs: int,
) -> list[Params]:
  """Trains for `epochs` epochs, with the samples in the same order every time: i <- i + 1, no reshuffling.

  Args:
    trainer: from `make_trainer`.
    params: the parameters of every net, leaves [S, ...].
    rates: [S], eta of every lane, see `fleet.rates`.
    inputs: [available, n] floats, or 8-bit pixels, which become x / 255 - fleet.input_shift; without the
      constant columns that `make_trainer` was given.
    labels: [available], integers in 0..C-1.
    chunks: from `make_chunks`.
    epochs: the number of passes over the samples.

  Returns:
    The parameters after the last sample.
  """
  state = trainer.start(params, rates)
  for chunk in prepared_chunks(trainer, inputs, chunks, epochs):
    state = trainer.run(state, inputs, labels, chunk)
  return trainer.finish(state)


def prepared_chunks(
  trainer: Trainer, inputs: jax.Array, chunks: list[Chunk], epochs: int
) -> Iterator[Chunk]:
  """Yields the `chunks` of `epochs` epochs, prepared with inputs [N, n] for `trainer.run`."""
  kept: dict[int, Any] = {}
  size = 0
  for epoch in range(epochs):
    for i, chunk in enumerate(chunks):
      prepared = kept.get(i) or trainer.prepare(inputs, chunk)
      if i not in kept and epoch + 1 < epochs:
        size += sum(leaf.nbytes for leaf in jax.tree.leaves(prepared))
        if size <= _KEPT_BYTES:
          kept[i] = prepared
      yield prepared


def make_chunks(order: np.ndarray, method: Method) -> list[Chunk]:
  """Cuts an order [S, N] into the blocks of a `method`, and the blocks into the calls of one epoch.

  A single row, [1, N], is an order that all lanes share.
  """
  order = np.asarray(order)
  rows, size = order.shape
  block = method.samples_a_block(size)
  if method.name == "scan":
    block = math.gcd(size, _SAMPLES_A_CALL)  # the plain form has no padding
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


def make_trainer(
  fleet: Fleet, method: Method, constants: Constant | None = None, platform: str | None = None
) -> Trainer:
  """The compiled functions that train `fleet` by `method`.

  Args:
    fleet: the nets.
    method: how the trajectory is computed.
    constants: from `constant.constant_inputs`. With them `prepare` and `run` take only the inputs that
      vary. The parameters that go in and come out are those of all inputs.
    platform: 'cpu', 'gpu' or 'tpu', to compile for another platform than that of this process; kernels
      are not tried then.

  Raises:
    InputError: a net's first layer is not affine with the method 'block', or the platform is unknown.
  """
  if platform not in (None, *PLATFORMS):
    raise InputError(f"unknown platform '{platform}'; choose one of {', '.join(PLATFORMS)}")
  constants = constants or constant.none(fleet.in_features)
  if method.name == "scan":
    return _scan_trainer(fleet, constants, platform or jax.default_backend(), method.precision)
  for net in fleet.nets:
    first = net.hidden_kind if isinstance(net.hidden_kind, str) else net.hidden_kind[0]
    if first != "ann":
      raise InputError(
        f"method 'block' needs an affine first layer, 'ann', got '{first}'; use method 'scan'"
      )
  here = platform or jax.default_backend()
  tails = make_tails(fleet, method, here, tried=platform is None)
  return block_trainer(fleet, tails, method.sub_block, constants, here, method.precision)


def may_take_kinds(method: Method) -> bool:
  """Whether a `method` lets kernels take all nets of a kind together on an accelerator."""
  return method.name == "block" and method.tails in ("auto", "kernel")


def make_tails(
  fleet: Fleet, method: Method, platform: str, *, tried: bool = True
) -> list[Tail | None]:
  """The tail of every net of a `fleet`: the fast one if it fits, None if a kernel takes the net.

  method, constants and platform are as in `make_trainer`; tried says whether kernels are tried first.
  """
  by_kernel = method.tails == "kernel" or (method.tails == "auto" and platform != "cpu")
  block = method.samples_a_block()
  kinds: dict[str, list[Net]] = {}
  for net in fleet.nets:
    if by_kernel and fits(net) and _kernel.fits(fleet, net, block, platform):
      kinds.setdefault(net.head, []).append(net)
  if method.tails == "auto" and tried:
    for head, nets in kinds.items():
      kinds[head] = list(_trial.taken(fleet, nets, block, platform))

  def of(net):
    if method.tails == "modules" or not fits(net):
      return module_tail(fleet, net)
    return None if net in kinds.get(net.head, ()) else fused_tail(net)

  return [of(net) for net in fleet.nets]


def _scan_trainer(fleet, constants, platform, precision):
  def run_net(net, params, rates, inputs, labels, order):
    graphdef = fleet.graphdef(net)

    def loss(params, x, y):
      return losses.sigmoid_cross_entropy(nnx.merge(graphdef, params)(x), y)

    def run_lane(params, rate, order):
      def step(params, i):
        x = constants.whole(fleet.as_inputs(inputs[i]))
        grads = jax.grad(loss)(params, x, one_hot(labels[i], fleet))
        return jax.tree.map(lambda p, grad: p - rate * grad, params, grads), None  # (7)

      return jax.lax.scan(step, params, order)[0]

    if order.shape[0] == 1:
      return jax.vmap(run_lane, in_axes=(0, 0, None))(params, rates, order[0])
    return jax.vmap(run_lane)(params, rates, order)

  def run(state, inputs, labels, chunk):
    order = chunk.order.swapaxes(0, 1).reshape(chunk.order.shape[1], -1)
    params = [
      run_net(net, of_net, state["rates"], inputs, labels, order)
      for net, of_net in zip(fleet.nets, state["params"])
    ]
    return {"params": params, "rates": state["rates"]}

  copy = lambda params: jax.tree.map(jnp.copy, params)  # run donates its state
  start = lambda params, rates: {"params": copy(params), "rates": checked(fleet, params, rates)}
  return Trainer(
    start=_compile.jit(start, level=0),
    prepare=lambda inputs, chunk: chunk,
    run=_compile.jit(precisely(run, platform, precision), donate_argnums=0),
    finish=_compile.jit(lambda state: copy(state["params"]), level=0),
  )
