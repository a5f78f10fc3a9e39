"""The files of a finished sweep: everything that is derived from its runs."""

import pathlib
from collections.abc import Iterable

from qnn_jax.atomic import atomic_write_text
from qnn_jax.reports import fidelity_report, table
from qnn_jax.reports.fidelity import fidelity, fidelity_line
from qnn_jax.reports.paper import read_paper_table4
from qnn_jax.reports.summary import Run, summarize, write_results
from qnn_jax.reports.welch import cell_tests

FILES = (
  "{name}.md",
  "{name}.tex",
  "{name}.csv",
  "{name}.png",
  "results.csv",
  "fidelity.md",
  "fidelity.csv",
)


def write_table4(runs: Iterable[Run], workdir: pathlib.Path, name: str) -> str:
  """Writes `FILES` into `workdir`; returns the lines that say how near the paper the runs are."""
  # Here, because every worker process imports the experiment and with it this file: matplotlib, which
  # no worker needs, would take half a second of its core.
  from qnn_jax.reports import plot

  runs = list(runs)
  write_results(workdir / "results.csv", runs)
  summary, paper = summarize(runs), read_paper_table4()
  atomic_write_text(workdir / f"{name}.md", table.to_markdown(summary, paper))
  atomic_write_text(workdir / f"{name}.tex", table.to_tex(summary, paper))
  atomic_write_text(workdir / f"{name}.csv", table.to_csv(summary, paper))
  tests = cell_tests(summary, paper)
  atomic_write_text(workdir / "fidelity.md", fidelity_report.to_markdown(runs, paper))
  atomic_write_text(workdir / "fidelity.csv", fidelity_report.to_csv(tests))
  plot.save_png(plot.table_figure(summary, paper), workdir / f"{name}.png")
  line = fidelity_line(fidelity(summary, paper))
  return f"{line}\n{fidelity_report.verdict_line(tests)}" if tests else line
