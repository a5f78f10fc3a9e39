"""Signals: how a command ends early, whatever it is at when one comes.

Python runs a handler between two steps of its main thread: not while that is in compiled code, for
minutes maybe. And what a handler raises in a destructor, or in what the garbage collector calls, is lost.
So no handler of ours raises. The system's own part of a handler writes to a pipe at once
(`signal.set_wakeup_fd`), and a thread that reads it ends the process: what is on disk is whole at any time.

Ctrl-C ends it at once. SIGTERM, SIGHUP and SIGUSR1, which clusters send before they take a machine away, leave
running groups `GRACE_SECONDS` to save where they have come to. A second signal ends all at once, but for the
same one within `REPEAT_SECONDS`: at a preemption Slurm's daemon and its srun each send one.
"""

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

GRACE_SECONDS = 8.0
"""That running groups have to save what they are at: less than Slurm or Kubernetes wait by default."""

REPEAT_SECONDS = 1.0
"""Within which the same signal again is no second one."""

_CLEAN_UP_SECONDS = 2.0
_FINISHING_SECONDS = 600.0
_SAVED, _CLEANED = 0, 255  # in the pipe: no signal has these numbers
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # a system may lack the last two
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Stopped(BaseException):
  """Raised where work ends because a signal asked for it; no Exception, so that nothing takes it for one."""


class _State:
  """Of this process: one signal ends it as a whole."""

  asked = 0  # the signal that came first
  saving = False  # whether groups run, which shall have the time to save
  finishing = False  # whether something runs that must not be cut short
  clean_ups: list[Callable[[], object]] = []
  pipe: tuple[int, int] | None = None


def asked() -> bool:
  """Whether a signal has asked this process to stop."""
  return _State.asked != 0


def number() -> int:
  """The signal that has asked this process to stop; 0 if none has."""
  return _State.asked


def stop(number: int) -> None:
  """Does within `handled` what this signal would do, also where it is ignored."""
  if _State.pipe is not None:
    os.write(_State.pipe[1], bytes([number]))


def how(number: int) -> str:
  """How this signal ended a process: 'interrupted' or 'ended by SIGTERM'."""
  return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


def check() -> None:
  """Raises `Stopped` if a signal has asked this process to stop."""
  if _State.asked:
    raise Stopped


@contextlib.contextmanager
def saving() -> Iterator[None]:
  """Within it a signal other than Ctrl-C leaves time: until the context is left, or `GRACE_SECONDS`."""
  _State.saving = True
  try:
    yield
  finally:
    _State.saving = False


@contextlib.contextmanager
def finishing() -> Iterator[None]:
  """Within it any signal waits until the context is left, and reaches no process that is started there.

  It is for seconds: a second signal ends all at once nevertheless.

  Raises:
    Stopped: when the context is left, if a signal has come.
  """
  _State.finishing = True
  try:
    with held_back():
      yield
  finally:
    _State.finishing = False
  check()


@contextlib.contextmanager
def clean_up(last: Callable[[], object]) -> Iterator[None]:
  """Within it a signal that ends the process calls `last` before, in another thread."""
  _State.clean_ups.append(last)
  try:
    yield
  finally:
    _State.clean_ups.remove(last)


@contextlib.contextmanager
def handled() -> Iterator[None]:
  """Within it signals end the process with one line, as told above; only in the main thread."""
  if threading.current_thread() is not threading.main_thread() or os.name != "posix":
    yield
    return
  if _State.pipe is None:
    _State.pipe = os.pipe()
    os.set_blocking(_State.pipe[1], False)
    threading.Thread(target=_watch, args=_State.pipe, daemon=True).start()
    atexit.register(_end_at_once)
  # What was ignored by who started us, nohup say, stays so.
  before = {s: h for s in _SIGNALS if (h := signal.getsignal(s)) != signal.SIG_IGN}
  descriptor = signal.set_wakeup_fd(_State.pipe[1], warn_on_full_buffer=False)
  try:
    for number in before:
      signal.signal(number, lambda *_: None)
    yield
  finally:
    if asked():  # whatever is raised here by now is of no interest
      os.write(_State.pipe[1], bytes([_SAVED]))
      threading.Event().wait()  # for the end of this process
    signal.set_wakeup_fd(descriptor)
    for number, handler in before.items():
      signal.signal(number, handler)


def in_worker() -> None:
  """For worker processes: SIGTERM asks for saving, Ctrl-C is for the parent alone, which stops its workers."""
  for number in _SIGNALS:
    ours = number in (signal.SIGTERM, getattr(signal, "SIGUSR1", None))
    signal.signal(number, _ask if ours else signal.SIG_IGN)
  _mask(signal.SIG_UNBLOCK)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
  """A process that is started within it gets no signal before `in_worker`: nor prints anything."""
  _mask(signal.SIG_BLOCK)
  try:
    yield
  finally:
    _mask(signal.SIG_UNBLOCK)


def _mask(how):
  if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(how, _SIGNALS)


def _ask(number, *_):
  _State.asked = _State.asked or number


def _watch(descriptor, told):
  number = os.read(descriptor, 1)[0]
  while number not in _SIGNALS:  # another's handler
    number = os.read(descriptor, 1)[0]
  _ask(number)
  grace = 0.0 if number == signal.SIGINT else GRACE_SECONDS
  if _State.finishing:
    _wait_for(_SAVED, descriptor, number, _FINISHING_SECONDS)
  elif grace and _State.saving:
    _wait_for(_SAVED, descriptor, number, grace)
  threading.Thread(target=_clean_up, args=(told,), daemon=True).start()
  # Longer with grace: what is cleaned up may wait for other processes, which save what they are at.
  _wait_for(_CLEANED, descriptor, number, grace + _CLEAN_UP_SECONDS)
  _end(number)


def _wait_for(what, descriptor, number, seconds):
  """Returns when that is in the pipe, at a second signal, or after so many seconds."""
  begin = time.monotonic()
  while (left := begin + seconds - time.monotonic()) > 0:
    if not select.select([descriptor], [], [], left)[0]:
      return
    again = os.read(descriptor, 1)[0]
    if again == what:
      return
    if again in _SIGNALS and (again != number or time.monotonic() - begin > REPEAT_SECONDS):
      return


def _clean_up(told):
  for last in reversed(list(_State.clean_ups)):
    with contextlib.suppress(Exception):
      last()
  with contextlib.suppress(Exception):
    sys.stdout.flush()
  os.write(told, bytes([_CLEANED]))


def _end(number, *_):
  with contextlib.suppress(OSError):
    os.write(2, f"{how(number)}; the same command carries on from what is finished\n".encode())
  os._exit(128 + number)


def _end_at_once():
  """For the time that Python itself takes to end."""
  for number in _SIGNALS:
    if signal.getsignal(number) != signal.SIG_IGN:
      signal.signal(number, _end)
