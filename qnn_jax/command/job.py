"""A process of a `--distributed` job: its messages to the others, and how all processes end together."""

import contextlib
import math
import pathlib
import platform
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jax

from qnn_jax.command.mistakes import sentence_of
from qnn_jax.errors import InputError
from qnn_jax.sweeps import signals

_SIGHT_SECONDS = 30.0  # how long a file may take to be seen on another host: NFS caches directories
_LEAVE_SECONDS = 10.0  # how long process 0, if it failed, waits for the others to leave
_LOOK_SECONDS = 0.2  # between two checks whether process 0 stops
_SAID, _DONE, _STOPS = "qnn_jax/said/", "qnn_jax/done/", "qnn_jax/stops/"


class Job:
  """This process as one of the processes of a job.

  Attributes:
    process: the number of this process, from 0.
    count: how many processes the job has.
  """

  def __init__(self, client: Any, process: int, count: int):
    self.process, self.count = process, count
    self._client = client

  @property
  def part(self) -> tuple[int, int]:
    """The slice of the runs that this process trains."""
    return self.process, self.count

  @property
  def reports(self) -> bool:
    """Whether this process is the one that prints and reports."""
    return self.process == 0

  def say(self, why: str) -> None:
    """Leaves a sentence for process 0: what went wrong here."""
    self._client.key_value_set(f"{_SAID}{self.process}", why, allow_overwrite=True)

  def meet(self, seconds: float = math.inf) -> set[int]:
    """Waits until every live process has called it; returns the numbers of these processes.

    It does not wait for a process that has ended, or gave no sign of life for JAX's heartbeat timeout.

    Raises:
      InputError: process 0 has ended, or not all have called it within so many seconds.
    """
    found: list[Any] = []

    def wait():
      with contextlib.suppress(jax.errors.JaxRuntimeError):
        found.append(self._client.get_live_nodes(list(range(self.count))))

    # In a thread, because it waits in C++, where Ctrl-C would have no effect.
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < until:
      thread.join(0.2)
    if not found:
      raise InputError("the other processes cannot be reached; all that is on disk is as it was")
    return set(found[0])

  def faults(self, here: set[int]) -> list[str]:
    """A sentence for each process that reported a fault, or that is not in `here`."""
    said = self._told(_SAID)
    for missing in set(range(self.count)) - here - self._told(_DONE).keys():
      said.setdefault(missing, "ended before its work was done, without a message")
    return [f"process {i} of {self.count}: {why}" for i, why in sorted(said.items())]

  def end(self, why: str | None, say: Callable[[str], object]) -> list[str]:
    """Reports that this process has finished its slice, or why it has not; process 0 waits for the others.

    Args:
      why: what failed here.
      say: prints a line.

    Returns:
      For process 0, a sentence for each process that failed.
    """
    if why:
      self.say(why)
    self._client.key_value_set(f"{_DONE}{self.process}", "")
    if not self.reports:
      return []
    gone = self._told(_DONE).keys() | self._told(_SAID).keys()
    if left := sorted(set(range(self.count)) - gone):
      which = "process" if len(left) == 1 else "processes"
      say(f"waiting for {which} {', '.join(map(str, left))} of {self.count}")
    # The others leave when they are done, and `meet` does not wait for those that have left.
    return self.faults(self.meet())

  def check(self, workdir: pathlib.Path, asked: str) -> None:
    """Checks that all processes see one workdir and have the same runs to do.

    All processes must call it; process 0 when it has made the workdir.

    Args:
      workdir: where results go.
      asked: a text that stands for all the runs, the same in all processes.

    Raises:
      InputError: another process has failed by now, or one does not see the same workdir, or is asked for
        other runs.
    """
    key = "qnn_jax/workdir"
    token = None
    if self.reports:
      token = workdir / f".tmp-{uuid.uuid4().hex}"
      try:
        token.touch()
      except OSError:  # it may be finished and read-only; if not, a later write reports the error
        token = None
      name = token.name if token else "config.json"
      self._client.key_value_set(key, f"{asked} {name} {platform.node()}")
    try:
      self._raise_faults(self.meet())
      if not self.reports:
        theirs, name, host = self._client.blocking_key_value_get(key, 10_000).split(" ", 2)
        if theirs != asked:
          raise InputError(
            "it is asked for other runs than process 0; start all processes with the same command"
          )
        self._look_for(workdir, name, host)
      self._raise_faults(self.meet())
    finally:
      if token:
        token.unlink(missing_ok=True)

  @contextlib.contextmanager
  def stopped_together(self) -> Iterator[None]:
    """In this context a signal to process 0 stops all processes; to another, only that one, which reports it."""
    over = threading.Event()
    watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
    watcher.start()
    try:
      with signals.clean_up(self._leave):
        yield
    finally:
      over.set()
      watcher.join(1.0)
      if number := signals.number():
        self._stop_others(number)

  def see_off(self) -> None:
    """Waits until the others have left: process 0 runs JAX's service, without which JAX aborts them.

    Processes that do not leave by themselves are stopped.
    """
    try:
      self._wait_for_the_others()
    except InputError:
      self._stop_others(signal.SIGTERM)
      self._wait_for_the_others()

  def _wait_for_the_others(self):
    until = time.monotonic() + _LEAVE_SECONDS
    while self.meet(until - time.monotonic()) != {0}:
      continue

  def _watch(self, over):
    while not over.wait(_LOOK_SECONDS):
      if signals.number():
        self._stop_others(signals.number())
        return
      if not self.reports and (told := self._told(_STOPS)):
        signals.stop(int(told[0]))
        return

  def _stop_others(self, number):
    if self.reports:
      with contextlib.suppress(jax.errors.JaxRuntimeError):
        self._client.key_value_set(f"{_STOPS}0", str(int(number)), allow_overwrite=True)

  def _leave(self):
    """The last steps before a signal ends the process."""
    if self.reports:
      self._stop_others(signals.number())
      self._wait_for_the_others()
    else:
      self.say(why_of(signals.Stopped()))
      jax.distributed.shutdown()

  def _told(self, what):
    """The number of a process -> its message."""
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      return {int(k.rpartition("/")[2]): v for k, v in self._client.key_value_dir_get(what)}
    return {}

  def _look_for(self, workdir, name, host):
    until = time.monotonic() + _SIGHT_SECONDS
    while not (workdir / name).exists():
      if time.monotonic() > until:
        raise InputError(
          f"process {self.process} on {platform.node()} does not see the workdir {workdir} of process 0 "
          f"on {host}; name with --workdir a folder that all hosts share"
        )
      time.sleep(0.1)

  def _raise_faults(self, here):
    faults = self.faults(here)
    if faults:
      raise InputError("; ".join(faults))


def why_of(error: BaseException) -> str:
  """What ended a process, in a sentence for process 0."""
  if isinstance(error, signals.Stopped):
    how = signals.how(signals.number())
    return f"{how} before its work was done; the same command carries on from what is finished"
  name = type(error).__name__
  return sentence_of(error) or (f"{name}: {error}" if str(error) else name)
