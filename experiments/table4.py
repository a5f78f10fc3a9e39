"""Table 4 of the paper: accuracy on MNIST by training size, epochs and hidden neurons.

python -m experiments.table4 --config=configs/table4.py[:quick|:smoke] --workdir=DIR
"""

import pathlib

import ml_collections
from absl import flags
from rich.console import Console

from qnn_jax import experiment
from qnn_jax.reports.outputs import FILES, write_table4
from qnn_jax.sweeps import display, launch, records
from qnn_jax.sweeps.grid import grid

_WORKERS = flags.DEFINE_integer(
  "workers", None, "Worker processes that share the seeds; by default what is fastest here."
)


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Does what is not on disk yet, and writes the table, beside the paper's, and the figure."""
  console = Console()
  sweep = grid(config)
  workers = _WORKERS.value
  todo = launch.plan(
    sweep, workdir, launch.default_workers(len(sweep.seeds)) if workers is None else workers
  )
  found = records.read_records(workdir)
  messages = launch.run(sweep, workdir, todo)
  runs = display.show(sweep, found, messages, todo, console)
  console.print(write_table4(runs, workdir, "table4"), highlight=False, markup=False)
  console.print(
    f"written: {workdir}/{', '.join(FILES).format(name='table4')}",
    highlight=False,
    markup=False,
    soft_wrap=True,
  )


if __name__ == "__main__":
  experiment.run("table4", main, grid)
