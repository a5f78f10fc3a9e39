"""DIR/report.html: the contents of a sweep's workdir, on one page that needs no network.

This module gathers the contents from the store and the reports; `reports.page` makes the HTML.
"""

import collections
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qnn_jax.atomic import update_bytes
from qnn_jax.reports import page as pages
from qnn_jax.reports.report import Section, is_made_of
from qnn_jax.sweeps import failures
from qnn_jax.sweeps.configs import fields
from qnn_jax.sweeps.points import Point, describe
from qnn_jax.sweeps.settings import Setting, shown
from qnn_jax.sweeps.store import Store
from qnn_jax.sweeps.task import Task

NAME = "report.html"

_MOST_MISSING = 2_000  # cells without any run that the page still lists


class Part(NamedTuple):
  """One setting of a sweep, with its section of the report and its rows."""

  setting: Setting
  section: Section
  rows: Sequence[Mapping[str, Any]]


def write(
  workdir: pathlib.Path,
  task: Task,
  columns: Sequence[str],
  parts: Sequence[Part],
  store: Store,
) -> str:
  """Writes the page, unless the existing one shows the same; returns its name.

  The page takes its figures from NAME.png, which must be written before.

  Args:
    workdir: the folder of the sweep.
    task: the task of the experiment.
    columns: the columns of results.csv.
    parts: the settings, in order.
    store: what has been read of the workdir.

  Raises:
    OSError: the page cannot be written.
  """
  data = gather(workdir, task, columns, parts, store)
  try:
    png = (workdir / f"{task.name}.png").read_bytes()
  except FileNotFoundError:
    png = b""
  made_of = hashlib.sha256(repr((data, png, pages.looks())).encode()).hexdigest()
  path = workdir / NAME
  if not is_made_of(path, made_of, end=b"</html>\n"):
    drawn = _figures(png, parts)
    text = pages.page(data.with_figures(drawn), made_of)
    update_bytes(path, text.encode("utf-8"))
  return NAME


def gather(
  workdir: pathlib.Path,
  task: Task,
  columns: Sequence[str],
  parts: Sequence[Part],
  store: Store,
) -> pages.Page:
  """The contents of the page, without its figures; for the arguments see `write`."""
  points = {part.setting.title: task.points_of(part.setting.config) for part in parts}
  asked = list(dict.fromkeys(point for of_part in points.values() for point in of_part))
  found = [point for point in asked if point in store.found]
  swept = [name for name in parts[0].setting.swept if name not in task.not_fields()]
  machines, work = _work(store, found, swept)
  sections = [_section(task, columns, part, points[part.setting.title], store) for part in parts]
  return pages.Page(
    name=task.name,
    swept=tuple(parts[0].setting.swept),
    asked=len(asked),
    finished=len(found),
    diverged=sum(store.found[point].status != "ok" for point in found),
    sections=sections,
    config=_config([part.setting for part in parts]),
    machines=machines,
    work=work,
    failures=_failures(workdir, [point for point in asked if point not in store.found], swept),
  )


def _section(task, columns, part, points, store):
  setting, section, rows = part
  axes, seed = task.axis_names, _seed(task)
  keys = [name for name in dict.fromkeys((*columns, *axes)) if name in axes and name != seed]
  metrics = [name for name in columns if name not in (*axes, *setting.swept, "status")]
  cell_of = lambda row: tuple(row[key] for key in keys)
  there = dict.fromkeys(map(cell_of, rows))
  missing = collections.Counter(cell_of(p.axes()) for p in points if p not in store.found)
  if len(missing.keys() - there.keys()) > _MOST_MISSING:
    missing = collections.Counter({cell: n for cell, n in missing.items() if cell in there})
  beside = section.report.beside
  examples = {cell_of(row): row for row in rows}
  theirs = {cell: dict(beside(row)) for cell, row in examples.items()} if beside else {}
  of_run = (*keys, seed, *metrics, "status")
  runs = pages.Runs(
    keys=tuple(keys),
    seed=seed,
    metrics=tuple(metrics),
    rows=[{name: row[name] for name in of_run if name in row} for row in rows],
    missing=missing,
    beside=theirs,
  )
  texts = {file: text for file, text in section.report.files.items() if file.endswith(".md")}
  main = f"{task.name}.md"
  if main in texts:  # first
    texts = {main: ""} | texts | {main: section.report.linked or texts[main]}
  plain = (bool, int, float, str, type(None))
  values = {k: v if isinstance(v, plain) else shown(v) for k, v in setting.swept.items()}
  return pages.Section(section.title, texts, runs, values=values)


def _seed(task):
  """The axis that distinguishes the runs of a cell; "" if there is none, as for Table 1's counts."""
  return task.axes.get("seeds") or ("seed" if "seed" in task.axis_names else "")


def _config(settings):
  """Every field as text; for a swept field all its values."""
  found = {name: shown(value) or "''" for name, value in fields(settings[0].config).items()}
  for name in settings[0].swept:
    found[name] = " | ".join(dict.fromkeys(shown(setting.swept[name]) for setting in settings))
  return found


def _work(store, points, swept):
  """(machines, work) of the records that hold these points' rows, in the order in which they were finished."""
  of_record: dict[str, list[Point]] = {}
  for point in points:
    of_record.setdefault(store.found[point].record, []).append(point)
  when = lambda record: (store.origins[record]["finished"], record)
  machines: dict[pages.Machine, int] = {}
  processes: dict[pages.Machine, set[int]] = {}
  work = []
  for record in sorted(of_record, key=when):
    origin, mine = store.origins[record], of_record[record]
    machine = _machine(origin)
    if count := origin.get("cores_a_process"):
      processes.setdefault(machine, set()).add(count)
    seconds = sum(store.found[point].seconds for point in mine)
    place = machines.setdefault(machine, len(machines))
    work.append(pages.Work(describe(mine, swept), len(mine), seconds, origin["finished"], place))
  return [m.with_cores(processes.get(m, ())) for m in machines], work


def _machine(origin):
  text = lambda name: str(origin.get(name, ""))
  number = lambda name: int(origin.get(name, 0))
  versions = tuple((str(k), str(v)) for k, v in origin.get("versions", {}).items())
  return pages.Machine(
    text("host"), text("system"), text("device"), number("devices"), number("cores"), (),
    number("memory"), versions,
  )  # fmt: skip


def _failures(workdir, missing, swept):
  entries = failures.entries(workdir, {}) if missing else {}
  if not entries:
    return []
  of_text = {point.text(): point for point in missing}
  found = []
  for _, content in sorted(entries.items()):
    points = [of_text[text] for text in content["points"] if text in of_text]
    if points:
      trace = content.get("traceback")
      trace = trace if isinstance(trace, str) else ""
      found.append(pages.Failure(describe(points, swept), len(points), content["why"], trace))
  return found


def _figures(png: bytes, parts: Sequence[Part]) -> list[bytes | None]:
  """The figure of each section."""
  places = [i for i, part in enumerate(parts) if part.section.report.figure]
  found: list[bytes | None] = [None] * len(parts)
  if not png or not places:
    return found
  from qnn_jax.reports import figures  # matplotlib, as in reports.write

  drawn = figures.parts(png)
  if len(drawn) != len(places):  # drawn by an earlier version, all in one
    drawn, places = [png], places[:1]
  for place, figure in zip(places, drawn):
    found[place] = figure
  return found
