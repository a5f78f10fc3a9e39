"""What a sweep prints while it runs: finished lines, and a bar with the time left, or lines in a log."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from qnn_jax.sweeps import signals
from qnn_jax.sweeps.launch import Event, Lost, Over, Plan, Waiting
from qnn_jax.sweeps.points import Compiled, Group, Row, Said, Worked, describe
from qnn_jax.sweeps.worker import Ended, Failed, Rows, Started

Watch = Callable[[list[Row]], Iterable[str]]

_EVERY = 30.0  # seconds between two progress lines in a log


def show(
  events: Iterator[Event | Lost | Waiting | Over],
  todo: Plan,
  console: Console,
  watch: Watch | None = None,
  swept: Sequence[str] = (),
) -> list[Failed]:
  """Prints the lines that `watch` returns for finished rows, and a bar below.

  If piped, it prints a line each half minute instead of the bar.

  Args:
    events: from `launch.run`.
    todo: the plan that the events belong to.
    console: where to print.
    watch: finished rows -> lines to print; None prints none.
    swept: the fields that the sweep varies, whose values tell its groups apart.

  Returns:
    The groups that failed.
  """
  say = lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)
  failed: list[Failed] = []
  work, runs = _Work(todo.cost), sum(len(group.points) for group in todo.groups)
  with contextlib.ExitStack() as stack:
    progress = stack.enter_context(_progress(console))
    # So that the cursor is visible again if a signal ends the process.
    stack.enter_context(signals.clean_up(progress.stop))
    task = progress.add_task("starting", total=todo.cost, compile_s=0.0, not_working=None)
    if not console.is_terminal and todo.groups:
      stack.enter_context(_every(lambda: say(_line(progress.tasks[task], work.runs, runs))))
    for event in events:
      match event:
        case Compiled(seconds):
          work.compiled(seconds / max(1, todo.workers))  # they compile side by side
        case Worked(cost, resumed):
          work.worked(cost, progress.tasks[task].elapsed or 0.0, resumed)
        case Said(line, points):
          say(f"{describe(points, swept)}: {line}" if points else line)
          continue
        case Rows(rows):
          for line in watch(rows) if watch else ():
            say(line)
          work.finished(rows, progress.tasks[task].elapsed or 0.0)
        case Started(group):
          work.start(group)
        case Ended(group) | Over(group):
          work.end(group)
        case Failed(group, why):
          failed.append(event)
          work.end(group)
          say(f"failed: {group.name(swept)}: {why}")
        case Lost(who, why, group, again):
          work.lose(group)
          at = f" at {group.name(swept)}" if group else ""
          say(f"{who} {why}{at}" + ("; it is tried again" if again else ""))
        case Waiting(points):
          progress.update(task, description=f"waiting for others ({_points(points)})")
          continue
      fields = {"compile_s": work.compile_s, "not_working": work.not_working}
      progress.update(task, description=work.stage, completed=work.done, total=work.total, **fields)
    whole = work.total or 1
    progress.update(task, description="done", total=whole, completed=whole)
  return failed


class _Work:
  """How much is done: by their reports for groups that report their work, by finished points for others."""

  def __init__(self, total: float):
    self.done, self.total = 0.0, total
    self.compile_s, self.not_working = 0.0, None
    self.runs = 0
    self._of: dict[Group, float] = {}
    self._tells: set[Group] = set()
    self._by_point: dict = {}

  @property
  def stage(self) -> str:
    """What the sweep does now. A group reads its data and compiles its programs before its first work is done."""
    if self.not_working is not None:
      return "running"
    return "compiling" if self._of else "starting"

  def start(self, group: Group):
    self._of[group] = 0.0
    self._by_point |= dict.fromkeys(group.points, group)

  def compiled(self, seconds: float):
    self.compile_s += seconds
    if self.not_working is not None:
      self.not_working += seconds

  def worked(self, cost: float, elapsed: float, resumed: bool):
    if resumed:
      self.total -= cost
      return
    self._begin(elapsed)
    self.done += cost
    # With several workers nobody knows which group reports; all running ones count as reporting.
    self._tells |= set(self._of)

  def finished(self, rows: list[Row], elapsed: float):
    self._begin(elapsed)
    self.runs += len(rows)
    for row in rows:
      group = self._by_point.get(row.point)
      if group is not None and group not in self._tells:
        self._add(group, group.cost / len(group.points))

  def end(self, group: Group):
    if group in self._of and group not in self._tells:
      self._add(group, group.cost - self._of[group])
    elif group not in self._of:  # another launcher has run it
      self.total -= group.cost
    self._of.pop(group, None)

  def lose(self, group: Group | None):
    if group in self._of:
      if group in self._tells:  # how far it was is unknown; its checkpoint will say
        self.total += group.cost
      else:
        self._add(group, -self._of[group])
      self._of.pop(group)

  def _add(self, group, cost):
    self._of[group] += cost
    self.done += cost

  def _begin(self, elapsed):
    if self.not_working is None:
      self.not_working = elapsed


@contextlib.contextmanager
def _every(call):
  """In this context `call` is called in another thread each half minute, since events may be further apart."""
  over = threading.Event()

  def turns():
    while not over.wait(_EVERY):
      call()

  thread = threading.Thread(target=turns, daemon=True)
  thread.start()
  try:
    yield
  finally:
    over.set()
    thread.join()


def _line(task, done, runs):
  """'12:04:31 41 % done, 3:20 left (118 of 300 runs)'."""
  count = f"({done:,} of {runs:,} runs)"
  clock = time.strftime("%H:%M:%S")
  if task.description not in ("running", "done"):
    return f"{clock} {task.description} {count}"
  left = _seconds_left(task)
  told = "" if left is None else f", {_minutes(left)} left"
  return f"{clock} {min(task.percentage, 100):.0f} % done{told} {count}"


def _seconds_left(task):
  """The time left by the mean speed so far, which is steady, since a sweep is uniform; None if it is unknown.

  The speed leaves out the time until the first work was done, and the compiling after that.
  """
  working = (task.elapsed or 0) - (task.fields["not_working"] or 0)
  if task.description != "running" or working < 1 or not task.completed:
    return None
  return int((task.total - task.completed) * working / task.completed)


def _points(count):
  return "1 point" if count == 1 else f"{count:,} points"


def _minutes(seconds):
  hours = f"{seconds // 3600}:" if seconds >= 3600 else ""
  return f"{hours}{seconds // 60 % 60:{'02' if hours else ''}d}:{seconds % 60:02d}"


class _Elapsed(ProgressColumn):
  """The time since the start; rich's own column stops when the last work is done."""

  def render(self, task):
    seconds = int(task.elapsed or 0)
    return Text(f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}", "yellow")


class _TimeLeft(ProgressColumn):
  """The time left, if it is known."""

  def render(self, task):
    if task.description == "running" and task.total and task.completed >= 0.999 * task.total:
      return Text("testing".ljust(len("0:00 left")))
    left = _seconds_left(task)
    if left is None:
      return Text(" " * len("0:00 left"))  # so that the bar keeps its length
    return Text(f"{_minutes(left)} left")


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
