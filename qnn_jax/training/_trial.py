"""Checks the kernel on the device where it runs: at first use it compares one block with the fused tail."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.training import _kernel
from qnn_jax.training._fused import fused_tail
from qnn_jax.training._tails import from_lanes, to_lanes
from qnn_jax.training.fleet import Fleet, Lane, Net, init

MOST = 1e-5
"""The largest difference between the two that is accepted, in any parameter."""

_RATES = 0.1, 0.05, 0.02  # of the lanes that are tried
_PADDING = slice(1, None, 5)  # samples that are tried as padding


def taken(fleet: Fleet, nets: Sequence[Net], block: int, platform: str) -> tuple[Net, ...]:
  """Those of the nets, all of one kind, for which the kernel and the fused tail agree on a block.

  The widest net is tried together with the narrowest, which has the most padding. If they fail, the widest is
  left out and the next one is tried. A warning names the nets that are left out. It points at the caller of
  `per_sample.make_trainer`.
  """
  by_width = tuple(sorted(nets, key=lambda net: net.hidden))
  return _taken(by_width, fleet.classes, fleet.dtype, block, platform)


def tried(nets: Sequence[Net], classes: int, dtype: str) -> Fleet:
  """The fleet that is tried for these nets of one kind, sorted by width: the narrowest and the widest."""
  return Fleet(tuple(dict.fromkeys((nets[0], nets[-1]))), 1, classes, dtype)


@functools.cache
def _taken(nets, classes, dtype, block, platform):
  left, reasons = nets, []
  while left and (why := _objection(tried(left, classes, dtype), block, platform)):
    left = left[:-1]
    reasons.append(why)
  if reasons:
    sizes = ", ".join(str(net.hidden) for net in nets[len(left) :])
    warnings.warn(
      f"the kernel of {nets[0].head} with {sizes} hidden neurons {reasons[0]}; the fused form is used"
      " there, which is slower; --config.tails=fused asks for it without this trial",
      stacklevel=5,  # _taken, taken, make_tails, make_trainer
    )
  return left


def _objection(fleet, block, platform) -> str:
  """The reason not to use the kernel; '' if there is none."""
  try:
    difference = _difference(fleet, block, platform)
  except Exception as error:  # whatever a compiler or a driver says of a kernel
    return f"does not run here ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
  if difference <= MOST:
    return ""
  return f"differs by {difference:.2g} from the fused form after one block"


def _difference(fleet: Fleet, block: int, platform: str) -> float:
  by_kernel, by_tail, params = forms(fleet, block, platform)
  found = jax.jit(by_kernel)(params), jax.jit(by_tail)(params)
  apart = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), *found)
  return float(np.max([np.asarray(leaf) for leaf in jax.tree.leaves(apart)]))


def forms(fleet: Fleet, block: int, platform: str) -> tuple[Callable, Callable, Any]:
  """Functions that train a block by the kernel and by the fused tail, and the parameters that both start from."""
  nets = fleet.nets
  hidden = [net.hidden if isinstance(net.hidden, int) else net.hidden[0] for net in nets]
  lanes, wide = len(_RATES), _kernel.width(nets, platform)
  random = np.random.default_rng(0)
  params = init(fleet, [Lane(seed, init_scale=0.5) for seed in range(lanes)])
  z = [jnp.asarray(random.normal(size=(lanes, block, h)), fleet.dtype) for h in hidden]
  x = random.normal(size=(lanes, block, 8))
  gram = jnp.asarray(x @ x.swapaxes(1, 2) + 1, fleet.dtype)
  labels = jnp.asarray(random.integers(fleet.classes, size=(lanes, block)))
  valid = jnp.ones(block, fleet.dtype).at[_PADDING].set(0)
  rates = jnp.asarray(_RATES, fleet.dtype)

  def by_kernel(params):
    state = _kernel.start(fleet, nets, params, platform)
    padded = [jnp.pad(of, ((0, 0), (0, 0), (0, wide - h))) for of, h in zip(z, hidden)]
    of_all = jnp.stack(padded, 1)
    state, steps = _kernel.run(fleet, nets, state, rates, of_all, gram, labels, valid, platform)
    behind = _kernel.finish(fleet, nets, state, lanes, platform)
    return behind, [steps[:, i, :, :h] for i, h in enumerate(hidden)]

  def by_tail(params):
    y = jax.nn.one_hot(labels, fleet.classes, dtype=fleet.dtype)
    inside = to_lanes(gram * jnp.tril(jnp.ones((block, block), fleet.dtype), -1))
    behind, steps = [], []
    for net, of_net, total in zip(nets, params, z):
      tail, eta = fused_tail(net), to_lanes(rates)
      state, delta = tail.run(tail.start(of_net), eta, to_lanes(total), inside, to_lanes(y), valid)
      behind.append(tail.finish(state, lanes))
      steps.append(from_lanes(eta * delta, lanes))
    return behind, steps

  return by_kernel, by_tail, params
