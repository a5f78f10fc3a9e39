"""An experiment: a task for the engine, and a report of its rows. Both are all that it must bring.

  python -m experiments.NAME --config=configs/NAME.py[:preset] --workdir=DIR [--config.key=value]

What is shared is in `sweeps` (points, records, workers, progress), in `reports` (files, figures) and in
`command`, whose `main` is the program.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qnn_jax.atomic import atomic_write_text
from qnn_jax.errors import InputError
from qnn_jax.reports import report as reports
from qnn_jax.reports import summary
from qnn_jax.reports.report import Report, Section
from qnn_jax.sweeps import progress
from qnn_jax.sweeps.configs import Config, fields
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.settings import Setting
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task

RunRow = Mapping[str, Any]
"""A row as a report gets it: the point's axes, swept fields, metrics and status, by name."""


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A table or a figure.

  Attributes:
    task: what runs.
    columns: of results.csv: axes and metrics by name, `status`, and fields of the config; by default
      all axes, then all metrics, then the status.
    report: (config, rows) -> a `Report`; by default means over the seeds.
    check: raises InputError for a config that makes no sense, before anything is on disk.
    check_data: raises InputError if a run's data cannot be read; only called when something runs.
    watch: config -> a function of finished rows that gives lines to print while it runs.
    seed: the axis that swept fields stand before in results.csv.
    default_config: the file that --config names if it is not given.
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
    """Of the experiment."""
    return self.task.name

  @property
  def config_file(self) -> pathlib.Path:
    """`default_config`, or configs/NAME.py where the command is given."""
    return pathlib.Path(self.default_config or f"configs/{self.name}.py")


def config_beside(file: str) -> pathlib.Path:
  """configs/NAME.py of an experiment whose file is experiments/NAME/...: wherever the command is given."""
  folder = pathlib.Path(file).resolve().parent
  path = folder.parent.parent / "configs" / f"{folder.name}.py"
  # As it is most often written, where that is the same file.
  short = pathlib.Path("configs") / path.name
  return short if short.is_file() and short.resolve() == path else path


def open_workdir(workdir: pathlib.Path, config: Config, task: Task) -> bool:
  """Makes `workdir` the place of this configuration's results, or finds that it is already.

  Writes DIR/config.json, the whole resolved configuration. The same again resumes. Axes may grow or
  shrink (more seeds, other sizes): only what is new runs.

  Returns:
    Whether it was nobody's before.

  Raises:
    InputError: the directory holds results of another configuration, or a config.json that cannot
      be read, or cannot be made; nothing in it is touched.
  """
  path = workdir / "config.json"
  text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      atomic_write_text(path, text)
      return True
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
      raise ValueError("no configuration")  # noqa: TRY004, as for text that is no JSON
  except OSError as error:
    raise InputError(
      f"cannot use {workdir} as a workdir: {error.strerror}; name a directory that can be written"
    ) from error
  except ValueError as error:
    raise InputError(
      f"{path} is damaged; restore or remove it, or name another --workdir"
    ) from error
  wanted = json.loads(text)
  free = task.not_fields()
  keys = sorted(k for k in {*found, *wanted} - free if found.get(k) != wanted.get(k))
  if keys:
    changes = ", ".join(f"{k} = {found.get(k)!r} there, {wanted.get(k)!r} here" for k in keys)
    raise InputError(
      f"{workdir} holds results of another configuration ({changes}); "
      "name another --workdir or use that configuration"
    )
  if found != wanted:
    atomic_write_text(path, text)
  return False


def release(workdir: pathlib.Path, *, made: bool) -> None:
  """Undoes `open_workdir` if nothing has come of it, and removes the directory if that `made` it."""
  if [path.name for path in workdir.iterdir()] == ["config.json"]:
    (workdir / "config.json").unlink()
    if made:
      workdir.rmdir()


def write_report(
  experiment: Experiment,
  settings: Sequence[Setting],
  store: Store,
  workdir: pathlib.Path,
  *,
  anew: bool = True,
) -> tuple[list[str], str]:
  """Writes results.csv and the report's files from what is in the store, partial or whole.

  Not `anew`, a figure that was drawn from the same results stays.

  Returns:
    The files' names, and what there is to say.
  """
  task, axes = experiment.task, experiment.task.axis_names
  sections, used = [], set()
  lines: dict[Point, dict[str, Any]] = {}
  # What changes no number of a point has no column: one line may belong to several of its values.
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
      for name in swept:  # values that share a point have one line, which has none of them
        if line[name] != values[name]:
          line[name] = None
    if experiment.report and rows:
      report = experiment.report(setting.config, rows)
    elif experiment.report:
      report = Report({}, said="no run is finished")
    else:
      kept = [{k: v for k, v in row.items() if k not in swept} for row in rows]
      report = summary.report(experiment.name, axes, experiment.seed, kept)
    sections.append(Section(setting.swept, setting.title, report))
  metrics = dict.fromkeys(m for found in store.found.values() for m in found.metrics)
  columns = experiment.columns or (*axes, *metrics, "status")
  written, text = [], ""
  if not any("results.csv" in section.report.files for section in sections):
    names = [name for name in swept if name not in columns]
    text = reports.results_csv(columns, experiment.seed, names, list(lines.values()))
    atomic_write_text(workdir / "results.csv", text)
    written.append("results.csv")
  made_of = _fingerprint(sections, used, text)
  written = reports.write(workdir, experiment.name, sections, made_of, anew=anew) + written
  return written, reports.said(sections)


def _fingerprint(sections, records, results):
  """What a figure is made of: records, whose names tell their content, and what the report says of them."""
  texts = [text for section in sections for text in (section.title, *section.report.files.values())]
  return hashlib.sha256("\0".join([*sorted(records), results, *texts]).encode()).hexdigest()
