"""The data that a report page shows."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Cell = tuple[Any, ...]
"""The values that all runs of a table's cell have in common: those of `Runs.keys`."""


@dataclasses.dataclass(frozen=True)
class Runs:
  """The runs of a section, with the paper's values.

  Attributes:
    keys: the columns that identify a cell: all axes but the seed.
    seed: the column that distinguishes the runs of a cell; "" if there is none.
    metrics: the columns that were measured.
    rows: a mapping for each run, with the columns above and `status`.
    missing: cell -> how many of its runs are not finished.
    beside: cell -> column -> the paper's value.
  """

  keys: tuple[str, ...]
  seed: str
  metrics: tuple[str, ...]
  rows: Sequence[Mapping[str, Any]]
  missing: Mapping[Cell, int] = dataclasses.field(default_factory=dict)
  beside: Mapping[Cell, Mapping[str, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Section:
  """One setting of a sweep, or the whole of it if no field was swept.

  Attributes:
    title: the swept values; "" if no field was swept.
    texts: file name -> markdown; the first is the main one.
    runs: all runs of the setting.
    figure: PNG, or None if there is none.
    values: the swept fields with their values.
  """

  title: str
  texts: Mapping[str, str]
  runs: Runs
  figure: bytes | None = None
  values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def together(sections: Sequence[Section]) -> Runs:
  """The runs of all settings of a sweep, with the swept fields in front of the other columns that identify a cell."""
  first = sections[0].runs
  swept = [name for name in sections[0].values if name not in first.keys]
  rows: list[Mapping[str, Any]] = []
  missing: dict[Cell, int] = {}
  beside: dict[Cell, Mapping[str, float]] = {}
  for section in sections:
    values = {name: section.values[name] for name in swept}
    before = tuple(values.values())
    rows += [{**row, **values} for row in section.runs.rows]
    missing |= {(*before, *cell): count for cell, count in section.runs.missing.items()}
    beside |= {(*before, *cell): theirs for cell, theirs in section.runs.beside.items()}
  metrics = dict.fromkeys(name for section in sections for name in section.runs.metrics)
  return Runs((*swept, *first.keys), first.seed, tuple(metrics), rows, missing, beside)


@dataclasses.dataclass(frozen=True)
class Machine:
  """A machine with its software. What an old record does not say is "" or 0.

  Attributes:
    host: its name.
    system: operating system, its release, and architecture.
    device: model of the processor or of the accelerator.
    devices: how many of them JAX used.
    cores: CPU cores of the machine.
    cores_a_process: CPU cores that a process was allowed, each number that occurred.
    memory: bytes.
    versions: (package, version), each.
  """

  host: str
  system: str
  device: str
  devices: int
  cores: int
  cores_a_process: tuple[int, ...]
  memory: int
  versions: tuple[tuple[str, str], ...]

  def with_cores(self, counts: Iterable[int]) -> "Machine":
    """The same machine, whose processes were allowed so many cores."""
    return dataclasses.replace(self, cores_a_process=tuple(sorted(counts)))


@dataclasses.dataclass(frozen=True)
class Work:
  """Runs that were finished together: the rows of one record.

  Attributes:
    what: the values that they have, in words.
    runs: how many.
    seconds: how long they took.
    finished: when they finished, in seconds since 1970.
    machine: the index of the page's machine that ran them, from 0.
  """

  what: str
  runs: int
  seconds: float
  finished: float
  machine: int


@dataclasses.dataclass(frozen=True)
class Failure:
  """A group that ended with an error.

  Attributes:
    what: the values that its missing runs have, in words.
    runs: how many.
    why: the error in one line.
    traceback: all of it; "" if a lost worker process left none.
  """

  what: str
  runs: int
  why: str
  traceback: str


@dataclasses.dataclass(frozen=True)
class Page:
  """Everything that a page shows.

  Attributes:
    name: of the experiment.
    swept: the swept fields, in order.
    asked: how many runs the configuration asks for.
    finished: how many of them are finished.
    diverged: how many of those diverged, or have another status than 'ok'.
    sections: one, or one for each setting.
    config: field -> value as text, of the resolved configuration.
    machines: the machines that computed the runs.
    work: the records that hold the runs.
    failures: of runs that are not finished.
  """

  name: str
  swept: tuple[str, ...]
  asked: int
  finished: int
  diverged: int
  sections: Sequence[Section]
  config: Mapping[str, str]
  machines: Sequence[Machine]
  work: Sequence[Work]
  failures: Sequence[Failure]

  def with_figures(self, figures: Sequence[bytes | None]) -> "Page":
    """The same page with a figure for each section, or None."""
    pairs = zip(self.sections, figures, strict=True)
    sections = [dataclasses.replace(section, figure=figure) for section, figure in pairs]
    return dataclasses.replace(self, sections=sections)
