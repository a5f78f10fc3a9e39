"""A report: what an experiment makes of its rows, and the files that it becomes.

A sweep over a config field has a report a value. Its files then hold a section each: markdown below a
heading, CSV with the swept fields in columns of their own, the figures one below another.
"""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qnn_jax.atomic import update_bytes
from qnn_jax.reports.rows import csv_text

if TYPE_CHECKING:
  from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Report:
  """What one configuration's rows come to.

  Attributes:
    files: name -> text, .md, .csv or .tex.
    figure: draws the picture; None if there is none to draw.
    said: what is printed in the end.
    beside: run -> column -> the paper's value for the runs of its cell, for the report page; {} if the paper
      has none. A column `mean` is held against our mean.
    linked: the main markdown file as the report page shows it, if that differs: with links to `page.anchor`.
  """

  files: Mapping[str, str]
  figure: "Callable[[], Figure] | None" = None
  said: str = ""
  beside: "Callable[[Mapping[str, Any]], Mapping[str, float]] | None" = None
  linked: str = ""


class Section(NamedTuple):
  """One section: a `report`, its swept fields ({} without a sweep), and the title of its values."""

  swept: Mapping[str, Any]
  title: str
  report: Report


def write(
  workdir: pathlib.Path,
  name: str,
  sections: Sequence[Section],
  made_of: str = "",
  *,
  anew: bool = True,
) -> list[str]:
  """Writes the files of all sections, and `name`.png; returns the files' names.

  Args:
    workdir: where.
    name: of the experiment.
    sections: one, or one a swept value.
    made_of: what the figure is made of, in a few characters, which its file keeps.
    anew: whether to draw the figure even if the file that is there was made of the same.
  """
  written = list(dict.fromkeys(file for section in sections for file in section.report.files))
  for file in written:
    of_file = [section for section in sections if file in section.report.files]
    update_bytes(workdir / file, _joined(name, file, of_file).encode())
  drawn = [section for section in sections if section.report.figure]
  if drawn:
    path = workdir / f"{name}.png"
    if anew or not _is_made_of(path, made_of):
      # Only now, because matplotlib takes half a second, which workers and reruns need not.
      from qnn_jax.reports import figures

      parts = [(section.title, section.report.figure()) for section in drawn]  # type: ignore[misc]
      try:
        figures.save(parts, path, made_of=made_of)
      except OSError:
        if not _is_made_of(
          path, made_of
        ):  # on a disk that cannot be written it may be there already
          raise
    written.append(path.name)
  return written


def said(sections: Sequence[Section]) -> str:
  """The text that is printed at the end, a paragraph for each of the sections."""
  texts = [f"{section.title}\n{section.report.said}".strip() for section in sections]
  return "\n\n".join(texts)


def results_csv(
  columns: Sequence[str], before: str, swept: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> str:
  """DIR/results.csv: a line a run.

  Args:
    columns: of the experiment.
    before: the column that swept fields stand before: the seed.
    swept: swept fields that are no columns already.
    rows: column -> value; what is missing is left empty.
  """
  place = columns.index(before) if before in columns else len(columns)
  names = [*columns[:place], *swept, *columns[place:]]
  return csv_text([names, *([_cell(row.get(name)) for name in names] for row in rows)])


def _is_made_of(path, made_of):
  """Whether the figure at `path` is whole and says that it is made of this."""
  try:
    data = path.read_bytes()
  except OSError:
    return False
  return made_of.encode() in data[:1000] and data.endswith(b"IEND\xaeB`\x82")


def _joined(name, file, sections):
  texts = [section.report.files[file] for section in sections]
  if not sections[0].swept:
    return texts[0]
  if file.endswith(".csv"):
    return _joined_csv(sections, texts)
  if file.endswith(".md"):
    title = f"# {name}, by {', '.join(sections[0].swept)}\n\n"
    parts = [f"## {s.title}\n\n{_deeper(text)}" for s, text in zip(sections, texts, strict=True)]
    return title + "\n".join(parts)
  return "\n".join(f"% {s.title}\n{text}" for s, text in zip(sections, texts, strict=True))


def _joined_csv(sections, texts):
  rows: list[dict[str, Any]] = []
  names: dict[str, None] = {}  # in order; by name, for the columns may differ from value to value
  for section, text in zip(sections, texts, strict=True):
    head, *lines = list(csv.reader(io.StringIO(text)))
    swept = {name: _cell(v) for name, v in section.swept.items() if name not in head}
    names |= dict.fromkeys([*swept, *head])
    rows += [swept | dict(zip(head, line)) for line in lines]
  return csv_text([names, *([row.get(name) for name in names] for row in rows)])


def _deeper(markdown):
  lines = markdown.split("\n")
  return "\n".join(f"##{line}" if line.startswith("#") else line for line in lines)


def _cell(value):
  if isinstance(value, float) and not math.isfinite(value):
    return None
  # float() first: the repr of a NumPy scalar is not a number.
  if isinstance(value, float):
    return repr(float(value))
  return repr(value) if isinstance(value, (tuple, list)) else value
