"""Table 4's programs as they run on an accelerator: all nets and seeds of a training size in one group."""

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from experiments.table4.groups import net_order
from experiments.table4.program import method_of
from experiments.table4.task import stops
from qnn_jax import ops
from qnn_jax.datasets import load_dataset
from qnn_jax.training import _kernel, _trial, devices, fleet, per_sample, sharded
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.fleet import Fleet, Net
from qnn_jax.training.per_sample import Chunk

_RANK = 8  # of the low-rank layer's op


@dataclasses.dataclass(frozen=True)
class Program:
  """A program to be compiled, and how often it is used.

  Attributes:
    name: its name in the table.
    function: the function of `args`.
    args: shapes, whose shardings name the chips.
    calls: the number of calls in the whole sweep.
    samples: the number of samples of each lane in a call.
    blocks: the number of blocks into which these samples are divided.
    part: the part of the nets, if nets are divided among chips; parts run side by side.
    kernels: programs of the Pallas kernels at once on each chip, by head: (runs, h, classes).
    numbers: the first layers' parameters on each chip; every block reads them twice and writes them once.
    operations: floating-point operations of the products with all inputs, per sample on each chip.
    options: the options of `jax.jit`.
  """

  name: str
  function: Callable
  args: tuple
  calls: int = 1
  samples: int = 0
  blocks: int = 1
  part: int = 0
  kernels: dict[str, tuple[int, int, int]] = dataclasses.field(default_factory=dict)
  numbers: int = 0
  operations: float = 0
  options: dict[str, Any] = dataclasses.field(default_factory=dict)


def table4(
  config: Any, platform: str, chips: tuple[jax.Device, ...], net_parts: int | None
) -> Iterator[Program]:
  """All programs that a sweep of this configuration compiles for the chips; starts and orders run on the CPU."""
  values = config.to_dict()
  data = load_dataset(config.dataset, config.data_dir or None)
  pairs = sorted(((h, m) for h in config.hidden for m in config.models), key=net_order)
  whole = Fleet(
    tuple(Net(model, hidden) for hidden, model in pairs),
    data.train_images.shape[1],
    data.classes,
    config.dtype,
    config.input_shift,
  )
  method, constants = method_of(values), constant_inputs(whole, data.train_images)
  together = per_sample.may_take_kinds(method)
  parts = sharded.parts_of(whole.nets, net_parts, chips, together)
  make = functools.partial(
    per_sample.make_trainer, method=method, constants=constants, platform=platform
  )
  sizes = config.train_sizes
  for head, block in _tried(whole, method, platform):
    by_kernel, by_tail, params = _trial.forms(head, block, platform)
    args = (_placed(params, SingleDeviceSharding(chips[0])),)
    yield Program(f"trial of {head.nets[0].head}, kernel", by_kernel, args)
    yield Program(f"trial of {head.nets[0].head}, fused", by_tail, args)

  # How often a state is initialised, and how often it is tested.
  begun = sum(len(list(stops(0, sorted(config.epochs), size))) for size in sizes)
  tested = len(sizes) * len(config.epochs)
  for number, part in enumerate(parts):
    of_part = sharded.fleet_of(whole, part)
    trainer, several = make(of_part), len(chips) > 1
    if several:
      trainer = sharded.spread(trainer, part.devices)
    mesh = devices.mesh_of(part.devices)
    lanes = math.ceil(config.seeds / mesh.size) * mesh.size

    def put(tree, axis, mesh=mesh, several=several, chip=part.devices[0]):
      split = P() if axis is None else P(*[None] * axis, devices.AXIS)
      return _placed(tree, NamedSharding(mesh, split) if several else SingleDeviceSharding(chip))

    work: dict[str, Any] = _work(of_part, method, platform, constants, lanes // mesh.size)
    work["part"] = number
    name = lambda text, number=number: f"part {number + 1}: {text}" if len(parts) > 1 else text
    start = jax.eval_shape(
      functools.partial(fleet._init, of_part, config.init), *_shapes(lanes, config.dtype)
    )
    starts = put((start, jax.ShapeDtypeStruct((lanes,), config.dtype)), 0)
    yield Program(name("start"), trainer.start, starts, begun, **work)
    state = put(jax.eval_shape(trainer.start, *starts), 0)
    varying = int(constants.varies.sum())
    images = put(jax.ShapeDtypeStruct((len(data.train_images), varying), "uint8"), None)
    labels = put(jax.ShapeDtypeStruct((len(data.train_images),), "int32"), None)
    for shape, (prepares, runs, samples) in _chunks(config, method, whole.dtype).items():
      blocks, size = shape
      axis = None if config.shared_order else 1
      order = jax.ShapeDtypeStruct((blocks, 1 if config.shared_order else lanes, size), "int32")
      chunk = Chunk(put(order, axis), put(jax.ShapeDtypeStruct((blocks, size), "float32"), None))
      if method.name == "block":
        text = f"prepare {blocks} x {size}"
        yield Program(
          name(text), trainer.prepare, (images, chunk), prepares, samples, blocks, **work
        )
        gram = jax.eval_shape(trainer.prepare, images, chunk).gram
        chunk = chunk._replace(gram=put(gram, axis))
      text, arguments = f"run {blocks} x {size}", (state, images, labels, chunk)
      options = {"donate_argnums": 0}
      yield Program(
        name(text), trainer.run, arguments, runs, samples, blocks, options=options, **work
      )
    yield Program(name("finish"), trainer.finish, (state,), begun, **work)
    test = sharded.evaluation(
      of_part, method.precision, platform, part.devices if several else None
    )
    shapes = jax.eval_shape(
      functools.partial(fleet._init, of_part, config.init), *_shapes(mesh.size, config.dtype)
    )
    images = put(jax.ShapeDtypeStruct(data.test_images.shape, "uint8"), None)
    labels = put(jax.ShapeDtypeStruct(data.test_labels.shape, "int32"), None)
    calls = tested * math.ceil(config.seeds / sharded.lanes_at_once(parts))
    yield Program(name("evaluate"), test, (put(shapes, 0), images, labels), calls, **work)


def layers(chips: tuple[jax.Device, ...]) -> Iterator[Program]:
  """Value, and value with gradient, of the layers' ops: the general layer in several shapes, the others in one."""
  sizes = (256, 784, 10), (256, 64, 64), (128, 1024, 128)
  cases = [("quadratic", *size, dtype) for size in sizes for dtype in ("float32", "bfloat16")]
  others = "affine", "reduced_quadratic", "heavy", "low_rank_quadratic", "quadratic_full"
  cases += [(op, *sizes[0], "float32") for op in others]
  for op, rows, n, m, dtype in cases:
    kernel, bias = (n, m), (m,)
    shapes = {
      "affine": (kernel, bias),
      "quadratic": ((n * (n + 1) // 2, m), kernel, bias),
      "quadratic_full": ((m, n, n), kernel, bias),
      "reduced_quadratic": (kernel, bias, kernel, bias),
      "heavy": (kernel, kernel, bias),
      "low_rank_quadratic": ((n, _RANK, m), (_RANK, m), kernel, bias),
    }[op]
    place = SingleDeviceSharding(chips[0])
    args = tuple(
      jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape in ((rows, n), *shapes)
    )
    function = getattr(ops, op)
    loss = lambda *a, function=function: (function(*a).astype("float32") ** 2).sum()
    name = f"{op} {n} -> {m}, {rows} rows, {dtype}"
    yield Program(name, function, args)
    yield Program(f"{name}, gradient", jax.value_and_grad(loss, range(len(args))), args)


def _placed(tree, sharding):
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
  )


def _shapes(lanes, dtype):
  return jax.ShapeDtypeStruct((lanes,), "uint32"), jax.ShapeDtypeStruct((lanes,), dtype)


def _kinds(of_fleet, method, platform):
  """The nets that kernels compute, by head."""
  if method.name != "block":
    return {}
  tails = per_sample.make_tails(of_fleet, method, platform, tried=False)
  kinds: dict[str, list[Net]] = {}
  for net, tail in zip(of_fleet.nets, tails):
    if tail is None:
      kinds.setdefault(net.head, []).append(net)
  return kinds


def _tried(whole, method, platform):
  """For each kind of kernel that is tried before use: the fleet of the trial, and the block size."""
  if method.tails == "auto":
    for nets in _kinds(whole, method, platform).values():
      by_width = sorted(nets, key=lambda net: net.hidden)
      yield _trial.tried(by_width, whole.classes, whole.dtype), method.samples_a_block()


def _work(of_fleet, method, platform, constants, lanes):
  kinds = _kinds(of_fleet, method, platform)
  by_kernel = {
    head: (lanes * len(nets), _kernel.width(nets, platform), of_fleet.classes)
    for head, nets in kinds.items()
  }
  columns = sum(net.hidden for net in of_fleet.nets if net not in sum(kinds.values(), []))
  columns += sum(_kernel.width(nets, platform) * len(nets) for nets in kinds.values())
  numbers = int(constants.varies.sum()) * columns * lanes
  return {"kernels": by_kernel, "numbers": numbers, "operations": 2 * 2 * numbers}


@dataclasses.dataclass(frozen=True)
class _Prepared:
  """The shape of a chunk, (blocks, samples per block), and its bytes, which decide whether it is cached."""

  shape: tuple[int, int]
  nbytes: int


def _chunks(config, method, dtype):
  """For each shape of chunk: how often it is prepared, how often it is run, and its samples."""
  found: dict[tuple[int, int], list[int]] = {}
  rows = 1 if config.shared_order else config.seeds

  def prepare(_, chunk):
    blocks, _, block = chunk.order.shape
    size = blocks * block * (4 * rows + 4)  # order, valid
    if method.name == "block":
      size += blocks * block * block * rows * np.dtype(dtype).itemsize  # G
    found.setdefault((blocks, block), [0, 0, int(chunk.valid.sum())])[0] += 1
    return _Prepared((blocks, block), size)

  counting: Any = types.SimpleNamespace(prepare=prepare)
  for size in config.train_sizes:
    chunks = per_sample.make_chunks(np.zeros((1, size), np.int32), method)
    last = max(config.epochs)
    for prepared in per_sample.prepared_chunks(counting, None, chunks, last):  # type: ignore[arg-type]
      found[prepared.shape][1] += 1  # type: ignore[attr-defined]
  return found
