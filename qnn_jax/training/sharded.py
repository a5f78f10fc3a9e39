"""A fleet on several devices: its lanes are divided among them, and its nets too where that helps.

Each leaf of a trainer's state gets a first axis of devices, and a device works on its own element. If
`parts_of` gives more than one part, the devices are divided among the parts. Each part trains some of the
nets, for all lanes, on its own devices and in its own program. The parts do not communicate: the start
and the samples of a net do not depend on the other nets.

On an accelerator all nets of a kind are one kernel launch. Its time depends on the number of samples,
which come one after another, and hardly on its width. So fewer lanes on a chip save little, while fewer
kinds on a chip make the sequence shorter. Therefore the kinds are divided first. (This is derived from
compiled programs, not measured.)
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.training import _compile, devices
from qnn_jax.training._fused import fits
from qnn_jax.training._steps import shapes
from qnn_jax.training._trainer import Chunk, Trainer, check_rates, precisely
from qnn_jax.training.evaluate import Evaluation, evaluate
from qnn_jax.training.fleet import Fleet, Net, Params

_ASKED = "QNN_JAX_NET_PARTS"  # an environment variable, because worker processes inherit it


class Part(NamedTuple):
  """One part: nets are the places of its nets in the fleet, and devices are those that train them."""

  nets: tuple[int, ...]
  devices: tuple[jax.Device, ...]


def ask_for_parts(net_parts: int | None) -> None:
  """Sets `net_parts` of `parts_of` for this process and the processes that it starts; None: the default."""
  if net_parts is None:
    os.environ.pop(_ASKED, None)
  else:
    os.environ[_ASKED] = str(net_parts)


def asked_parts() -> int | None:
  """The `net_parts` that `ask_for_parts` has set."""
  asked = os.environ.get(_ASKED)
  return None if asked is None else int(asked)


def parts_of(
  nets: Sequence[Net],
  net_parts: int | None = None,
  on: Sequence[jax.Device] | None = None,
  together: bool = True,
) -> list[Part]:
  """Divides the nets into parts, and the devices among the parts.

  Args:
    nets: the nets of the fleet.
    net_parts: the number of parts; more than there are nets count as one for each net. None is 1 on a CPU;
      on an accelerator it is one for each device, but at most one for each kind of nets that a kernel
      takes together.
    on: the devices, by default all of this process.
    together: whether kernels may take all nets of a kind together, see `per_sample.may_take_kinds`. (It is
      not known here whether a kernel fails its trial. If one does, the parts are less balanced.)

  Raises:
    InputError: net_parts is not in 1 to the number of devices.
  """
  there = jax.local_devices() if on is None else on
  on_cpu = there[0].platform == "cpu"
  kinds = _kinds(nets) if together else [[i] for i in range(len(nets))]
  if net_parts is None:
    net_parts = 1 if on_cpu else min(len(there), len(kinds))
  elif not 1 <= net_parts <= len(there):
    raise InputError(f"net_parts must be 1 to {len(there)}, the number of devices, got {net_parts}")
  # The units that run one after another: nets, and on an accelerator kinds of nets.
  units = [[i] for i in range(len(nets))] if on_cpu or net_parts > len(kinds) else kinds
  if on_cpu:
    size = lambda unit: sum(int(np.sum(nets[i].hidden)) for i in unit)
  else:  # a sample's length, which is its longest step's: that of the most parameters
    size = lambda unit: max(_behind(nets[i]) for i in unit)
  dealt: list[list[list[int]]] = [[] for _ in range(min(net_parts, len(nets)))]
  # The same number for each part first, then the same size.
  for unit in sorted(units, key=size, reverse=True):
    min(dealt, key=lambda mine: (len(mine), sum(map(size, mine)))).append(unit)
  each = [sum(mine, []) for mine in dealt]
  shares = np.array_split(np.arange(len(there)), len(each))
  return [
    Part(tuple(sorted(mine)), tuple(there[d] for d in share)) for mine, share in zip(each, shares)
  ]


def _kinds(nets):
  """Places of nets whose heads a kernel takes together, and of every other net alone."""
  kinds: dict[Any, list[int]] = {}
  for i, net in enumerate(nets):
    kinds.setdefault(net.head if fits(net) else net, []).append(i)
  return list(kinds.values())


def _behind(net):
  """About how many parameters the net's head has for each output."""
  last = net.hidden if isinstance(net.hidden, int) else net.hidden[-1]
  if fits(net):
    return sum(math.prod(shape) for shape in shapes(net.head, 1, last).values())
  return last * last  # a head without a kernel: its parts follow one another too


def make_trainer(make: Callable[[Fleet], Trainer], fleet: Fleet, parts: Sequence[Part]) -> Trainer:
  """A trainer of the fleet on the parts' devices, equal to `make(fleet)` except for rounding.

  Args:
    make: makes the trainer of a fleet on one device, see `per_sample.make_trainer`.
    fleet: all nets.
    parts: from `parts_of`.

  Returns:
    A trainer whose `place` must be used, and whose final parameters are NumPy arrays. For one part on one
    device it is `make(fleet)`.
  """
  if _is_one(parts):
    return make(fleet)
  each = [_over_devices(make(fleet_of(fleet, part)), part.devices) for part in parts]

  def finish(state):
    of_net: dict[int, Params] = {}
    for part, trainer, of_part in zip(parts, each, state):
      of_net |= zip(part.nets, trainer.finish(of_part))
    return [of_net[i] for i in range(len(fleet.nets))]

  def start(params, rates):
    return [t.start([params[i] for i in part.nets], rates) for part, t in zip(parts, each)]

  def prepare(inputs, chunk):
    return [t.prepare(x, chunk) for t, x in zip(each, inputs)]

  def run(state, inputs, labels, chunk):
    # Each call returns at once, so that the parts' programs run at the same time.
    return [t.run(*of_part) for t, *of_part in zip(each, state, inputs, labels, chunk)]

  sizes = lambda name: lambda: sum(getattr(trainer, name)._cache_size() for trainer in each)
  return Trainer(
    start=_sized(start, sizes("start")),
    prepare=_sized(prepare, sizes("prepare")),
    run=_sized(run, sizes("run")),
    finish=_sized(finish, sizes("finish")),
    place=lambda array: [trainer.place(array) for trainer in each],
  )


def make_evaluate(
  fleet: Fleet, parts: Sequence[Part], precision: str = "highest"
) -> Callable[..., Evaluation]:
  """`evaluate` of a `fleet`, compiled, on the devices of `parts`, with matrix products in `precision`.

  Inputs and labels must be those that the trainer's `place` returned.
  """
  platform = parts[0].devices[0].platform
  # The images are arguments: compiling them as constants would take seconds.
  if _is_one(parts):
    return _compile.jit(evaluation(fleet, precision, platform), level=1)
  each: list[Any] = []
  for part in parts:
    of_part = evaluation(fleet_of(fleet, part), precision, platform, part.devices)
    each.append(_compile.jit(of_part, level=1))

  def call(params, inputs, labels):
    lanes = len(jax.tree.leaves(params)[0])
    found = []
    for part, program, *data in zip(parts, each, inputs, labels):
      mine = devices.put([params[i] for i in part.nets], 0, part.devices)
      found.append(program(mine, *data))
    places = np.argsort(np.concatenate([part.nets for part in parts]))
    whole = lambda *of: np.concatenate([np.asarray(a)[:, :lanes] for a in of])[places]
    return jax.tree.map(whole, *found)

  return _sized(call, lambda: sum(program._cache_size() for program in each))


def evaluation(
  fleet: Fleet, precision: str, platform: str, on: tuple[jax.Device, ...] | None = None
) -> Callable[..., Evaluation]:
  """`evaluate` of a `fleet`, not compiled yet, with matrix products in `precision` on a `platform`.

  With `on` it runs on these devices, with arguments that `devices.put` has placed.
  """
  of_fleet = precisely(functools.partial(evaluate, fleet), platform, precision)
  return devices.over_runs(of_fleet, (0, None, None), 1, on) if on else of_fleet


def lanes_at_once(parts: Sequence[Part]) -> int:
  """The number of lanes that keeps the devices of all `parts` busy: one for each device of a part."""
  return max(len(part.devices) for part in parts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _State:
  """A trainer's state on D devices, leaves [D, ...], and the number of its lanes without padding."""

  of: Any
  lanes: int = dataclasses.field(metadata={"static": True})


def spread(trainer: Trainer, on: tuple[jax.Device, ...]) -> Trainer:
  """The trainer's functions on the D devices `on`, not compiled yet.

  Their arguments must be placed by `devices.put`: the lanes' axis sharded, everything else whole. The
  trainer's state between them has leaves [D, ...].
  """
  over = functools.partial(devices.over_runs, devices=on)
  mine = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
  of_device = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)

  def prepare(inputs, chunk):
    return over(trainer.prepare, (None, _axes(chunk)), _axes(chunk))(inputs, chunk)

  def run(state, inputs, labels, chunk):
    call = lambda state, *args: of_device(trainer.run(mine(state), *args))
    return over(call, (0, None, None, _axes(chunk)))(state, inputs, labels, chunk)

  return Trainer(
    start=over(lambda params, rates: of_device(trainer.start(params, rates)), (0, 0)),
    prepare=prepare,
    run=run,
    finish=over(lambda state: trainer.finish(mine(state)), (0,)),
    place=lambda array: devices.put(array, None, on),
  )


def _over_devices(trainer: Trainer, on: tuple[jax.Device, ...]) -> Trainer:
  """The same trainer, with its lanes sharded over the devices."""
  over = spread(trainer, on)
  started: Any = _compile.jit(over.start, level=0)
  prepared: Any = _compile.jit(over.prepare)
  finished: Any = _compile.jit(over.finish, level=0)

  def start(params, rates):
    check_rates(params, rates)
    return _State(started(*devices.put((params, rates), 0, on)), len(rates))

  def prepare(inputs, chunk):
    order = chunk.order
    if order.shape[1] > 1:  # otherwise all lanes share one order
      order = devices.put(order, 1, on)
    return prepared(inputs, chunk._replace(order=order))

  def run(state, *args):
    return dataclasses.replace(state, of=over.run(state.of, *args))

  def finish(state):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: state.lanes], finished(state.of))

  return over._replace(
    start=_sized(start, lambda: started._cache_size()),
    prepare=_sized(prepare, lambda: prepared._cache_size()),
    run=_compile.jit(run, donate_argnums=0),
    finish=_sized(finish, lambda: finished._cache_size()),
  )


def _axes(chunk: Chunk) -> Chunk:
  """The axis of lanes in each field of a chunk."""
  of_order = 1 if chunk.order.shape[1] > 1 else None
  return Chunk(order=of_order, valid=None, gram=of_order)  # type: ignore[arg-type]


def fleet_of(fleet: Fleet, part: Part) -> Fleet:
  """A fleet of the nets of one `part` of a `fleet`."""
  return dataclasses.replace(fleet, nets=tuple(fleet.nets[i] for i in part.nets))


def _is_one(parts):
  return len(parts) == 1 and len(parts[0].devices) == devices.count() == 1


def _sized(function, size):
  """The function with a `_cache_size`, the number of compiled programs, as functions of `jax.jit` have."""
  function._cache_size = size
  return function
