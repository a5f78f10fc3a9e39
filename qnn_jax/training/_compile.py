"""`jax.jit` with what long scans of small operations need on a CPU."""

import functools
from collections.abc import Callable

import jax


def jit(function: Callable, **kwargs) -> Callable:
  """`jax.jit(function, **kwargs)`, compiled for small operations where the backend is a CPU.

  XLA's CPU compiler hands reductions to a library whose calls cost more than the few thousand
  products of one training step; its own loops are three to five times faster there, the more so
  with 512-bit vectors. Numbers change by rounding only.
  """
  return jax.jit(function, compiler_options=_options(jax.default_backend()), **kwargs)


@functools.cache
def _options(backend: str) -> dict[str, object] | None:
  if backend != "cpu":
    return None
  options = {"xla_cpu_experimental_ynn_fusion_type": "", "xla_cpu_prefer_vector_width": 512}
  accepted = {}
  for name, value in options.items():
    # The options are XLA's own and may go with any release: speed then, never correctness.
    try:
      jax.jit(lambda x: x + 1, compiler_options={name: value}).lower(1.0).compile()
      accepted[name] = value
    except Exception:  # noqa: BLE001, XLA raises its own error types
      continue
  return accepted or None
