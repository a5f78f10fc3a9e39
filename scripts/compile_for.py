"""Compiles all programs of a Table 4 configuration for an accelerator that is not there, and counts what they do.

  python scripts/compile_for.py --target=h100 [--config=configs/table4.py[:PRESET]]
  python scripts/compile_for.py --target=v5e:4 --layers

Prints for each program its launches (kernels, or operations) a call, those a sample, the trips of its loops,
memory, exchanges between chips, and seconds of compiling; and for the whole an estimate of the time, with
what it assumes: nothing here is measured on an accelerator. --layers does the same for the layers' ops.
Needs the extra `compile-cuda` or `compile-tpu`, and no accelerator.
"""

import argparse
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from _hlo import Counted, count
from _targets import TARGETS, Target
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.table4 import check
from experiments.table4.program import method_of
from qnn_jax import ops
from qnn_jax.datasets import load_dataset
from qnn_jax.sweeps import configs
from qnn_jax.training import devices, per_sample, sharded
from qnn_jax.training._trainer import precisely
from qnn_jax.training.constant import constant_inputs
from qnn_jax.training.evaluate import evaluate
from qnn_jax.training.fleet import Fleet, Lane, Net, init

_CONFIG = pathlib.Path("configs/table4.py")


class Compiled(NamedTuple):
  """A program: what it is called, what a call does, how often it is called, and for how many samples."""

  name: str
  counted: Counted
  calls: int
  samples: int
  bytes: int
  seconds: float


def compiled(
  name: str, function: Callable, args: Any, calls: int, samples: int, **options: Any
) -> Compiled:
  """Compiles a function for the devices that its arguments' shardings name."""
  begin = time.perf_counter()
  program = jax.jit(function, **options).lower(*args).compile()
  seconds = time.perf_counter() - begin
  memory: Any = program.memory_analysis()
  size = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
  return Compiled(name, count(program.as_text() or ""), calls, samples, size, seconds)


def table4(config: Any, target: Target, chips: list[jax.Device]) -> Iterator[Compiled]:
  """The programs of all nets and seeds of a configuration, a set for each shape that its sizes need."""
  values = config.to_dict()
  data = load_dataset(config.dataset, config.data_dir or None)
  nets = tuple(Net(model, hidden) for hidden in sorted(config.hidden) for model in config.models)
  fleet = Fleet(
    nets, data.train_images.shape[1], data.classes, values["dtype"], values["input_shift"]
  )
  constants = constant_inputs(fleet, data.train_images)
  method = method_of(values)
  trainer = per_sample.make_trainer(fleet, method, constants, target.platform)
  lanes = -(-config.seeds // len(chips)) * len(chips)

  mesh = devices.mesh_of(chips)
  over = functools.partial(devices.over_runs, devices=chips)
  plain = lambda compiled_function: compiled_function.__wrapped__
  put = lambda axis: NamedSharding(mesh, P() if axis is None else P(*[None] * axis, devices.AXIS))
  shaped = lambda tree, axis: jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=put(axis)), tree
  )
  first, added = (
    lambda tree: jax.tree.map(lambda a: a[0], tree),
    lambda tree: jax.tree.map(lambda a: a[None], tree),
  )

  params = jax.eval_shape(lambda: init(fleet, [Lane(0)] * lanes))
  starts = shaped((params, jax.ShapeDtypeStruct((lanes,), fleet.dtype)), 0)
  start = over(lambda p, r: added(plain(trainer.start)(p, r)), (0, 0))
  state = shaped(jax.eval_shape(start, *starts), 0)
  images = shaped(
    jax.ShapeDtypeStruct((len(data.train_images), int(constants.varies.sum())), "uint8"), None
  )
  labels = shaped(jax.ShapeDtypeStruct((len(data.train_images),), "int32"), None)
  tests = shaped((
    jax.ShapeDtypeStruct(data.test_images.shape, "uint8"), jax.ShapeDtypeStruct(data.test_labels.shape, "int32")
  ), None)  # fmt: skip

  epochs = sorted(config.epochs)
  sizes = len(config.train_sizes)
  # How often each shape of a chunk is trained, and prepared: once more only where it is not kept.
  trained: dict[tuple, list[int]] = {}
  for size in config.train_sizes:
    for chunk in per_sample.make_chunks(np.zeros((1, size), np.int32), method):
      known = trained.setdefault(chunk.order.shape[::2], [0, 0, int(chunk.valid.sum())])
      known[0] += epochs[-1]
      known[1] += 1
  yield _init(fleet, lanes, chips[0], sizes)
  yield compiled("start", start, starts, sizes * len(epochs), 0)
  for (blocks, size), (runs, prepares, samples) in trained.items():
    axes = sharded._axes(per_sample.Chunk(np.zeros((1, 2, 1)), None))  # type: ignore[arg-type]
    chunk = per_sample.Chunk(
      shaped(jax.ShapeDtypeStruct((blocks, lanes, size), "int32"), 1),
      shaped(jax.ShapeDtypeStruct((blocks, size), "float32"), None),
    )
    ready = chunk._replace(
      gram=shaped(jax.ShapeDtypeStruct((blocks, lanes, size, size), fleet.dtype), 1)
    )
    yield compiled(
      f"prepare {blocks} x {size}", over(plain(trainer.prepare), (None, axes._replace(gram=None)), axes),
      (images, chunk), prepares, samples,
    )  # fmt: skip
    run = over(lambda of, *args: added(plain(trainer.run)(first(of), *args)), (0, None, None, axes))
    yield compiled(
      f"run {blocks} x {size}", run, (state, images, labels, ready), runs, samples, donate_argnums=0
    )
  yield compiled(
    "finish",
    over(lambda of: plain(trainer.finish)(first(of)), (0,)),
    (state,),
    sizes * len(epochs),
    0,
  )
  test = precisely(functools.partial(evaluate, fleet), target.platform, method.precision)
  one = shaped(jax.eval_shape(lambda: init(fleet, [Lane(0)] * len(chips))), 0)
  yield compiled(
    "evaluate",
    over(test, (0, None, None), 1),
    (one, *tests),
    sizes * len(epochs) * lanes // len(chips),
    0,
  )


def _init(fleet, lanes, chip, calls):
  from qnn_jax.training.fleet import _init_lane

  of = lambda seeds, scales: jax.vmap(functools.partial(_init_lane, fleet, "symmetric"))(
    seeds, scales
  )
  place = jax.sharding.SingleDeviceSharding(chip)
  args = [jax.ShapeDtypeStruct((lanes,), kind, sharding=place) for kind in ("uint32", fleet.dtype)]
  return compiled("init", of, args, calls, 0)


def layers(chips: list[jax.Device]) -> Iterator[Compiled]:
  """Value, and value and gradient, of the general layer's op."""
  place = jax.sharding.SingleDeviceSharding(chips[0])
  for rows, n, m in ((256, 784, 10), (256, 64, 64), (128, 1024, 128)):
    for dtype in ("float32", "bfloat16"):
      of = lambda *shape, dtype=dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=place)
      args = of(rows, n), of(n * (n + 1) // 2, m), of(n, m), of(m)
      loss = lambda *a: (ops.quadratic(*a).astype("float32") ** 2).sum()
      name = f"quadratic {n} -> {m}, {rows} rows, {dtype}"
      yield compiled(name, ops.quadratic, args, 1, 0)
      yield compiled(f"{name}, gradient", jax.value_and_grad(loss, (0, 1, 2, 3)), args, 1, 0)


def lines(found: list[Compiled]) -> Iterator[str]:
  """A Markdown table."""
  yield "| program | calls | launches a call | a sample | kernels | loops | exchanges | MB | compiled in |"
  yield "| :-- | --: | --: | --: | --: | :-- | --: | --: | --: |"
  for name, counted, calls, samples, size, seconds in found:
    a_sample = f"{counted.launches / samples:.2f}" if samples else ""
    trips = ", ".join(map(str, counted.trips))
    yield (
      f"| {name} | {calls:,} | {counted.launches:,} | {a_sample} | {counted.kernels:,} | {trips} | "
      f"{counted.collectives} | {size / 1e6:,.0f} | {seconds:.1f} s |"
    )


def estimate(found: list[Compiled], target: Target, config: Any, chips: int) -> str:
  """How long the whole would take, from launches, samples in kernels, and products."""
  launches = sum(program.counted.launches * program.calls for program in found)
  samples = sum(p.samples * p.calls for p in found if p.name.startswith("run"))
  kinds = len(config.models)
  programs = config.seeds * len(config.hidden) / chips
  waves = max(1, -(-programs // target.at_once))
  width = sum(config.hidden) * kinds
  work = samples * config.seeds * 2 * 2 * 784 * width / chips / target.flops  # Z0, and X^T D
  low, high = (
    launches * target.launch_us[i] / 1e6
    + samples * kinds * waves * target.sample_us[i] / 1e6
    + work
    for i in (0, 1)
  )
  return (
    f"estimate for {chips} x {target.name}: {low:.0f} to {high:.0f} s, of {launches:,} launches, {samples:,} samples "
    f"in {kinds} kernels one after another, and {work:.1f} s of products. It assumes {target.assumes}."
  )


def main() -> int:
  """Returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--target", required=True, help=f"{' or '.join(TARGETS)}, and :CHIPS")
  parser.add_argument("--config", default=str(_CONFIG), help="FILE.py or FILE.py:PRESET of table4")
  parser.add_argument("--layers", action="store_true", help="the layers' ops instead")
  options = parser.parse_args()
  name, _, number = options.target.partition(":")
  if name not in TARGETS or not (number or "1").isdigit():
    sys.exit(
      f"error: --target must be {' or '.join(TARGETS)}, with :CHIPS for several, got {options.target}"
    )
  target = TARGETS[name]
  try:
    chips = target.devices(int(number or 1))
  except ValueError as error:
    sys.exit(f"error: {error}")
  except Exception as error:
    why = " ".join(str(error).split())
    sys.exit(f"error: compiling for {name} needs pip install 'qnn_jax[{target.extra}]' ({why})")
  if options.layers:
    found = list(layers(chips))
    print(*lines(found), sep="\n")
    return 0
  config = configs.load(options.config, _CONFIG)
  check.check(config)
  found = list(table4(config, target, chips))
  print(*lines(found), sep="\n")
  print(f"compiled in {sum(program.seconds for program in found):.0f} s")
  print(estimate(found, target, config, len(chips)))
  return 0


if __name__ == "__main__":
  sys.exit(main())
