"""What kind of curve a quadratic neuron of two inputs has for its decision boundary."""

import numpy as np

from qnn_jax.errors import InputError

KINDS = (
  "ellipse", "hyperbola", "parabola", "crossing lines", "parallel lines", "line", "point", "plane",
  "empty",
)  # fmt: skip
"""What `conic_kind` can say: the three conics, then what they degenerate to."""


def conic_kind(q, w, b, tolerance: float = 1e-6) -> str:
  """The kind of the set x^T Q x + w^T x + b = 0 in the plane.

  Two eigenvalues of Q of one sign make it elliptic, of two signs hyperbolic, one that vanishes
  parabolic. What the set then is depends on the value that is left once the square is completed: a
  circle is an ellipse, and an elliptic set may be a single point or empty, a hyperbola two lines.

  Args:
    q: [2, 2] symmetric.
    w: [2].
    b: a number.
    tolerance: relative; eigenvalues, and sums that cancel, count as zero below it.

  Returns:
    One of `KINDS`. 'line' is a single line, of a neuron without a quadratic part or a double one.

  Raises:
    InputError: a shape does not fit, Q is not symmetric, or something is not finite.

  Source: Section 2, Fig. 1.

  >>> conic_kind([[1, 0], [0, 2]], [0, 0], -1)
  'ellipse'
  >>> conic_kind([[0, 1], [1, 0]], [0, 0], -1)
  'hyperbola'
  """
  q, w, b = _checked(q, w, b, tolerance)
  values, vectors = np.linalg.eigh(q)
  order = np.argsort(-np.abs(values))
  large, small = values[order]
  u_large, u_small = w @ vectors[:, order]
  if large == 0:
    if w.any():
      return "line"
    return "empty" if b else "plane"
  if abs(small) <= tolerance * abs(large):
    # large s^2 + u_large s + u_small t + b = 0 along the eigenvectors' coordinates (s, t).
    if abs(u_small) > tolerance * np.hypot(u_large, u_small):
      return "parabola"
    sign = _sign((u_large**2, -4 * large * b), tolerance)
    return ("line", "parallel lines", "empty")[sign]
  # large s^2 + small t^2 + rest = 0 around the centre.
  rest = _sign((b, -(u_large**2) / (4 * large), -(u_small**2) / (4 * small)), tolerance)
  if large * small < 0:
    return "hyperbola" if rest else "crossing lines"
  if rest == 0:
    return "point"
  return "ellipse" if rest * large < 0 else "empty"


def _sign(terms: tuple[float, ...], tolerance: float) -> int:
  """The sign of the terms' sum; 0 where they cancel but for rounding."""
  total = sum(terms)
  return 0 if abs(total) <= tolerance * sum(map(abs, terms)) else int(np.sign(total))


def _checked(q, w, b, tolerance):
  q, w, b = (np.asarray(array, np.float64) for array in (q, w, b))
  if (q.shape, w.shape, b.shape) != ((2, 2), (2,), ()):
    raise InputError(
      "a conic needs q [2, 2], w [2] and a number b, "
      f"got the shapes {q.shape}, {w.shape}, {b.shape}"
    )
  if not (np.isfinite(q).all() and np.isfinite(w).all() and np.isfinite(b)):
    raise InputError("a conic needs finite numbers, and there is a NaN or an infinity in q, w or b")
  if abs(q[0, 1] - q[1, 0]) > tolerance * np.abs(q).max():
    raise InputError(
      f"q must be symmetric, got {q[0, 1]:g} above and {q[1, 0]:g} below its diagonal"
    )
  return q, w, float(b)
