"""Processes side by side on one machine: on cores of their own, with memory as long training wants it."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import Any

context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork


def start(
  target: Callable[..., None], each: Sequence[tuple[Any, ...]]
) -> list[multiprocessing.process.BaseProcess]:
  """Starts target(*args) for each of these arguments, all of which pickle; queues are of `context`.

  The processes end with this one at the latest.
  """
  started = [
    context.Process(target=_on_cores, args=(cores, target, args), daemon=True, name=f"worker {i}")
    for i, (cores, args) in enumerate(zip(core_groups(len(each)), each))
  ]
  with _large_pages():
    for process in started:
      process.start()
  return started


def _on_cores(cores, target, args):
  # Before anything starts XLA, which makes as many threads as there are cores.
  if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
  target(*args)


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
