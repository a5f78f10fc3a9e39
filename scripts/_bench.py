"""Shared by the benchmarks: printing rows, and reporting mistakes in one sentence."""

import json
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

from absl import app, logging

from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import processes
from qnn_jax.sweeps.machine import cores


def run(main: Callable[[], None]) -> None:
  """Parses the flags and calls `main`."""

  def absl_main(argv):
    logging.set_verbosity(logging.WARNING)
    try:
      if len(argv) > 1:
        raise InputError(f"unexpected argument '{argv[1]}'; options are written --name=value")
      main()
    except (InputError, WorkerDied) as error:
      sys.exit(f"error: {error}")
    except KeyboardInterrupt:
      sys.exit("interrupted")

  app.run(absl_main)


def show(rows: Iterable[dict[str, Any]], headings: dict[str, str], as_json: bool) -> None:
  """Prints each row as soon as it is measured: as a JSON object, or as a line of a Markdown table."""
  widths: dict[str, int] = {}
  for row in rows:
    if as_json:
      print(json.dumps(row), flush=True)
      continue
    if not widths:
      known = rows if isinstance(rows, list) else [row]
      text = {name: any(isinstance(r[name], str) for r in known) for name in headings}
      widths = {
        name: max(len(heading), 10 * text[name], *(len(str(r[name])) for r in known))
        for name, heading in headings.items()
      }
      _print_line(heading.ljust(widths[name]) for name, heading in headings.items())
      _print_line("-" * (widths[name] - 1) + (":" if not text[name] else "-") for name in headings)
    values = {name: "" if row[name] is None else str(row[name]) for name in headings}
    _print_line(
      value.ljust(widths[name]) if text[name] else value.rjust(widths[name])
      for name, value in values.items()
    )


def _print_line(cells):
  print("|", " | ".join(cells), "|", flush=True)


def tell(progress: str) -> None:
  """Prints the progress of a benchmark that has no finished row yet."""
  print(progress, file=sys.stderr, flush=True)


def default_workers(seeds: int) -> int:
  """The number of processes the sweep would use: one per core with at least four seeds each; one on an accelerator."""
  on_cpu = (
    processes.call(_backend) == "cpu"
  )  # in a separate process, so that XLA does not start in this one
  return max(1, min(cores(), math.ceil(seeds / 4))) if on_cpu else 1


def _backend():
  import jax

  return jax.default_backend()
