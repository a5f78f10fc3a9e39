"""What a sweep shows while it runs: finished rows, a bar with the time left, the compile time."""

import collections
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from qnn_jax.reports import table
from qnn_jax.reports.paper import Row, models_of, read_paper_table4
from qnn_jax.reports.summary import Run, summarize
from qnn_jax.sweeps.grid import Grid
from qnn_jax.sweeps.launch import Plan
from qnn_jax.sweeps.shard import Compiled, Finished, Message, Trained


def show(
  grid: Grid, found: Iterable[Run], messages: Iterator[Message], todo: Plan, console: Console
) -> list[Run]:
  """Prints rows as they are complete, those found on disk first, and a bar below them.

  Args:
    grid: the sweep.
    found: runs on disk at the start.
    messages: of `launch.run`.
    todo: what the messages will tell of.
    console: where to print.

  Returns:
    All runs, found and new.
  """
  rows = _Rows(grid, console)
  rows.add(found)
  with _progress(console) as progress:
    left, compile_s, not_training = todo.passes, 0.0, None
    task = progress.add_task("starting", total=left, compile_s=0.0, not_training=None)
    for message in messages:
      match message:
        case Compiled(seconds):
          seconds /= todo.workers  # they compile side by side
          compile_s += seconds
          if not_training is not None:
            not_training += seconds
          progress.update(task, compile_s=compile_s, not_training=not_training)
        case Trained(samples, resumed=True):
          left -= samples
          progress.update(task, total=left)
        case Trained(samples):
          if not_training is None:
            not_training = progress.tasks[task].elapsed
          progress.update(task, description="training", advance=samples, not_training=not_training)
        case Finished(runs):
          rows.add(runs)
    progress.update(task, description="done", total=left or 1, completed=left or 1)
  return rows.runs


class _Rows:
  """Prints each row of the table once all its runs are there."""

  def __init__(self, grid: Grid, console: Console):
    self._runs: dict[tuple, Run] = {}
    self._grid = grid
    self._console = console
    self._paper = read_paper_table4()
    self._models = models_of(cell for cell in grid.cells(grid.train_sizes[0], grid.marks[0]))
    self._rows: dict[Row, list[Run]] = collections.defaultdict(list)
    self._print(table.header_line(self._models))

  @property
  def runs(self) -> list[Run]:
    return list(self._runs.values())

  def add(self, runs: Iterable[Run]):
    for run in sorted(runs, key=lambda run: (run.train_size, run.epochs, run.hidden)):
      if (run.cell, run.seed) in self._runs:
        continue  # done again beside seeds that lacked it
      self._runs[run.cell, run.seed] = run
      row = Row(run.train_size, run.epochs, run.hidden)
      self._rows[row].append(run)
      if len(self._rows[row]) == len(self._models) * len(self._grid.seeds):
        summary = summarize(self._rows[row])
        self._print(table.row_line(row, summary, self._paper, self._models))

  def _print(self, line: str):
    self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Elapsed(ProgressColumn):
  """The time since the start; rich's own column stops when the last sample is passed."""

  def render(self, task):
    seconds = int(task.elapsed)
    return Text(f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}", "yellow")


class _TimeLeft(ProgressColumn):
  """Work left by the mean speed so far: a sweep is uniform, and a mean does not jump.

  The time until the first samples were passed, and what is compiled after that, is not in the speed.
  """

  def render(self, task):
    training = task.elapsed - (task.fields["not_training"] or 0)
    if task.description != "done" and task.completed >= task.total:
      return Text("testing".ljust(len("0:00 left")))
    if task.description != "training" or training < 1:
      return Text(" " * len("0:00 left"))  # so that the bar keeps its length
    seconds = int((task.total - task.completed) * training / task.completed)
    return Text(f"{seconds // 60}:{seconds % 60:02d} left")


def _progress(console):
  return Progress(
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f} %"),
    _Elapsed(),
    TextColumn("({task.fields[compile_s]:.0f} s of it compiling)"),
    _TimeLeft(),
    console=console,
  )
