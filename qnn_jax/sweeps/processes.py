"""Processes side by side on one machine, each on its own cores and with memory in large pages.

A process and its parent share one pipe and nothing else. So a process that is killed, whatever it is doing,
leaves no lock behind that others would wait for.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from typing import Any, NamedTuple

from qnn_jax.errors import InputError, WorkerDied
from qnn_jax.sweeps import signals

context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork

_LAST_SECONDS = 5.0  # a process may take to end after it has closed its pipe


class Gone(NamedTuple):
  """A message: the process has ended, and no other message of it follows.

  Attributes:
    code: its exit code, negative for a signal.
    done: whether it had done its work.
  """

  code: int
  done: bool


class _Done(NamedTuple):
  """A message: the process has done its work."""


class _Broken(NamedTuple):
  """Stands for a message where none can come any more."""


@dataclasses.dataclass(eq=False)
class Worker:
  """A process that was started, and the parent's end of its pipe."""

  number: int
  process: Any
  pipe: connection.Connection

  @property
  def name(self) -> str:
    """'worker 0 (pid 4242)'."""
    return f"worker {self.number} (pid {self.process.pid})"

  def send(self, message: Any) -> None:
    """Sends a message to the process; does nothing if the process has ended."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
      self.pipe.send(message)


def start(
  number: int, cores: Sequence[int], target: Callable[..., None], args: Sequence[Any]
) -> Worker:
  """Starts target(pipe, *args) in a process that ends with this one. The arguments must be picklable."""
  signals.check()
  ours, theirs = context.Pipe()
  process = context.Process(
    target=_work, args=(tuple(cores), theirs, target, *args), daemon=True, name=f"worker {number}"
  )
  with signals.held_back():
    resource_tracker.ensure_running()  # which unblocks some signals
  with _large_pages(), signals.held_back():
    process.start()
  theirs.close()
  return Worker(number, process, ours)


def wait(workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, Any]]:
  """The messages of these processes, at most one of each; [] if none comes for so many seconds.

  The last message of a process is a `Gone`.

  Raises:
    InputError, OSError: a process raised it.
  """
  each: dict[Any, Worker] = {worker.pipe: worker for worker in workers}
  found: list[tuple[Worker, Any]] = []
  for pipe in connection.wait(list(each), seconds):
    worker = each[pipe]
    try:
      message = worker.pipe.recv()
    except (EOFError, OSError):  # it has ended, maybe in the middle of a message
      message = _Broken()
    if isinstance(message, (_Done, _Broken)):
      worker.process.join(_LAST_SECONDS)
      end([worker])
      found.append((worker, Gone(worker.process.exitcode, isinstance(message, _Done))))
    elif isinstance(message, (InputError, OSError)):
      raise message
    else:
      found.append((worker, message))
  return found


def kill(workers: Iterable[Worker]) -> None:
  """Kills these processes and does not wait until they have ended."""
  for worker in list(workers):
    worker.process.kill()


def end(workers: Iterable[Worker]) -> None:
  """Kills these processes, stopped ones too, and waits until they have ended."""
  started = list(workers)
  kill(started)
  for worker in started:
    worker.process.join()
    worker.pipe.close()


def run(
  target: Callable[..., None], each: Sequence[tuple[Any, ...]], *, ticks: bool = False
) -> Iterator[Any]:
  """Runs target(put, *args) in one process for each entry of `each`; yields what the processes `put`.

  The arguments and what is put must be picklable; barriers must be from `context`. The processes end with the
  iteration, and with this process, however it ends. With `ticks`, None is yielded after each second in which
  nothing was put.

  Raises:
    InputError, OSError: a process raised it.
    WorkerDied: a process was killed, or raised another error, before its work was done.
  """
  workers: list[Worker] = []
  with signals.clean_up(lambda: kill(workers)):
    try:
      for i, (cores, args) in enumerate(zip(core_groups(len(each)), each)):
        workers.append(start(i, cores, _put, (target, *args)))
      left = list(workers)
      while left:
        found = wait(left, 1.0)
        for worker, message in found:
          if isinstance(message, Gone):
            if not message.done:
              signals.check()  # then we have killed it
              raise WorkerDied(f"worker {worker.number} {how(message.code)}")
            left.remove(worker)
          else:
            yield message
        if ticks and not found:
          yield None
    finally:
      end(workers)


def call(function: Callable[..., Any], *args: Any) -> Any:
  """Runs function(*args) in a process of its own, so that the device memory that JAX takes there is free again."""
  (result,) = run(_put_result, [(function, args)])
  return result


def how(code: int) -> str:
  """How a process ended before its work was done, by its exit code, in words that follow the worker's name."""
  if code == 0:
    return "ended before its work was done"
  if code > 0:
    return f"died with exit code {code}"
  if code == -signals.signal.SIGKILL:
    return "was killed by the system (SIGKILL), most often for lack of memory"
  try:
    return f"was ended by {signals.signal.Signals(-code).name}"
  except ValueError:
    return f"was ended by signal {-code}"


def _put(pipe, target, *args):
  target(pipe.send, *args)


def _put_result(put, function, args):
  put(function(*args))


def _work(cores, pipe, target, *args):
  threading.Thread(target=_end_with_parent, daemon=True).start()
  signals.in_worker()
  # Before anything starts XLA, which makes as many threads as there are cores.
  if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
  try:
    target(pipe, *args)
    pipe.send(_Done())
  except (signals.Stopped, BrokenPipeError):
    pass  # the parent knows, or has ended
  except (InputError, OSError) as error:
    pipe.send(error)


def _end_with_parent():
  # A parent that is killed cannot stop its workers, and they would wait for it forever.
  multiprocessing.parent_process().join()  # type: ignore[union-attr]  # a worker has one
  os._exit(1)


def core_groups(workers: int) -> list[tuple[int, ...]]:
  """The cores of each worker, disjoint and equally many; none if there are more workers than cores."""
  if not hasattr(os, "sched_getaffinity"):
    return [()] * workers
  cores = sorted(os.sched_getaffinity(0))
  share = len(cores) // workers
  return [tuple(cores[i * share : (i + 1) * share]) for i in range(workers)]


@contextlib.contextmanager
def _large_pages():
  """Processes that are started in this context get memory in large pages, if the system has glibc and such pages.

  A step reads samples from anywhere in 43 MB. Large pages save 2 % of a step, and more on a busy machine.
  """
  name = "GLIBC_TUNABLES"
  if name in os.environ:  # the user's own setting counts
    yield
    return
  os.environ[name] = "glibc.malloc.hugetlb=1"
  try:
    yield
  finally:
    del os.environ[name]
