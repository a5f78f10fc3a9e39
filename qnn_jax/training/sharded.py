"""A fleet over several devices: its lanes split over them, and its nets too where that helps.

A trainer's state is nobody's business but its own; here each leaf of it gets a first axis, of the devices,
and a device works on its own element. With `parts_of` more than one, the devices are divided: each part
trains some of the nets, for all lanes, on its own devices, in a program of its own, and nothing is said
between them: a net's start and samples do not depend on its company.

On an accelerator a step is bound by its sequence of small operations, not by their width: more lanes on a
chip cost little, so that fewer lanes a chip gain little, and fewer nets a chip shorten the sequence. So
there the nets are divided first. (Derived from what a step does, see docs/devices.md; not measured.)
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.training import _compile, devices
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


def parts_of(nets: Sequence[Net], net_parts: int | None = None) -> list[Part]:
  """The nets in so many parts, and this process's devices divided among them.

  Args:
    nets: of the fleet.
    net_parts: at most as many as there are nets; None is 1 on a CPU, and on an accelerator a device each
      as far as the nets go.

  Raises:
    InputError: net_parts is not in 1 to the number of devices.
  """
  there = jax.local_devices()
  if net_parts is None:
    net_parts = 1 if there[0].platform == "cpu" else len(there)
  elif not 1 <= net_parts <= len(there):
    raise InputError(
      f"net_parts must be 1 to {len(there)}, the devices of this process, got {net_parts}"
    )
  each: list[list[int]] = [[] for _ in range(min(net_parts, len(nets)))]
  size = lambda i: int(np.sum(nets[i].hidden))
  # Equally many nets a part, since each is a sequence of its own, and then equally large ones.
  for i in sorted(range(len(nets)), key=size, reverse=True):
    min(each, key=lambda mine: (len(mine), sum(map(size, mine)))).append(i)
  shares = np.array_split(np.arange(len(there)), len(each))
  return [
    Part(tuple(sorted(mine)), tuple(there[d] for d in share)) for mine, share in zip(each, shares)
  ]


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
  each = [_over_devices(make(_part_of(fleet, part)), part.devices) for part in parts]

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
  of = lambda fleet: precisely(
    functools.partial(evaluate, fleet), parts[0].devices[0].platform, precision
  )
  if _is_one(parts):
    # The images are arguments: as constants they would be folded while compiling, for seconds.
    return _compile.jit(of(fleet), level=1)
  each: list[Any] = []
  for part in parts:
    spread = devices.over_runs(of(_part_of(fleet, part)), (0, None, None), 1, part.devices)
    each.append(_compile.jit(spread, level=1))

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


def lanes_at_once(parts: Sequence[Part]) -> int:
  """How many lanes keep all devices of a part at work, one each."""
  return max(len(part.devices) for part in parts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _State:
  """A trainer's state on D devices, leaves [D, ...], and how many of its lanes are meant."""

  of: Any
  lanes: int = dataclasses.field(metadata={"static": True})


def _over_devices(trainer: Trainer, on: tuple[jax.Device, ...]) -> Trainer:
  """The same trainer, its lanes split over the devices."""
  spread = functools.partial(devices.over_runs, devices=on)
  mine = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
  of_device = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)

  def prepare_part(inputs, chunk):
    return spread(trainer.prepare, (None, _axes(chunk)), _axes(chunk))(inputs, chunk)

  def run(state, inputs, labels, chunk):
    call = lambda of, *args: of_device(trainer.run(mine(of), *args))
    of = spread(call, (0, None, None, _axes(chunk)))(state.of, inputs, labels, chunk)
    return dataclasses.replace(state, of=of)

  begin = spread(lambda params, rates: of_device(trainer.start(params, rates)), (0, 0))
  end = spread(lambda of: trainer.finish(mine(of)), (0,))
  started: Any = _compile.jit(begin, level=0)
  prepared: Any = _compile.jit(prepare_part)
  finished: Any = _compile.jit(end, level=0)

  def start(params, rates):
    check_rates(params, rates)
    return _State(started(*devices.put((params, rates), 0, on)), len(rates))

  def prepare(inputs, chunk):
    order = chunk.order
    if order.shape[1] > 1:  # otherwise all lanes share it
      order = devices.put(order, 1, on)
    return prepared(inputs, chunk._replace(order=order))

  def finish(state):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: state.lanes], finished(state.of))

  return Trainer(
    start=_sized(start, lambda: started._cache_size()),
    prepare=_sized(prepare, lambda: prepared._cache_size()),
    run=_compile.jit(run, donate_argnums=0),
    finish=_sized(finish, lambda: finished._cache_size()),
    place=lambda array: devices.put(array, None, on),
  )


def _axes(chunk: Chunk) -> Chunk:
  """Which axes of a chunk are the lanes'."""
  of_order = 1 if chunk.order.shape[1] > 1 else None
  return Chunk(order=of_order, valid=None, gram=of_order)  # type: ignore[arg-type]


def _part_of(fleet, part):
  return dataclasses.replace(fleet, nets=tuple(fleet.nets[i] for i in part.nets))


def _is_one(parts):
  return len(parts) == 1 and len(parts[0].devices) == devices.count() == 1


def _sized(function, size):
  """The function, with how many programs it has compiled, as `jax.jit`'s have it."""
  function._cache_size = size
  return function
