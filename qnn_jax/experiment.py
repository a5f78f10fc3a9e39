"""An experiment: a task for the sweep engine, and a report of its rows.

  python -m experiments.NAME --config=configs/NAME.py[:preset] --workdir=DIR [--config.key=value]

The shared parts are in `sweeps` (points, records, workers, progress), in `reports` (files, figures) and
in `command`, whose `main` is the program.
"""

import dataclasses
import errno
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qnn_jax import report_page
from qnn_jax.atomic import update_bytes
from qnn_jax.errors import WorkdirError
from qnn_jax.report_page import Part
from qnn_jax.reports import report as reports
from qnn_jax.reports import summary
from qnn_jax.reports.report import Report, Section
from qnn_jax.sweeps import progress
from qnn_jax.sweeps.configs import Config, fields
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.settings import Setting
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task
from qnn_jax.sweeps.workdir import open_workdir, release

__all__ = [
  "Experiment", "RunRow", "config_beside", "open_workdir", "release", "write_failures", "write_report",
]  # fmt: skip

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)

RunRow = Mapping[str, Any]
"""A row for a report: the point's axes, swept fields, metrics and status, by name."""


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A table or a figure.

  Attributes:
    task: the runs.
    columns: the columns of results.csv: names of axes, metrics and config fields, and `status`; by default
      all axes, then all metrics, then the status.
    report: (config, rows) -> a `Report`; by default a table of means over the seeds.
    check: raises InputError for a wrong config, before anything is written.
    check_data: raises InputError if a run's data cannot be read; only called when something runs.
    watch: config -> a function that turns finished rows into lines to print during the runs.
    seed: the axis before which swept fields are inserted in results.csv.
    default_config: the config file that is used without --config.
  """

  task: Task
  columns: tuple[str, ...] = ()
  report: Callable[[Config, Sequence[RunRow]], Report] | None = None
  check: Callable[[Config], object] = lambda config: None
  check_data: Callable[[Config], object] = lambda config: None
  watch: Callable[[Config], progress.Watch] | None = None
  seed: str = "seed"
  default_config: str | pathlib.Path = ""

  @property
  def name(self) -> str:
    """The name of the experiment."""
    return self.task.name

  @property
  def config_file(self) -> pathlib.Path:
    """`default_config`, or configs/NAME.py in the current directory."""
    return pathlib.Path(self.default_config or f"configs/{self.name}.py")


def config_beside(file: str) -> pathlib.Path:
  """configs/NAME.py of an experiment whose `file` is experiments/NAME/..., from any current directory."""
  folder = pathlib.Path(file).resolve().parent
  path = folder.parent.parent / "configs" / f"{folder.name}.py"
  # As it is most often written, where that is the same file.
  short = pathlib.Path("configs") / path.name
  return short if short.is_file() and short.resolve() == path else path


def write_report(
  experiment: Experiment,
  settings: Sequence[Setting],
  store: Store,
  workdir: pathlib.Path,
  *,
  anew: bool = True,
) -> tuple[list[str], str]:
  """Writes results.csv, the report's files and report.html from the rows in the store, which may be incomplete.

  Args:
    experiment: the experiment.
    workdir: the workdir of the sweep.
    settings: the configurations of the sweep, one for each swept value.
    store: the results on disk.
    anew: whether to draw a figure again that was drawn from the same results.

  Returns:
    The names of the files, and the text to print.

  Raises:
    WorkdirError: a file cannot be written.
    Exception: the experiment's own report or figure raised it; results.csv and report.html are written first.
  """
  task, axes = experiment.task, experiment.task.axis_names
  parts, used = [], set()
  faults: list[Exception] = []
  lines: dict[Point, dict[str, Any]] = {}
  # A field that changes no result has no column: one line may belong to several of its values.
  swept = [name for name in settings[0].swept if name not in task.not_fields()]
  for setting in settings:
    rows = []
    values = fields(setting.config)
    for point in task.points_of(setting.config):
      found = store.found.get(point)
      if found is None:
        continue
      used.add(found.record)
      row = point.axes() | {name: values[name] for name in swept}
      row |= dict(found.metrics) | {"status": found.status}
      rows.append(row)
      line = lines.setdefault(point, dict(row))
      for name in swept:  # swept values that share a point have one line, without the values
        if line[name] != values[name]:
          line[name] = None
    if experiment.report and rows:
      try:
        report = experiment.report(setting.config, rows)
      except Exception as error:
        faults.append(error)
        report = Report({}, said=f"the report cannot be made ({type(error).__name__}: {error})")
    elif experiment.report:
      report = Report({}, said="no run is finished")
    else:
      kept = [{k: v for k, v in row.items() if k not in swept} for row in rows]
      report = summary.report(experiment.name, axes, experiment.seed, kept)
    parts.append(Part(setting, Section(setting.swept, setting.title, report), rows))
  sections = [part.section for part in parts]
  metrics = dict.fromkeys(m for found in store.found.values() for m in found.metrics)
  columns = experiment.columns or (*axes, *metrics, "status")
  text, said = "", reports.said(sections)
  if not any("results.csv" in section.report.files for section in sections):
    names = [name for name in swept if name not in columns]
    text = reports.results_csv(columns, experiment.seed, names, list(lines.values()))
  made_of = _fingerprint(sections, used, text)
  written = []
  try:
    try:
      written = reports.write(workdir, experiment.name, sections, made_of, anew=anew)
    except OSError:
      raise
    except Exception as error:  # of the experiment's own figure
      faults.append(error)
    if text:
      update_bytes(workdir / "results.csv", text.encode())
      written.append("results.csv")
    written.append(report_page.write(workdir, task, columns, parts, store))
  except OSError as error:
    if error.errno not in _NOT_WRITABLE:
      raise WorkdirError.of(error) from error
    said += f"\n\ncannot write {error.filename} ({error.strerror}): it and the files after it are not up to date"
  if len(store.found) > len(lines):
    store.tell_of_others(lines)
  if faults:
    faults[0].add_note(
      f"All runs are on disk, and in {workdir}/results.csv; only the report failed."
    )
    raise faults[0]
  return written, said


def write_failures(
  experiment: Experiment, settings: Sequence[Setting], store: Store, workdir: pathlib.Path
) -> str:
  """Writes report.html of a sweep without a finished run: why its runs failed. Returns the file's name.

  `experiment`, `settings`, `store` and `workdir` are those of `write_report`.

  Raises:
    WorkdirError: the page cannot be written.
  """
  report = Report({}, said="no run is finished")
  parts = [Part(each, Section(each.swept, each.title, report), []) for each in settings]
  columns = experiment.columns or (*experiment.task.axis_names, "status")
  try:
    return report_page.write(workdir, experiment.task, columns, parts, store)
  except OSError as error:
    raise WorkdirError.of(error) from error


def _fingerprint(sections, records, results):
  """A checksum of what a figure is drawn from: the names of the records, and the text of the report."""
  texts = [text for section in sections for text in (section.title, *section.report.files.values())]
  return hashlib.sha256("\0".join([*sorted(records), results, *texts]).encode()).hexdigest()
