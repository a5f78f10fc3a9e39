"""Table 5 of the paper: training time and accuracy of the three models, as ratios to ANN.

python -m experiments.table5 --config=configs/table5.py[:smoke] --workdir=DIR
"""

import pathlib

import ml_collections
from rich.console import Console
from rich.markdown import Markdown

from qnn_jax import experiment
from qnn_jax.atomic import atomic_write_text
from qnn_jax.reports import plot, table5
from qnn_jax.sweeps import timing


def main(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Measures what is not on disk yet, and writes the table and the figure."""
  console = Console()
  setting = table5.setting(config.train_size, config.epochs, config.hidden)
  results = workdir / "results.csv"
  timings = table5.read(results)
  for seeds in config.seeds:
    if not any(found.seeds == seeds for found in timings):
      with console.status(f"training, {seeds} run{'s' * (seeds > 1)} at once ..."):
        timings += timing.measure(config, seeds)
      atomic_write_text(results, table5.to_csv(timings))
  atomic_write_text(workdir / "table5.csv", table5.to_csv(timings))
  text = table5.to_markdown(timings, setting)
  atomic_write_text(workdir / "table5.md", text)
  plot.save_png(table5.figure(timings, setting), workdir / "table5.png")
  console.print(Markdown(text))
  console.print(
    f"written: {workdir}/table5.md, table5.csv, table5.png, results.csv", highlight=False
  )


if __name__ == "__main__":
  experiment.run("table5", main, timing.check)
