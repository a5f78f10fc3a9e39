"""What kind of quadric z = 0 is, in any number of dimensions."""

import math
import numbers

import numpy as np

from qnn_jax.errors import InputError
from qnn_jax.inspect._forms import Axes, Dense

CONICS = (
  "ellipse", "hyperbola", "parabola", "crossing lines", "parallel lines", "line", "point", "plane",
  "empty",
)  # fmt: skip
"""What a quadric of two inputs can be: the three conics, then what they degenerate to."""

TOLERANCE = 1e-6


def quadric_kind(q, w, b, tolerance: float = TOLERANCE) -> str:
  """The kind of the set x^T Q x + w^T x + b = 0, by the usual classification.

  The numbers of positive and negative eigenvalues of Q decide, with two more questions. Has w a part
  where Q vanishes? Then the set is parabolic. If not, what value is left once the squares are
  completed around the centre? By the number of dimensions that the set bends in:

      two        ellipse, hyperbola, parabola, crossing lines
      three up   ellipsoid, hyperboloid of one or of two sheets, elliptic or hyperbolic paraboloid,
                 cone; of one sheet is every hyperboloid in one piece

  In a space of more dimensions it is the cylinder over that: 'elliptic cylinder' over an ellipse,
  'cylinder over an ellipsoid', 'crossing planes'. What does not bend is 'parallel planes', a
  'plane', 'line' or 'point', the whole 'space', or 'empty'; lines and planes of n - 1 dimensions
  are 'hyperplane' from n = 4 on, other flat sets there 'flat of dimension 3'. A double plane is a
  plane, a sphere an ellipsoid. For n = 1 there are 'two points', 'point', 'line' and 'empty', for
  n = 2 those of `CONICS`.

  Args:
    q: [n, n] symmetric.
    w: [n].
    b: a number.
    tolerance: relative. An eigenvalue counts as zero below it times the largest; w's part where Q
      vanishes, below it times |w|; the value that is left, below it times the sum of the magnitudes
      that cancel in it.

  Raises:
    InputError: a shape does not fit, Q is not symmetric, something is not finite, or the tolerance
      is no finite number of at least 0.

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
  """InputError unless it is a finite number of at least 0."""
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
  # sum_i values_i s_i^2 + left = 0 around the centre.
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
  """bool [r]: which eigenvalues do not count as zero."""
  largest = np.abs(values).max(initial=0)
  return (np.abs(values) > tolerance * largest) & (largest > 0)


_ADJECTIVES = {"ellipse": "elliptic", "hyperbola": "hyperbolic", "parabola": "parabolic"}


def _cylinder(base: str, dimensions: int, n: int) -> str:
  """The set of n dimensions that is `base` in so many of them, and straight in the others."""
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
  """The sign of the terms' sum; 0 where they cancel but for rounding."""
  total = sum(terms)
  return 0 if abs(total) <= tolerance * sum(map(abs, terms)) else int(np.sign(total))


def _checked(q, w, b, tolerance):
  q, w, b = (np.asarray(array, np.float64) for array in (q, w, b))
  if w.ndim != 1 or not w.size or (q.shape, b.shape) != (2 * w.shape, ()):
    raise InputError(
      f"a quadric needs q [n, n], w [n] and a number b, got the shapes {q.shape}, {w.shape}, {b.shape}"
    )
  if not (np.isfinite(q).all() and np.isfinite(w).all() and np.isfinite(b)):
    raise InputError(
      "a quadric needs finite numbers, and there is a NaN or an infinity in q, w or b"
    )
  i, j = np.unravel_index(np.abs(q - q.T).argmax(), q.shape)
  if abs(q[i, j] - q[j, i]) > tolerance * np.abs(q).max():
    raise InputError(
      f"q must be symmetric, got {q[i, j]:g} above and {q[j, i]:g} below its diagonal"
    )
  return q, w, float(b)
