"""Signals: how a command ends early, whatever it is doing when a signal comes.

Python runs a handler between two steps of its main thread, not while that thread runs compiled code, which may
take minutes. And an exception that a handler raises in a destructor, or during garbage collection, is lost.
So our handlers raise nothing. Instead Python writes to a pipe at once (`signal.set_wakeup_fd`), and a thread
that reads the pipe ends the process. The files on disk are complete at any time, so this is safe.

Ctrl-C ends the process at once. SIGTERM, SIGHUP and SIGUSR1, which clusters send before they take a machine away,
give running groups `GRACE_SECONDS` to save their state. A second signal ends the process at once, unless it is the
same signal within `REPEAT_SECONDS`: at a preemption Slurm's daemon and its srun each send one.
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
"""The time that running groups have to save their state: less than Slurm or Kubernetes wait by default."""

REPEAT_SECONDS = 1.0
"""If the same signal comes again within this time, it does not count as a second signal."""

_CLEAN_UP_SECONDS = 2.0
_FINISHING_SECONDS = 600.0
_SAVED, _CLEANED = 0, 255  # in the pipe: no signal has these numbers
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # a system may lack the last two
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Stopped(BaseException):
  """Raised where work ends because of a signal; not an Exception, so that no `except Exception` catches it."""


class _State:
  """The state of this process: one signal ends the whole process."""

  asked = 0  # the signal that came first
  saving = False  # whether groups run that need time to save
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
  """Does what this signal does within `handled`, even if the process ignores the signal."""
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
  """In this context a signal other than Ctrl-C waits until the context ends, at most `GRACE_SECONDS`."""
  _State.saving = True
  try:
    yield
  finally:
    _State.saving = False


@contextlib.contextmanager
def finishing() -> Iterator[None]:
  """In this context any signal waits until the context ends, and reaches no process that is started there.

  It is for work that takes seconds. A second signal still ends the process at once.

  Raises:
    Stopped: when the context ends, if a signal has come.
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
  """In this context a signal first calls `last`, in another thread, and then ends the process."""
  _State.clean_ups.append(last)
  try:
    yield
  finally:
    _State.clean_ups.remove(last)


@contextlib.contextmanager
def handled() -> Iterator[None]:
  """In this context signals end the process with one line, as described above. Only in the main thread."""
  if threading.current_thread() is not threading.main_thread() or os.name != "posix":
    yield
    return
  if _State.pipe is None:
    _State.pipe = os.pipe()
    os.set_blocking(_State.pipe[1], False)
    threading.Thread(target=_watch, args=_State.pipe, daemon=True).start()
    atexit.register(_end_at_once)
  # A signal that our parent, such as nohup, had us ignore stays ignored.
  before = {s: h for s in _SIGNALS if (h := signal.getsignal(s)) != signal.SIG_IGN}
  descriptor = signal.set_wakeup_fd(_State.pipe[1], warn_on_full_buffer=False)
  try:
    for number in before:
      signal.signal(number, lambda *_: None)
    yield
  finally:
    if asked():  # an exception that is raised here no longer matters
      os.write(_State.pipe[1], bytes([_SAVED]))
      threading.Event().wait()  # until this process ends
    signal.set_wakeup_fd(descriptor)
    for number, handler in before.items():
      signal.signal(number, handler)


def in_worker() -> None:
  """For worker processes: SIGTERM asks them to save. They ignore Ctrl-C, because the parent stops them."""
  for number in _SIGNALS:
    ours = number in (signal.SIGTERM, getattr(signal, "SIGUSR1", None))
    signal.signal(number, _ask if ours else signal.SIG_IGN)
  _mask(signal.SIG_UNBLOCK)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
  """A process that is started in this context gets no signal until it calls `in_worker`, and so prints nothing."""
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
  while number not in _SIGNALS:  # a signal that another handler takes
    number = os.read(descriptor, 1)[0]
  _ask(number)
  grace = 0.0 if number == signal.SIGINT else GRACE_SECONDS
  if _State.finishing:
    _wait_for(_SAVED, descriptor, number, _FINISHING_SECONDS)
  elif grace and _State.saving:
    _wait_for(_SAVED, descriptor, number, grace)
  threading.Thread(target=_clean_up, args=(told,), daemon=True).start()
  # Longer with grace: a clean-up may wait for other processes, which save their state.
  _wait_for(_CLEANED, descriptor, number, grace + _CLEAN_UP_SECONDS)
  _end(number)


def _wait_for(what, descriptor, number, seconds):
  """Returns when `what` is in the pipe, at a second signal, or after so many seconds."""
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
  """Handles signals while Python itself shuts down."""
  for number in _SIGNALS:
    if signal.getsignal(number) != signal.SIG_IGN:
      signal.signal(number, _end)
