"""The whole page: what it is about, results, runs, failures, configuration, machines and times."""

import base64
import functools
import hashlib
import importlib.resources
import string
from collections.abc import Sequence

from qnn_jax.reports.page._data import Failure, Machine, Page, Runs, Section, Work, together
from qnn_jax.reports.page._runs import runs_table
from qnn_jax.reports.page._text import (
  NONE,
  count,
  duration,
  escape,
  markdown,
  moment,
  table,
  title_of,
)  # fmt: skip

MOST_WORK = 1_000
"""Records whose times are listed one by one."""
MOST_COMPARED, MOST_RUNS_COMPARED = 100, 1_000
"""Cells and runs in the table of all settings; with more, one table is no comparison."""


@functools.cache
def looks() -> tuple[str, str, str]:
  """(frame, style, script): what all pages share."""
  folder = importlib.resources.files("qnn_jax.reports.page")
  names = ("page.html", "page.css", "page.js")
  frame, style, script = ((folder / name).read_text(encoding="utf-8") for name in names)
  return frame, style, script


def page(data: Page, made_of: str = "") -> str:
  """The text of report.html: the same data give the same bytes.

  Args:
    data: what the page shows.
    made_of: a text that stands for the data. The file keeps it, so that a later run can compare it.
  """
  frame, style, script = looks()
  compared = _compared(data)
  body = [
    _comparison(data, compared),
    *_results(data),
    _faults(data),
    _config(data),
    _where(data),
    _times(data),
  ]
  return string.Template(frame).substitute(
    title=escape(_title(data)),
    name=escape(data.name),
    facts=_facts(data),
    navigation=_navigation(data, compared is not None),
    body="\n".join(part for part in body if part),
    made_of=escape(made_of),
    style=style,
    script=script,
    # The browser runs only this script, even if some text was not escaped.
    script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
  )


def _main(section: Section) -> str:
  return next(iter(section.texts.values()), "")


def _title(data):
  if not data.swept:
    return title_of(_main(data.sections[0])) or data.name
  return f"{data.name}, by {', '.join(data.swept)}"


def _facts(data):
  """The line below the title."""
  facts = [f"{data.finished:,} of {count(data.asked, 'run')} finished"]
  bad = []
  if data.diverged:
    bad.append(f"{data.diverged:,} diverged or stuck")
  if data.failures:
    bad.append(f"{count(len(data.failures), 'group')} failed")
  if data.work:
    facts.append(
      f"{duration(sum(w.seconds for w in data.work))} of computing, summed over processes"
    )
    facts.append(f"last run finished {moment(max(w.finished for w in data.work))} UTC")
  items = [f"<li>{escape(fact)}</li>" for fact in facts]
  items[1:1] = [f'<li class=bad><a href="#faults">{escape(fact)}</a></li>' for fact in bad]
  return f"<ul class=facts>{''.join(items)}</ul>"


def _navigation(data, is_compared):
  links = [("results", "Results")] if not data.swept else []
  links += [("comparison", "All settings")] if is_compared else []
  links += [(f"setting-{i}", s.title) for i, s in enumerate(data.sections) if data.swept]
  links += [("runs", "Runs")] if not data.swept else []
  links += [("faults", "What went wrong"), ("config", "Configuration"), ("machines", "Machines")]
  links += [("times", "Times")] if data.work else []
  return "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)


def _compared(data: Page) -> Runs | None:
  """The runs of all settings of a sweep for one table, if that is small enough to be read."""
  count_of_runs = sum(len(section.runs.rows) for section in data.sections)
  if len(data.sections) < 2 or count_of_runs > MOST_RUNS_COMPARED:
    return None
  runs = together(data.sections)
  cells = {tuple(row[key] for key in runs.keys) for row in runs.rows} | set(runs.missing)
  return runs if len(cells) <= MOST_COMPARED else None


def _comparison(data: Page, runs: Runs | None) -> str:
  if runs is None:
    return ""
  table = runs_table(runs, f"{data.name}: all settings", "all-")
  return _section("comparison", "All settings", table)


def _results(data):
  for i, section in enumerate(data.sections):
    label = f"{data.name}, {section.title}" if section.title else data.name
    prefix = f"s{i}-" if data.swept else ""
    # Below the section's heading, unless it has none; the text's first heading is then the page's.
    level = 3 if data.swept else 2
    parts = []
    if data.swept:
      parts.append(f'<h2 id="setting-{i}">{escape(section.title)}</h2>')
    else:
      parts.append('<h2 id="results">Results</h2>')
    if section.figure:
      source = f"data:image/png;base64,{base64.b64encode(section.figure).decode()}"
      alt = f"Figure: {title_of(_main(section)) or label}. The table of runs below has the results."
      size = _size(section.figure)
      parts.append(f'<figure><img src="{source}" {size} alt="{escape(alt)}"></figure>')
    for place, (file, text) in enumerate(section.texts.items()):
      is_main = place == 0
      shown = markdown(
        text,
        f"{label}: {file}",
        shift=level - 1,
        prefix=prefix,
        skip_title=not is_main or not data.swept,
      )
      if not is_main:
        summary = escape(title_of(text) or file)
        shown = f"<details><summary>{summary}</summary>\n{shown}</details>"
      parts.append(f"<div class=text>{shown}</div>")
    if not section.texts:
      failed = "The experiment's report failed; the command that wrote this page said why."
      parts.append(f"<p>{failed if section.runs.rows else 'No run is finished.'}</p>")
    parts.append(f'<h{level} id="{prefix}runs">Runs</h{level}>')
    parts.append(runs_table(section.runs, f"{label}: runs", prefix))
    content = "\n".join(parts)
    yield f"<section>\n{content}\n</section>"


def _size(png):
  """Attributes for a figure as large as on paper, from the PNG's header: drawn at 150 pixels an inch, shown at 96."""
  width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
  return f'width="{width * 96 // 150}" height="{height * 96 // 150}"'


def _faults(data: Page) -> str:
  missing = data.asked - data.finished
  said = []
  if missing:
    said.append(f"{count(missing, 'run')} of {data.asked:,} {_is(missing)} not finished.")
  if data.diverged:
    said.append(
      f"{count(data.diverged, 'run')} diverged or got stuck: the tables of the runs mark them."
    )
  if data.failures:
    said.append(
      "These groups ended with an error. The same command with <code>--retry_failed</code> tries them again."
    )
  if not said:
    said.append("Nothing: every run is finished, none diverged, and no group failed.")
  parts = [f"<p>{' '.join(said)}</p>", *map(_failure, data.failures)]
  return _section("faults", "What went wrong", "\n".join(parts))


def _is(number):
  return "is" if number == 1 else "are"


def _failure(failure: Failure) -> str:
  head = f"<p><strong>{escape(failure.what)}</strong> ({count(failure.runs, 'run')})</p>"
  why = f"<p><code>{escape(failure.why)}</code></p>"
  if failure.traceback:
    trace = f"<pre>{escape(failure.traceback)}</pre>"
    why += f"<details><summary>traceback</summary>{trace}</details>"
  return f"<div class=failure>{head}{why}</div>"


def _config(data: Page) -> str:
  lines = [
    [f"<code>{escape(name)}</code>", f"<code>{escape(value)}</code>"]
    for name, value in data.config.items()
  ]
  text = (
    "<p>Every field of the resolved configuration. "
    + ("Fields that were swept list their values. " if data.swept else "")
    + "<code>--config=DIR/config.json</code> repeats it"
    + (", with the same <code>--sweep</code> flags.</p>" if data.swept else ".</p>")
  )
  return _section(
    "config", "Configuration", text + table(["field", "value"], lines, "Configuration")
  )


def _where(data: Page) -> str:
  machines = data.machines
  lines = []
  for i, machine in enumerate(machines):
    work = [w for w in data.work if w.machine == i]
    lines.append(
      [
        escape(machine.host or NONE),
        escape(machine.device or NONE),
        escape(machine.system or NONE),
        f"{machine.devices:,}" if machine.devices else NONE,
        f"{machine.cores:,}" if machine.cores else NONE,
        " or ".join(map(str, machine.cores_a_process)) or NONE,
        f"{machine.memory / 2**30:,.1f}" if machine.memory else NONE,
        f"{sum(w.runs for w in work):,}",
        duration(sum(w.seconds for w in work)),
      ]
    )
  head = [
    "host", "processor or accelerator", "system", "devices", "cores", "cores a process", "memory, GiB", "runs",
    "computing",
  ]  # fmt: skip
  text = "<p>The machines that computed the runs. A dash is what an older record does not say.</p>"
  return _section(
    "machines", "Machines", text + table(head, lines, "Machines", numbers=6) + _versions(machines)
  )


def _versions(machines: Sequence[Machine]) -> str:
  names = list(dict.fromkeys(name for machine in machines for name, _ in machine.versions))
  hosts: dict[
    tuple[tuple[str, str], ...], dict[str, None]
  ] = {}  # versions -> the hosts that have them
  for machine in machines:
    hosts.setdefault(machine.versions, {})[machine.host] = None
  head = ["package", "version"]
  if len(hosts) > 1:
    head = ["package", *(f"on {escape(', '.join(those))}" for those in hosts.values())]
  sets = [dict(versions) for versions in hosts]
  lines = [[escape(name), *(escape(s.get(name) or NONE) for s in sets)] for name in names]
  return f"<h3>Versions</h3>{table(head, lines, 'Versions')}" if names else ""


def _times(data: Page) -> str:
  work: Sequence[Work] = sorted(data.work, key=lambda w: (w.finished, w.what))
  if not work:
    return ""
  begin = min(w.finished - w.seconds for w in work)
  end = max(w.finished for w in work)
  total = sum(w.seconds for w in work)
  text = (
    f"<p>The first runs began {moment(begin)}, the last ones finished {moment(end)}, UTC. Computing took "
    f"{duration(total)}, summed over all processes, for {count(sum(w.runs for w in work), 'run')}. "
    "Each row is runs that were finished together.</p>"
  )
  if len(work) > MOST_WORK:
    longest = sorted(work, key=lambda w: (-w.seconds, w.finished, w.what))[:MOST_WORK]
    work = sorted(longest, key=lambda w: (w.finished, w.what))
    text += f"<p>Of {len(data.work):,} rows these are the {MOST_WORK:,} that took longest.</p>"
  several = len(data.machines) > 1
  lines = [
    [
      escape(w.what),
      *([escape(data.machines[w.machine].host or NONE)] if several else []),
      moment(w.finished),
      f"{w.runs:,}",
      duration(w.seconds),
      duration(w.seconds / w.runs),
    ]
    for w in work
  ]
  head = ["runs of", *(["host"] if several else []), "finished, UTC", "runs", "time", "time a run"]
  shown = table(head, lines, "Times", numbers=3)
  opened = f"<details><summary>{count(len(lines), 'row')}</summary>{shown}</details>"
  return _section("times", "Times", text + (shown if len(lines) <= 12 else opened))


def _section(name, title, content):
  return f'<section>\n<h2 id="{name}">{escape(title)}</h2>\n{content}\n</section>'
