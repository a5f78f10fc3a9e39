"""The kind of the quadric z = 0, in any number of dimensions."""

import math
import numbers

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.inspect._forms import Axes, Dense

CONICS = (
  "ellipse", "hyperbola", "parabola", "crossing lines", "parallel lines", "line", "point", "plane",
  "empty",
)  # fmt: skip
"""The kinds of quadrics of two inputs: the three conics, then the degenerate cases."""

TOLERANCE = 1e-6


def quadric_kind(q, w, b, tolerance: float = TOLERANCE) -> str:
  """The kind of the set x^T Q x + w^T x + b = 0, by the usual classification.

  The kind depends on the numbers of positive and negative eigenvalues of Q, and on two more facts. If w
  has a component in the null space of Q, the set is parabolic. Otherwise the squares are completed
  around the centre, and the sign of the constant that is left decides. The names, by the number of
  dimensions in which the set is curved:

      two        ellipse, hyperbola, parabola, crossing lines
      three up   ellipsoid, hyperboloid of one or of two sheets, elliptic or hyperbolic paraboloid,
                 cone; every hyperboloid in one piece counts as 'of one sheet'

  In a space of more dimensions the set is a cylinder over one of these: 'elliptic cylinder' over an
  ellipse, 'cylinder over an ellipsoid', 'crossing planes'. A set without curvature is 'parallel planes',
  'plane', 'line', 'point', the whole 'space', or 'empty'. From n = 4 on a flat set of n - 1 dimensions
  is a 'hyperplane', and other flat sets are named like 'flat of dimension 3'. A double plane is a plane,
  and a sphere is an ellipsoid. For n = 1 the kinds are 'two points', 'point', 'line' and 'empty'; for
  n = 2 they are those of `CONICS`.

  Args:
    q: [n, n], symmetric.
    w: [n], the linear part.
    b: the constant, a number.
    tolerance: a relative tolerance. An eigenvalue counts as zero if it is below the tolerance times the
      largest eigenvalue. The component of w in the null space counts as zero below the tolerance times
      |w|. The constant that is left counts as zero below the tolerance times the sum of the magnitudes
      of its terms.

  Raises:
    InputError: a shape does not fit, Q is not symmetric, a number is not finite, or the tolerance is not
      a finite number of at least 0.

  Source: Section 2, Fig. 1, for the plane.

  >>> quadric_kind([[1, 0], [0, 2]], [0, 0], -1)
  'ellipse'
  >>> quadric_kind([[1, 0, 0], [0, 1, 0], [0, 0, -1]], [0, 0, 0], 1)
  'hyperboloid of two sheets'
  """
  check_tolerance(tolerance)
  q, w, b = _checked(q, w, b, tolerance)
  return kind_of(Dense((q + q.T) / 2).axes(w), len(w), b, tolerance)


def check_tolerance(tolerance: float) -> None:
  """InputError unless the tolerance is a finite number of at least 0."""
  right = isinstance(tolerance, numbers.Real) and not isinstance(tolerance, bool)
  if not (right and math.isfinite(tolerance) and tolerance >= 0):
    raise InputError(f"tolerance must be a finite number of at least 0, got {tolerance!r}")


def kind_of(axes: Axes, n: int, b: float, tolerance: float) -> str:
  """`quadric_kind` of a polynomial in the coordinates of its eigenvectors."""
  values, along = axes.values, axes.along
  bends = bending(values, tolerance)
  if not bends.any():
    if along.any() or axes.rest:
      return _flat(n - 1, n)
    return "empty" if b else _flat(n, n)
  rank = int(bends.sum())
  straight = np.hypot(np.linalg.norm(along[~bends]), axes.rest)
  values, along = values[bends], along[bends]
  saddle = values.min() < 0 < values.max()
  if straight > tolerance * np.hypot(np.linalg.norm(along), straight):
    sort = "hyperbolic" if saddle else "elliptic"
    return _cylinder("parabola" if rank == 1 else f"{sort} paraboloid", rank + 1, n)
  # The equation is sum_i values_i s_i^2 + left = 0 around the centre.
  left = _sign((b, *(-(along**2) / (4 * values))), tolerance)
  if left == 0:
    if not saddle:
      return _flat(n - rank, n)
    return f"crossing {_hyperplanes(n)}" if rank == 2 else _cylinder("cone", rank, n)
  ahead = int((values * left < 0).sum())
  if ahead == 0:
    return "empty"
  if rank == 1:
    return "two points" if n == 1 else f"parallel {_hyperplanes(n)}"
  if not saddle:
    return _cylinder("ellipse" if rank == 2 else "ellipsoid", rank, n)
  if rank == 2:
    return _cylinder("hyperbola", rank, n)
  return _cylinder(f"hyperboloid of {'two sheets' if ahead == 1 else 'one sheet'}", rank, n)


def bending(values: np.ndarray, tolerance: float) -> np.ndarray:
  """Which eigenvalues do not count as zero, bool [r]."""
  largest = np.abs(values).max(initial=0)
  return (np.abs(values) > tolerance * largest) & (largest > 0)


_ADJECTIVES = {"ellipse": "elliptic", "hyperbola": "hyperbolic", "parabola": "parabolic"}


def _cylinder(base: str, dimensions: int, n: int) -> str:
  """The name of a set in n dimensions that is `base` in some of them, and straight in the others."""
  if dimensions == n:
    return base
  if base in _ADJECTIVES:
    return f"{_ADJECTIVES[base]} cylinder"
  return f"cylinder over {'an' if base[0] == 'e' else 'a'} {base}"


def _flat(dimensions: int, n: int) -> str:
  if dimensions < 3 or dimensions == n:
    return ("point", "line", "plane", "space")[min(dimensions, 3)]
  return "hyperplane" if dimensions == n - 1 else f"flat of dimension {dimensions}"


def _hyperplanes(n: int) -> str:
  return {2: "lines", 3: "planes"}.get(n, "hyperplanes")


def _sign(terms: tuple[float, ...], tolerance: float) -> int:
  """The sign of the terms' sum; 0 if they cancel except for rounding."""
  total = sum(terms)
  return 0 if abs(total) <= tolerance * sum(map(abs, terms)) else int(np.sign(total))


def _checked(q, w, b, tolerance):
  q, w, b = (np.asarray(array, np.float64) for array in (q, w, b))
  if w.ndim != 1 or not w.size or (q.shape, b.shape) != (2 * w.shape, ()):
    raise InputError(
      f"a quadric needs q [n, n], w [n] and a number b, got the shapes {q.shape}, {w.shape}, {b.shape}"
    )
  if not (np.isfinite(q).all() and np.isfinite(w).all() and np.isfinite(b)):
    raise InputError("a quadric needs finite numbers, but q, w or b has a NaN or an infinity")
  i, j = np.unravel_index(np.abs(q - q.T).argmax(), q.shape)
  if abs(q[i, j] - q[j, i]) > tolerance * np.abs(q).max():
    raise InputError(
      f"q must be symmetric, got {q[i, j]:g} above and {q[j, i]:g} below its diagonal"
    )
  return q, w, float(b)
