"""Every kind of quadric, in any position, at any scale."""

import numpy as np
import pytest
from flax import nnx

from qnn_jax.errors import InputError
from qnn_jax.inspect import CONICS, kinds, quadric_kind, signatures

pytestmark = pytest.mark.fast

# kind, the diagonal of Q, w, b: by hand. The conics first, then lines, surfaces, and four dimensions up.
STANDARD = [
  ("ellipse", (1, 3), (0, 0), -1),
  ("ellipse", (1, 1), (0, 0), -1),  # a circle
  ("point", (1, 1), (0, 0), 0),
  ("empty", (1, 1), (0, 0), 1),
  ("hyperbola", (1, -1), (0, 0), 1),
  ("hyperbola", (1, -1), (0, 0), -1),
  ("crossing lines", (1, -1), (0, 0), 0),
  ("parabola", (1, 0), (0, 1), 5),
  ("parallel lines", (1, 0), (0, 0), -1),
  ("line", (1, 0), (0, 0), 0),  # a double one
  ("empty", (1, 0), (0, 0), 1),
  ("line", (0, 0), (1, 2), 3),
  ("plane", (0, 0), (0, 0), 0),
  ("empty", (0, 0), (0, 0), 2),
  ("two points", (1,), (0,), -4),
  ("point", (1,), (0,), 0),
  ("empty", (1,), (0,), 1),
  ("point", (0,), (2,), 1),
  ("line", (0,), (0,), 0),
  ("empty", (0,), (0,), 1),
  ("ellipsoid", (1, 2, 3), (0, 0, 0), -1),
  ("point", (1, 2, 3), (0, 0, 0), 0),
  ("empty", (1, 2, 3), (0, 0, 0), 1),
  ("hyperboloid of one sheet", (1, 2, -1), (0, 0, 0), -1),
  ("hyperboloid of two sheets", (1, 2, -1), (0, 0, 0), 1),
  ("cone", (1, 2, -1), (0, 0, 0), 0),
  ("elliptic paraboloid", (1, 2, 0), (0, 0, 1), 0),
  ("hyperbolic paraboloid", (1, -2, 0), (0, 0, 1), 0),
  ("elliptic cylinder", (1, 2, 0), (0, 0, 0), -1),
  ("hyperbolic cylinder", (1, -2, 0), (0, 0, 0), -1),
  ("parabolic cylinder", (1, 0, 0), (0, 1, 0), -1),
  ("crossing planes", (1, -2, 0), (0, 0, 0), 0),
  ("parallel planes", (1, 0, 0), (0, 0, 0), -1),
  ("plane", (1, 0, 0), (0, 0, 0), 0),
  ("plane", (0, 0, 0), (1, 2, 3), 4),
  ("line", (1, 2, 0), (0, 0, 0), 0),
  ("space", (0, 0, 0), (0, 0, 0), 0),
  ("empty", (0, 0, 0), (0, 0, 0), 1),
  ("ellipsoid", (1, 2, 3, 4), (0, 0, 0, 0), -1),
  ("hyperboloid of one sheet", (1, 2, -3, -4), (0, 0, 0, 0), -1),
  ("hyperboloid of two sheets", (1, -2, -3, -4), (0, 0, 0, 0), -1),
  ("elliptic paraboloid", (1, 2, 3, 0), (0, 0, 0, 1), 0),
  ("cone", (1, 2, -3, -4), (0, 0, 0, 0), 0),
  ("cylinder over an ellipsoid", (1, 2, 3, 0), (0, 0, 0, 0), -1),
  ("cylinder over a cone", (1, 2, -3, 0), (0, 0, 0, 0), 0),
  ("cylinder over a hyperboloid of two sheets", (1, -2, -3, 0), (0, 0, 0, 0), -1),
  ("cylinder over an elliptic paraboloid", (1, 2, 0, 0), (0, 0, 1, 0), 0),
  ("cylinder over a hyperbolic paraboloid", (1, -2, 0, 0), (0, 0, 1, 0), 0),
  ("elliptic cylinder", (1, 2, 0, 0), (0, 0, 0, 0), -1),
  ("parabolic cylinder", (1, 0, 0, 0), (0, 1, 0, 0), 0),
  ("crossing hyperplanes", (1, -2, 0, 0), (0, 0, 0, 0), 0),
  ("parallel hyperplanes", (1, 0, 0, 0), (0, 0, 0, 0), -1),
  ("hyperplane", (1, 0, 0, 0), (0, 0, 0, 0), 0),
  ("plane", (1, 2, 0, 0), (0, 0, 0, 0), 0),
  ("line", (1, 2, 3, 0), (0, 0, 0, 0), 0),
  ("flat of dimension 3", (1, 2, 0, 0, 0), (0, 0, 0, 0, 0), 0),
  ("space", (0, 0, 0, 0), (0, 0, 0, 0), 0),
]


def turned_and_shifted(q, w, b, seed):
  """The polynomial of the set moved somewhere else; seed 0 leaves it where it is."""
  n, rng = len(w), np.random.default_rng(seed)
  if not seed:
    return q, w, b
  turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
  q, w = turn @ q @ turn.T, turn @ w
  shift = rng.uniform(-5, 5, n)  # x - shift in the place of x
  return (q + q.T) / 2, w - 2 * q @ shift, b - w @ shift + shift @ q @ shift


@pytest.mark.parametrize("kind, diagonal, w, b", STANDARD)
def test_a_quadric_keeps_its_kind_turned_shifted_and_multiplied(kind, diagonal, w, b):
  for seed in range(4):
    q, moved_w, moved_b = turned_and_shifted(np.diag(diagonal), np.array(w, float), b, seed)
    for factor in (1.0, -1e6, 1e-6):
      assert quadric_kind(factor * q, factor * moved_w, factor * moved_b) == kind, (seed, factor)


def test_every_conic_is_tried():
  assert {kind for kind, diagonal, *_ in STANDARD if len(diagonal) == 2} == set(CONICS)


def test_fig_1():
  # The ellipse and the hyperbola that separate XOR with |x1 + x2| and with x1 x2.
  assert quadric_kind([[0.75, -0.6], [-0.6, 0.75]], [0, 0], -0.4) == "ellipse"
  assert quadric_kind([[0, -1], [-1, 0]], [0, 0], -0.5) == "hyperbola"


def test_the_tolerance_is_relative():
  q = np.diag([1.0, 1e-3])
  assert quadric_kind(q, [0, 0], -1) == "ellipse"
  assert quadric_kind(q, [0, 0], -1, tolerance=0.01) == "parallel lines"
  assert quadric_kind(1e9 * q, [0, 0], -1e9) == "ellipse"


@pytest.mark.parametrize("tolerance", [np.nan, np.inf, -1, "a", None, True], ids=str)
def test_a_bad_tolerance(tolerance):
  layer = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
  told = "^tolerance must be a finite number of at least 0, got "
  with pytest.raises(InputError, match=told):
    quadric_kind(np.eye(2), (0, 0), -1, tolerance)
  for look in (kinds, signatures):
    with pytest.raises(InputError, match=told):
      look(layer, tolerance)


def test_a_tolerance_of_zero():
  assert quadric_kind(np.diag([1.0, 1e-12]), [0, 0], -1, np.float32(0)) == "ellipse"


@pytest.mark.parametrize(
  "q, w, b, message",
  [
    (np.eye(3), (0, 0), 1, r"q \[n, n\].*\(3, 3\)"),
    (np.zeros((0, 0)), (), 1, r"q \[n, n\].*\(0, 0\)"),
    (np.eye(2), (0, 0), (1, 2), r"a number b.*\(2,\)"),
    (np.eye(2), (0, np.nan), 1, "finite"),
    ([[0, 1], [2, 0]], (0, 0), 1, "symmetric, got 1 above and 2 below"),
  ],
)
def test_bad_input(q, w, b, message):
  with pytest.raises(InputError, match=message):
    quadric_kind(q, w, b)
