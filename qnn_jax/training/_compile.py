"""`jax.jit` with the options that long scans of small operations, and programs that run once, need on a CPU."""

import contextlib
import contextvars
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

# XLA hands reductions to a library whose calls cost more than the few thousand products of one
# training step; its own loops are three to five times faster there, more so with 512-bit vectors.
_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "", "xla_cpu_prefer_vector_width": 512}
_LEVEL = "xla_backend_optimization_level"
# XLA's newer code generator makes faster fused loops, but takes four times as long to compile them.
_QUICKLY = {"xla_cpu_use_fusion_emitters": False}

# In a loop of small operations each operation is a kernel call, which costs some 50 ns. XLA can compile
# a call as one kernel, including its loops; by default it does so for the smallest loops only.
_ONE_KERNEL = {"xla_cpu_small_call": "true", "inlineable": "false"}

_one_kernel_allowed = contextvars.ContextVar("one_kernel_allowed", default=False)


def jit(
  function: Callable, *, level: int | None = None, on_cpu: bool = False, **kwargs
) -> Callable:
  """`jax.jit(function, **kwargs)`, with compiler options for its use if the backend is a CPU.

  Args:
    function: to compile; numbers differ from plain `jax.jit` by rounding only.
    level: XLA's optimisation level. None is the highest, for long scans. 1 is for functions that are
      almost only matrix products: as fast, and compiled in half the time. 0 is for functions that run
      once or twice: slow, and compiled in a tenth of the time.
    on_cpu: whether to use the CPU beside an accelerator, if JAX has both: for random draws, which take
      long to compile for an accelerator.
    **kwargs: of `jax.jit`.
  """
  compiled: Any = None
  place: jax.Device | None = None

  @functools.wraps(function)
  def call(*args, **call_kwargs):
    nonlocal compiled, place
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, call_kwargs))):
      return function(*args, **call_kwargs)  # within another jit, whose options apply
    if compiled is None:  # only now, because asking for the backend starts it
      place = _beside() if on_cpu else None
      with _at(place):
        options = _accepted(place.platform if place else jax.default_backend(), level)
      compiled = jax.jit(_allow_one_kernel(function), compiler_options=options, **kwargs)
      like_jit._cache_size = compiled._cache_size
    with _at(place):
      return compiled(*args, **call_kwargs)

  like_jit: Any = call
  like_jit._cache_size = lambda: 0
  return like_jit


def _beside() -> jax.Device | None:
  """The CPU beside an accelerator."""
  with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS may exclude the CPU
    if jax.default_backend() != "cpu":
      return jax.local_devices(backend="cpu")[0]
  return None


def _at(place):
  return jax.default_device(place) if place else contextlib.nullcontext()


def one_kernel(function: Callable) -> Callable:
  """`function`, compiled as one kernel within a program of `jit` if the backend is a CPU.

  For loops of small operations without matrix products. It changes no number beyond rounding.
  On other backends it changes nothing.
  """

  @functools.wraps(function)
  def call(*args):
    if not _one_kernel_allowed.get():
      return function(*args)
    return jax.tree.map(lambda x: set_xla_metadata(x, **_ONE_KERNEL), jax.jit(function)(*args))

  return call


def _allow_one_kernel(function):
  @functools.wraps(function)
  def traced(*args, **kwargs):
    token = _one_kernel_allowed.set(_one_kernel_compiles(jax.default_backend()))
    try:
      return function(*args, **kwargs)
    finally:
      _one_kernel_allowed.reset(token)

  return traced


@functools.cache
def _one_kernel_compiles(backend: str) -> bool:
  if backend != "cpu":
    return False
  # Such a kernel cannot hold what XLA leaves to a library, which without our options includes reductions.
  options = _accepted(backend, None)
  with contextlib.suppress(Exception):
    total = lambda x: set_xla_metadata(jax.jit(lambda x: x.sum(0))(x), **_ONE_KERNEL)
    jax.jit(total, compiler_options=options).lower(
      jax.ShapeDtypeStruct((64, 64), "float32")
    ).compile()
    return True
  return False


@functools.cache
def _accepted(backend: str, level: int | None) -> dict[str, object] | None:
  if backend != "cpu":
    return None
  accepted = {}
  wanted = _OPTIONS if level is None else {**_OPTIONS, **_QUICKLY, _LEVEL: level}
  for name, value in wanted.items():
    # Any release of XLA may drop these options, which then costs speed, never correctness.
    try:
      jax.jit(lambda x: x + 1, compiler_options={name: value}).lower(1.0).compile()
      accepted[name] = value
    except Exception:
      continue
  return accepted or None
