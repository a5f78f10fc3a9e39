"""A report: the texts, tables and figure that an experiment makes from its rows, and the files they are written to.

A sweep over a config field has one report for each value. Each file then has a section for each report: markdown
under a heading, CSV with the swept fields in columns of their own, and the figures below each other.
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


_END_OF_PNG = b"IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class Report:
  """The report on the rows of one configuration.

  Attributes:
    files: name -> text, .md, .csv or .tex.
    figure: draws the picture; None if there is none to draw.
    said: the text that is printed at the end.
    beside: run -> column -> the paper's value for the runs of its cell, for the report page; {} if the paper
      has none. A column `mean` is compared with our mean.
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
    sections: one section, or one for each swept value.
    made_of: a short text that stands for the data in the figure; the file keeps it.
    anew: whether to draw the figure even if the existing file was made of the same data.
  """
  written = list(dict.fromkeys(file for section in sections for file in section.report.files))
  for file in written:
    of_file = [section for section in sections if file in section.report.files]
    update_bytes(workdir / file, _joined(name, file, of_file).encode())
  drawn = [section for section in sections if section.report.figure]
  if drawn:
    path = workdir / f"{name}.png"
    if anew or not is_made_of(path, made_of, end=_END_OF_PNG):
      # Imported here, because matplotlib takes half a second, which workers and reruns can save.
      from qnn_jax.reports import figures

      parts = [(section.title, section.report.figure()) for section in drawn]  # type: ignore[misc]
      try:
        figures.save(parts, path, made_of=made_of)
      except OSError:
        if not is_made_of(
          path, made_of, end=_END_OF_PNG
        ):  # on a read-only disk it may be there already
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
  """The text of DIR/results.csv, one line for each run.

  Args:
    columns: of the experiment.
    before: the column before which swept fields are inserted: the seed.
    swept: swept fields that are not columns already.
    rows: column -> value; a missing value is left empty.
  """
  place = columns.index(before) if before in columns else len(columns)
  names = [*columns[:place], *swept, *columns[place:]]
  return csv_text([names, *([_cell(row.get(name)) for name in names] for row in rows)])


def is_made_of(path: pathlib.Path, made_of: str, *, end: bytes) -> bool:
  """Whether a file was made of certain data, and is complete.

  Args:
    path: the file.
    made_of: the text that stands for the data; the file has it near its beginning.
    end: the last bytes of a complete file.
  """
  try:
    data = path.read_bytes()
  except OSError:
    return False
  return made_of.encode() in data[:2000] and data.endswith(end)


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
  names: dict[str, None] = {}  # in order; by name, since the columns may differ between sections
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
