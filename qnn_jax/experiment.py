"""An experiment: a task for the sweep engine, and a report of its rows.

  python -m experiments.NAME --config=configs/NAME.py[:preset] --workdir=DIR [--config.key=value]

The shared parts are in `sweeps` (points, records, workers, progress), in `reports` (files, figures) and
in `command`, whose `main` is the program.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qnn_jax import living, report_page
from qnn_jax.atomic import atomic_write_text, create_exclusively, update_bytes
from qnn_jax.errors import InputError, WorkdirError
from qnn_jax.report_page import Part
from qnn_jax.reports import report as reports
from qnn_jax.reports import summary
from qnn_jax.reports.report import Report, Section
from qnn_jax.sweeps import damage, progress
from qnn_jax.sweeps.configs import Config, fields
from qnn_jax.sweeps.points import Point
from qnn_jax.sweeps.settings import Setting
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task

# How often to look at what another launcher is doing, and the seconds between two looks.
_TRIES, _A_MOMENT = 20, 0.02

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


def open_workdir(workdir: pathlib.Path, config: Config, task: Task) -> bool:
  """Claims `workdir` for the results of this config of the `task`, or finds that it has it already.

  Writes DIR/config.json, the whole resolved configuration. With the same configuration a sweep resumes.
  The axes may grow or shrink (more seeds, other sizes): only new points run.

  Returns:
    Whether the workdir had no configuration before.

  Raises:
    InputError: the directory holds results of another configuration, has a config.json that cannot be
      read, or cannot be created; nothing in it is changed.
  """
  path, wanted = workdir / "config.json", config.to_dict()
  text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
  wanted = json.loads(text)
  try:
    for _ in range(_TRIES):
      with contextlib.suppress(FileNotFoundError):  # another launcher has just released the workdir
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists() and create_exclusively(path, text.encode()):
          return True
        found = _read_config(path)
        _refuse_another(workdir, found, wanted, task)
        # Read again: meanwhile the workdir may have been released and claimed by another launcher.
        if _keep_from_release(workdir) and _read_config(path) == found:
          break
      time.sleep(_A_MOMENT)
    else:
      raise InputError(
        f"{workdir / 'records'} is not a folder, or other launchers keep releasing {workdir}; "
        "name another --workdir"
      )
  except OSError as error:
    raise WorkdirError(
      f"cannot use {workdir} as a workdir: {error.strerror}; name a directory that can be written"
    ) from error
  if found != wanted:
    # Only for people to read. A read-only disk may hold all results already; if not, the runs will fail.
    with contextlib.suppress(OSError):
      atomic_write_text(path, text)
  return False


def _read_config(path):
  """The configuration in a file. On a disk without hard links another launcher may still be writing it."""
  for left in reversed(range(_TRIES)):
    try:
      found = json.loads(damage.read_file(path)[0].decode("utf-8"))
      if isinstance(found, dict):
        return found
    except damage.Unreadable as error:
      raise WorkdirError(f"cannot read {path}: {error}; name another --workdir") from error
    except (ValueError, RecursionError, damage.Damaged):
      pass
    if left:
      time.sleep(_A_MOMENT)
  raise InputError(f"{path} is damaged; restore or remove it, or name another --workdir")


def _refuse_another(workdir, found, wanted, task):
  free = task.not_fields()
  keys = sorted(k for k in {*found, *wanted} - free if found.get(k) != wanted.get(k))
  if keys:
    changes = ", ".join(f"{k} = {found.get(k)!r} there, {wanted.get(k)!r} here" for k in keys)
    raise InputError(
      f"{workdir} holds results of another configuration ({changes}); "
      "name another --workdir or use that configuration"
    )


def _keep_from_release(workdir):
  """Makes DIR/records, so that no launcher releases the workdir. False if one is just doing so.

  `release` makes a file of that name: one of the two comes first, and the other sees it.
  """
  records = workdir / "records"
  try:
    records.mkdir(exist_ok=True)
  except FileExistsError:
    with contextlib.suppress(OSError):
      releasing = living.of_tag(records.read_text(encoding="utf-8"))
      if releasing is not None and living.is_dead(releasing):
        records.unlink()
    return False
  except FileNotFoundError:
    raise
  except OSError:
    pass  # on a read-only disk nobody can release the workdir
  return True


def release(workdir: pathlib.Path, made: Sequence[pathlib.Path] = ()) -> None:
  """Undoes `open_workdir` if no results were written.

  If another launcher has accepted the configuration meanwhile, it has made DIR/records, and the workdir
  stays.

  Args:
    workdir: the directory.
    made: the folders that `open_workdir` created, the innermost first; the empty ones are removed.
  """
  records, cache = workdir / "records", workdir / "compilation_cache"
  with contextlib.suppress(OSError):
    there = {path.name for path in workdir.iterdir() if not path.name.startswith(".")}
    if "config.json" in there and there <= {"config.json", cache.name}:
      if create_exclusively(records, living.tag().encode()):
        shutil.rmtree(cache, ignore_errors=True)
        (workdir / "config.json").unlink()
        records.unlink()
      for folder in made:
        folder.rmdir()


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
  """
  task, axes = experiment.task, experiment.task.axis_names
  parts, used = [], set()
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
      report = experiment.report(setting.config, rows)
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
    written = reports.write(workdir, experiment.name, sections, made_of, anew=anew)
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
