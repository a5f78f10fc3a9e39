"""The files of a finished sweep: everything that is derived from its runs."""

import pathlib
from collections.abc import Iterable

from qnn_jax.atomic import atomic_write_text
from qnn_jax.reports import table
from qnn_jax.reports.fidelity import fidelity, fidelity_line
from qnn_jax.reports.paper import read_paper_table4
from qnn_jax.reports.summary import Run, summarize, write_results


def write_table4(runs: Iterable[Run], workdir: pathlib.Path, name: str) -> str:
  """Writes results.csv, NAME.md, NAME.csv and NAME.png into `workdir`; returns the fidelity line."""
  # Here, because every worker process imports the experiment and with it this file: matplotlib, which
  # no worker needs, would take half a second of its core.
  from qnn_jax.reports import plot

  runs = list(runs)
  write_results(workdir / "results.csv", runs)
  summary, paper = summarize(runs), read_paper_table4()
  atomic_write_text(workdir / f"{name}.md", table.to_markdown(summary, paper))
  atomic_write_text(workdir / f"{name}.csv", table.to_csv(summary, paper))
  plot.save_png(plot.table_figure(summary, paper), workdir / f"{name}.png")
  return fidelity_line(fidelity(summary, paper))
