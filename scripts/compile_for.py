"""Compiles all programs of a Table 4 configuration for an accelerator you need not have, and counts operations.

  python scripts/compile_for.py --target=h100 [--config=configs/table4.py[:PRESET]]
  python scripts/compile_for.py --target=v5e:4 --net_parts=1
  python scripts/compile_for.py --target=h100 --layers

Prints for each program: launches (kernels or operations) per call and per sample, iterations of its loops, exchanges
between chips, memory, and compile time. Then prints an estimate of the total time and its assumptions: nothing here is
measured on an accelerator. --layers counts the operations of the layers' ops on one chip. Without a GPU, XLA stops at
PTX: ptxas, which turns PTX into machine code, is not run. Needs the extra `compile-cuda` or `compile-tpu`, and no
accelerator.
"""

import argparse
import os
import pathlib
import re
import sys
import time
from typing import Any

# A GPU or TPU of this machine is not used.
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(
  0, str(pathlib.Path(__file__).parents[1])
)  # `experiments` is not part of the installed package

import jax
from _estimate import Compiled, summary, table
from _hlo import count
from _programs import Program, layers, table4
from _targets import TARGETS

from experiments.table4 import check, task
from qnn_jax.errors import InputError
from qnn_jax.sweeps import configs

_CONFIG = pathlib.Path("configs/table4.py")


def compiled(program: Program) -> Compiled:
  """Compiles a program for the chips that its arguments' shardings name; InputError with the reason if this fails."""
  begin, begun = time.perf_counter(), time.process_time()
  try:
    result = jax.jit(program.function, **program.options).lower(*program.args).compile()
  except Exception as error:  # a compiler may raise anything
    why = str(error).strip().partition("\n")[0]
    raise InputError(
      f"'{program.name}' does not compile there ({type(error).__name__}: {why})"
    ) from error
  seconds = time.perf_counter() - begin, time.process_time() - begun
  memory: Any = result.memory_analysis()
  size = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
  size -= memory.alias_size_in_bytes
  return Compiled(program, count(result.as_text() or ""), size, seconds)


def table4_config(named: str) -> Any:
  """The configuration of this name; InputError if it is not Table 4's, or cannot run on an accelerator."""
  config, like = configs.load(named, _CONFIG), configs.load(str(_CONFIG), _CONFIG)
  for name in like:
    if name not in config:
      raise InputError(
        f"{named} has no field '{name}': it is another experiment's; give a configuration of table4"
      )
  configs.check_types(config, like)
  check.check(config)
  task.check_data(config)
  if config.dtype != "float32":
    raise InputError(
      f"{config.dtype} is for a CPU; an accelerator's programs are compiled with dtype = float32"
    )
  return config


def main() -> None:
  """Prints the table; InputError for impossible options."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--target", required=True, help=f"{' or '.join(TARGETS)}, and :CHIPS")
  parser.add_argument("--config", help=f"FILE.py or FILE.py:PRESET of table4, else {_CONFIG}")
  parser.add_argument(
    "--net_parts", type=int, help="number of parts into which nets are divided, as in the sweep"
  )
  parser.add_argument(
    "--layers", action="store_true", help="count the layers' ops on one chip instead"
  )
  options = parser.parse_args()
  asked = re.fullmatch(r"(\w+)(?::([1-9]\d*))?", options.target)
  if not asked or asked.group(1) not in TARGETS:
    raise InputError(
      f"--target must be {' or '.join(TARGETS)}, with :CHIPS for several, got '{options.target}'"
    )
  target, number = TARGETS[asked.group(1)], int(asked.group(2) or 1)
  if options.layers:
    given = {
      f":{number}": number > 1,
      "--config": options.config is not None,
      "--net_parts": options.net_parts is not None,
    }
    if any(given.values()):
      what = ", ".join(name for name, is_given in given.items() if is_given)
      raise InputError(f"--layers compiles the layers' ops for one chip, without {what}")
    print(*table([compiled(of) for of in layers(target.devices(1))], target), sep="\n")
    return
  config = table4_config(options.config or str(_CONFIG))
  chips = target.devices(number)
  found = [compiled(of) for of in table4(config, target.platform, chips, options.net_parts)]
  print(*table(found, target), "", *summary(found, target, number), sep="\n")


if __name__ == "__main__":
  try:
    main()
  except InputError as error:
    sys.exit(f"error: {error}")
