"""A fleet over several devices: its lanes split over them, and its nets too where that helps.

A trainer's state is nobody's business but its own; here each leaf of it gets a first axis, of the devices,
and a device works on its own element. With `parts_of` more than one, the devices are divided: each part
trains some of the nets, for all lanes, on its own devices, in a program of its own, and nothing is said
between them: a net's start and samples do not depend on its company.

On an accelerator all nets of a kind are one launch, and its time is that of its samples, one after another,
not that of its width: fewer lanes a chip gain little, and fewer kinds a chip shorten the sequence. So there
the kinds are divided first. (Derived from compiled programs, see docs/performance.md; not measured.)
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

_ASKED = "QNN_JAX_NET_PARTS"  # in the environment, which worker processes share


class Part(NamedTuple):
  """Nets of a fleet, by their places in it, and the devices that train them."""

  nets: tuple[int, ...]
  devices: tuple[jax.Device, ...]


def ask_for_parts(net_parts: int | None) -> None:
  """From now on programs of this process, and of those that it starts, divide their nets so; None: as is best."""
  if net_parts is None:
    os.environ.pop(_ASKED, None)
  else:
    os.environ[_ASKED] = str(net_parts)


def asked_parts() -> int | None:
  """What was asked for by `ask_for_parts`: the `net_parts` of `parts_of`."""
  asked = os.environ.get(_ASKED)
  return None if asked is None else int(asked)


def parts_of(
  nets: Sequence[Net],
  net_parts: int | None = None,
  on: Sequence[jax.Device] | None = None,
  together: bool = True,
) -> list[Part]:
  """The nets in so many parts, and the devices divided among them.

  Args:
    nets: of the fleet.
    net_parts: at most as many as there are nets; None is 1 on a CPU, and on an accelerator a device each
      as far as the kinds of nets go that a kernel takes together.
    on: the devices, by default all of this process.
    together: whether kernels may take kinds of nets together, see `per_sample.may_take_kinds`. (A kernel that
      fails its trial is not known of here: then some parts have more to do one after another than others.)

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
  # What is a sequence of its own: a net, and on an accelerator a kind of them.
  units = [[i] for i in range(len(nets))] if on_cpu or net_parts > len(kinds) else kinds
  if on_cpu:
    size = lambda unit: sum(int(np.sum(nets[i].hidden)) for i in unit)
  else:  # a sample's length, which is its longest step's: that of the most parameters
    size = lambda unit: max(_behind(nets[i]) for i in unit)
  dealt: list[list[list[int]]] = [[] for _ in range(min(net_parts, len(nets)))]
  # Equally many a part, and then equally large ones.
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
  """How many parameters an output has behind the last hidden layer, about."""
  last = net.hidden if isinstance(net.hidden, int) else net.hidden[-1]
  if fits(net):
    return sum(math.prod(shape) for shape in shapes(net.head, 1, last).values())
  return last * last  # a head without a kernel: its parts follow one another too


def make_trainer(make: Callable[[Fleet], Trainer], fleet: Fleet, parts: Sequence[Part]) -> Trainer:
  """A trainer of the fleet over the parts' devices; as `make(fleet)`, to rounding.

  Args:
    make: a fleet -> its trainer on one device, see `per_sample.make_trainer`.
    fleet: all nets.
    parts: of `parts_of`.

  Returns:
    A trainer whose `place` must be used, and whose parameters are NumPy arrays in the end. On one device
    in one part it is `make(fleet)`.
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
    # Each call returns at once; the parts' programs run side by side.
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
  """`evaluate` of the fleet, compiled, over the parts' devices; inputs and labels as the trainer's `place` has them."""
  platform = parts[0].devices[0].platform
  # The images are arguments: as constants they would be folded while compiling, for seconds.
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
  """`evaluate` of the fleet, to be compiled; with `on`, over these devices, of what `devices.put` has placed."""
  of_fleet = precisely(functools.partial(evaluate, fleet), platform, precision)
  return devices.over_runs(of_fleet, (0, None, None), 1, on) if on else of_fleet


def lanes_at_once(parts: Sequence[Part]) -> int:
  """How many lanes keep all devices of a part at work, one each."""
  return max(len(part.devices) for part in parts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _State:
  """A trainer's state on D devices, leaves [D, ...], and how many of its lanes are meant."""

  of: Any
  lanes: int = dataclasses.field(metadata={"static": True})


def spread(trainer: Trainer, on: tuple[jax.Device, ...]) -> Trainer:
  """The trainer's functions over the devices, to be compiled.

  They take what `devices.put` has placed: the lanes' axis split, everything else whole. Between them is the
  trainer's state, leaves [D, ...].
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
  """The same trainer, its lanes split over the devices."""
  over = spread(trainer, on)
  started: Any = _compile.jit(over.start, level=0)
  prepared: Any = _compile.jit(over.prepare)
  finished: Any = _compile.jit(over.finish, level=0)

  def start(params, rates):
    check_rates(params, rates)
    return _State(started(*devices.put((params, rates), 0, on)), len(rates))

  def prepare(inputs, chunk):
    order = chunk.order
    if order.shape[1] > 1:  # otherwise all lanes share it
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
  """Which axes of a chunk are the lanes'."""
  of_order = 1 if chunk.order.shape[1] > 1 else None
  return Chunk(order=of_order, valid=None, gram=of_order)  # type: ignore[arg-type]


def fleet_of(fleet: Fleet, part: Part) -> Fleet:
  """The part's nets as a fleet."""
  return dataclasses.replace(fleet, nets=tuple(fleet.nets[i] for i in part.nets))


def _is_one(parts):
  return len(parts) == 1 and len(parts[0].devices) == devices.count() == 1


def _sized(function, size):
  """The function, with how many programs it has compiled, as `jax.jit`'s have it."""
  function._cache_size = size
  return function
