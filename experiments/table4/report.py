"""Table 4's files, which are derived from its runs, and the rows that are shown while it runs."""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence

import ml_collections

from experiments.table4 import fidelity_report, table
from experiments.table4.fidelity import fidelity, fidelity_line
from experiments.table4.paper import Cell, Row, Stats, models_of, paper_of
from experiments.table4.summary import Run, summarize
from experiments.table4.welch import cell_tests
from qnn_jax.experiment import RunRow
from qnn_jax.reports.page import anchor
from qnn_jax.reports.report import Report
from qnn_jax.sweeps.points import Row as Finished


def report(config: ml_collections.ConfigDict, rows: Sequence[RunRow]) -> Report:
  """Our table and the paper's as markdown, TeX, CSV and figure, and the fidelity of the runs."""
  runs = [run_of(row) for row in rows]
  summary, paper = summarize(runs), paper_of(config.dataset)
  tests = cell_tests(summary, paper)

  def figure():
    from experiments.table4 import (
      plot,
    )  # imported here: matplotlib takes half a second to import, and workers do not need it

    return plot.table_figure(summary, paper, config.dataset)

  line = fidelity_line(fidelity(summary, paper))
  files = {
    "table4.md": table.to_markdown(summary, paper, config.dataset),
    "table4.tex": table.to_tex(summary, paper, config.dataset),
    "table4.csv": table.to_csv(summary, paper),
    "fidelity.md": fidelity_report.to_markdown(runs, paper),
    "fidelity.csv": fidelity_report.to_csv(tests),
  }
  drawn = any(stats.mean is not None for stats in summary.values())
  said = "\n".join([line, *fidelity_report.verdict_lines(tests)])
  linked = table.to_markdown(summary, paper, config.dataset, lambda cell: anchor(cell._asdict()))
  return Report(files, figure if drawn else None, said, beside_of(paper), linked)


def beside_of(paper: Mapping[Cell, Stats]) -> Callable[[RunRow], Mapping[str, float]]:
  """What a report page shows next to a run's cell: the paper's four numbers."""

  def beside(row):
    stats = paper.get(Cell(*(row[name] for name in Cell._fields)))
    return {} if stats is None else stats._asdict()

  return beside


def run_of(row: RunRow) -> Run:
  """The `Run` of a row, which is a dict by column."""
  return Run(*(row[name] for name in Run._fields))


def watch(config: ml_collections.ConfigDict) -> Callable[[list[Finished]], Iterable[str]]:
  """Gives each row of the table once all its runs are finished; in a sweep, below a title with its settings."""
  paper, models = paper_of(config.dataset), models_of_config(config)
  rows: dict = collections.defaultdict(dict)
  shown: list = []
  whole = len(models) * config.seeds

  def lines(finished):
    if not shown:
      shown.append(None)
      yield table.header_line(models)
    complete = []
    places = [finished[0].point.names.index(name) for name in Row._fields] if finished else []
    for row in finished:
      point = row.point
      key = point.fields, *(point.values[place] for place in places)
      if (
        point not in rows[key]
      ):  # a run may be found again when its group is repeated for other runs
        rows[key][point] = row
        if len(rows[key]) == whole:
          complete.append(key)
    for key in sorted(complete, key=lambda key: key[1:]):
      fields, *row = key
      if fields != shown[-1] and (title := _difference(config, fields, shown)):
        yield title
      shown.append(fields)
      runs = [
        run_of(r.point.axes() | dict(r.metrics) | {"status": r.status}) for r in rows[key].values()
      ]
      yield table.row_line(Row(*row), summarize(runs), paper, models)

  return lines


def models_of_config(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The models in the order of the table."""
  return models_of(Cell(0, 0, 0, model) for model in config.models)


def _difference(config, fields, shown):
  """The title of a setting's rows: the values of the fields in which it or earlier settings differ."""
  others = [config.to_dict(), *(f.values for f in shown if f is not None)]
  values = fields.values
  names = [k for k in values if any(_as_json(of[k]) != values[k] for of in others if k in of)]
  return ", ".join(f"{name} = {values[name]}" for name in names)


def _as_json(value):
  return list(value) if isinstance(value, tuple) else value
