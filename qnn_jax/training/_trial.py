"""Whether the kernel can be trusted where it runs: one block of it against the fused tail, at first use."""

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
"""By how much the two may differ, in any parameter."""

_RATE = 0.1


def agrees(fleet: Fleet, nets: Sequence[Net], block: int, platform: str) -> bool:
  """Whether a block by the kernel gives what the fused tail gives; if not, a warning says so."""
  widest = max(nets, key=lambda net: net.hidden)
  return _agrees(widest, fleet.classes, fleet.dtype, block, platform)


@functools.cache
def _agrees(net, classes, dtype, block, platform):
  fleet = Fleet((net,), in_features=1, classes=classes, dtype=dtype)
  try:
    difference = _difference(fleet, block, platform)
  except Exception as error:  # whatever a compiler or a driver says of a kernel
    why = f"does not run here ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
  else:
    if difference <= MOST:
      return True
    why = f"differs by {difference:.2g} from the fused form after one block"
  warnings.warn(
    f"the kernel of {net.head} {why}; the fused form is used, which is slower", stacklevel=2
  )
  return False


def _difference(fleet: Fleet, block: int, platform: str) -> float:
  by_kernel, by_tail, params = forms(fleet, block, platform)
  found = jax.jit(by_kernel)(params), jax.jit(by_tail)(params)
  apart = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), *found)
  return float(np.max([np.asarray(leaf) for leaf in jax.tree.leaves(apart)]))


def forms(fleet: Fleet, block: int, platform: str) -> tuple[Callable, Callable, Any]:
  """A block by the kernel and by the fused tail, and where both start: the parameters of the fleet's one net."""
  (net,) = fleet.nets
  hidden = net.hidden if isinstance(net.hidden, int) else net.hidden[0]
  random = np.random.default_rng(0)
  (params,) = init(fleet, [Lane(0, init_scale=0.5)])
  z = jnp.asarray(random.normal(size=(1, block, hidden)), fleet.dtype)
  x = random.normal(size=(1, block, 8))
  gram = jnp.asarray(x @ x.swapaxes(1, 2) + 1, fleet.dtype)
  labels = jnp.asarray(random.integers(fleet.classes, size=(1, block)))
  valid, rates = jnp.ones(block, fleet.dtype), jnp.full(1, _RATE, fleet.dtype)

  def by_kernel(params):
    state = _kernel.start(fleet, [net], [params], platform)
    wide = jnp.pad(z, ((0, 0), (0, 0), (0, _kernel.width([net], platform) - hidden)))
    state, steps = _kernel.run(
      fleet, [net], state, rates, wide[:, None], gram, labels, valid, platform
    )
    return _kernel.finish(fleet, [net], state, 1, platform)[0], steps[:, 0, :, :hidden]

  def by_tail(params):
    tail, y = fused_tail(net), jax.nn.one_hot(labels, fleet.classes, dtype=fleet.dtype)
    inside = to_lanes(gram * jnp.tril(jnp.ones((block, block), fleet.dtype), -1))
    state, delta = tail.run(
      tail.start(params), to_lanes(rates), to_lanes(z), inside, to_lanes(y), valid
    )
    return tail.finish(state, 1), from_lanes(_RATE * delta, 1)

  return by_kernel, by_tail, params
