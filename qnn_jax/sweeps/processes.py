"""Processes side by side on one machine: on cores of their own, with memory as long training wants it."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from qnn_jax.errors import InputError, WorkerDied

context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork


class _Done(NamedTuple):
  """A message: this worker has done its work."""

  worker: int


def run(
  target: Callable[..., None], each: Sequence[tuple[Any, ...]], *, ticks: bool = False
) -> Iterator[Any]:
  """Runs target(put, *args) in a process for each of these arguments; yields what is `put`, as it comes.

  Arguments pickle, queues and barriers are of `context`; what is put pickles. The processes
  end with the iteration, and with this process, however it ends. With `ticks`, a None comes whenever
  nothing was put for a second.

  Raises:
    InputError: a process raised it.
    WorkerDied: a process ended before its work, whatever killed it or was raised in it.
  """
  messages = context.Queue()
  started = [
    context.Process(
      target=_work, args=(i, cores, messages, target, args), daemon=True, name=f"worker {i}"
    )
    for i, (cores, args) in enumerate(zip(core_groups(len(each)), each))
  ]
  at_work = set(range(len(started)))
  try:
    with _large_pages():
      for process in started:
        process.start()
    while at_work:
      codes = {i: started[i].exitcode for i in at_work}
      for i, code in codes.items():
        if code not in (None, 0):
          raise WorkerDied(f"{started[i].name} died with exit code {code}")
      try:
        message = messages.get(timeout=1)
      except queue.Empty:
        for i, code in codes.items():
          if code == 0:  # and it has not said that it is done
            raise WorkerDied(f"{started[i].name} ended before its work") from None
        if ticks:
          yield None
        continue
      if isinstance(message, InputError):
        raise message
      if isinstance(message, _Done):
        at_work.remove(message.worker)
      else:
        yield message
  finally:
    for process in started:
      if process.pid is not None:
        process.terminate()
        process.join()


def call(function: Callable[..., Any], *args: Any) -> Any:
  """function(*args), in a process of its own: what JAX takes of a device there is free again after it."""
  (result,) = run(_put_result, [(function, args)])
  return result


def _put_result(put, function, args):
  put(function(*args))


def _work(worker, cores, messages, target, args):
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and stops its workers
  threading.Thread(target=_end_with_parent, daemon=True).start()
  # Before anything starts XLA, which makes as many threads as there are cores.
  if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
  try:
    target(messages.put, *args)
    messages.put(_Done(worker))
  except InputError as error:
    messages.put(error)


def _end_with_parent():
  # A parent that is killed runs nothing that would stop its workers, and they wait for it forever.
  multiprocessing.parent_process().join()  # type: ignore[union-attr]  # a worker has one
  os._exit(1)


def core_groups(workers: int) -> list[tuple[int, ...]]:
  """Disjoint cores for each worker, as equal as can be; none where there are more workers."""
  if not hasattr(os, "sched_getaffinity"):
    return [()] * workers
  cores = sorted(os.sched_getaffinity(0))
  share = len(cores) // workers
  return [tuple(cores[i * share : (i + 1) * share]) for i in range(workers)]


@contextlib.contextmanager
def _large_pages():
  """Processes started here get memory in large pages, where the system is glibc's and has them.

  The samples that a step takes lie anywhere in 43 MB: 2 % of a step, more the busier the machine.
  """
  name = "GLIBC_TUNABLES"
  if name in os.environ:  # whoever tunes it knows better
    yield
    return
  os.environ[name] = "glibc.malloc.hugetlb=1"
  try:
    yield
  finally:
    del os.environ[name]
