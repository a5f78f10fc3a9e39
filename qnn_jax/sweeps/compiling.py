"""Calls of compiled programs, with the seconds that went into compiling told as an event."""

import time
from collections.abc import Callable, Generator
from typing import Any

import jax

from qnn_jax.sweeps.points import Compiled


def call(program: Callable, *args: Any) -> Generator[Compiled, None, Any]:
  """The program's result, for `yield from`; before that a `Compiled`, if the call had to compile it.

  Args:
    program: of `jax.jit`.
    *args: its arguments.
  """
  programs = program._cache_size()  # type: ignore[attr-defined]
  begin = time.perf_counter()
  result = jax.block_until_ready(program(*args))
  if program._cache_size() > programs:  # type: ignore[attr-defined]
    yield Compiled(time.perf_counter() - begin)
  return result
