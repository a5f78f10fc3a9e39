"""The six ops side by side: their parameters' shapes, random arguments, and NumPy's answer."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qnn_jax import ops


class Case(NamedTuple):
  op: Callable
  reference: Callable  # one sample
  truth: Callable  # float64 NumPy, any leading axes
  shapes: Callable[[int, int], dict[str, tuple[int, ...]]]


def full_from_packed(q):
  """[P, m] -> [m, n, n], entry by entry in the order of np.triu_indices."""
  n = next(n for n in range(100) if n * (n + 1) // 2 == len(q))
  full = np.zeros((q.shape[1], n, n), q.dtype)
  for p, (i, j) in enumerate(zip(*np.triu_indices(n), strict=True)):
    full[:, i, j] = full[:, j, i] = q[p]
  return full


def _full_truth(x, q, kernel, bias):
  return np.einsum("...i,mij,...j->...m", x, q, x) + x @ kernel + bias


CASES = {
  "affine": Case(
    ops.affine,
    ops.affine_reference,
    lambda x, kernel, bias: x @ kernel + bias,
    lambda n, m: {"kernel": (n, m), "bias": (m,)},
  ),
  "quadratic": Case(
    ops.quadratic,
    lambda x, q, kernel, bias: ops.quadratic_reference(x, ops.unpack(q), kernel, bias),
    lambda x, q, kernel, bias: _full_truth(x, full_from_packed(q), kernel, bias),
    lambda n, m: {"q": (n * (n + 1) // 2, m), "kernel": (n, m), "bias": (m,)},
  ),
  "quadratic_full": Case(
    ops.quadratic_full,
    ops.quadratic_reference,
    _full_truth,
    lambda n, m: {"q": (m, n, n), "kernel": (n, m), "bias": (m,)},
  ),
  "reduced_quadratic": Case(
    ops.reduced_quadratic,
    ops.reduced_quadratic_reference,
    lambda x, kernel, bias, u, c: (x @ kernel + bias) * (x @ u + c),
    lambda n, m: {"kernel": (n, m), "bias": (m,), "u": (n, m), "c": (m,)},
  ),
  "heavy": Case(
    ops.heavy,
    ops.heavy_reference,
    lambda x, heavy_kernel, kernel, bias: x**2 @ heavy_kernel + x @ kernel + bias,
    lambda n, m: {"heavy_kernel": (n, m), "kernel": (n, m), "bias": (m,)},
  ),
  "low_rank_quadratic": Case(
    ops.low_rank_quadratic,
    ops.low_rank_quadratic_reference,
    lambda x, v, s, kernel, bias: (
      np.einsum("rm,...rm->...m", s, np.einsum("...i,irm->...rm", x, v) ** 2) + x @ kernel + bias
    ),
    lambda n, m: {"v": (n, 4, m), "s": (4, m), "kernel": (n, m), "bias": (m,)},
  ),
}


def arguments(name, batch=(4,), n=3, m=2, seed=0):
  """(x [*batch, n], *params): standard normal float64 NumPy, a full q symmetric."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(*batch, n))
  params = [rng.normal(size=shape) for shape in CASES[name].shapes(n, m).values()]
  if name == "quadratic_full":
    params[0] = (params[0] + params[0].swapaxes(1, 2)) / 2
  return x, *params
