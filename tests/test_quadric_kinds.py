"""Every kind of conic, in any position, at any scale."""

import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.reports.conics import KINDS, conic_kind

pytestmark = pytest.mark.fast

I, H, ROW = np.eye(2), np.diag([1.0, -1.0]), np.diag([1.0, 0.0])

STANDARD = [
  ("ellipse", np.diag([1.0, 3.0]), (0, 0), -1),
  ("ellipse", I, (0, 0), -1),  # a circle
  ("point", I, (0, 0), 0),
  ("empty", I, (0, 0), 1),
  ("hyperbola", H, (0, 0), 1),
  ("hyperbola", H, (0, 0), -1),
  ("crossing lines", H, (0, 0), 0),
  ("parabola", ROW, (0, 1), 5),
  ("parallel lines", ROW, (0, 0), -1),
  ("line", ROW, (0, 0), 0),  # a double one
  ("empty", ROW, (0, 0), 1),
  ("line", 0 * I, (1, 2), 3),
  ("plane", 0 * I, (0, 0), 0),
  ("empty", 0 * I, (0, 0), 2),
]


def test_every_kind_is_tried():
  assert {kind for kind, *_ in STANDARD} == set(KINDS)


@pytest.mark.parametrize("kind, q, w, b", STANDARD)
@pytest.mark.parametrize("angle, shift", [(0, (0, 0)), (0.4, (0, 0)), (0, (3, -2)), (2.0, (-7, 5))])
@pytest.mark.parametrize("factor", [1.0, -1e6, 1e-6])
def test_a_conic_keeps_its_kind_turned_shifted_and_multiplied(kind, q, w, b, angle, shift, factor):
  w, shift = np.asarray(w, float), np.asarray(shift, float)
  turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  q, w = turn @ q @ turn.T, turn @ w
  # The set moved by `shift`: x - shift in place of x.
  b = b - w @ shift + shift @ q @ shift
  w = w - 2 * q @ shift
  assert conic_kind(factor * q, factor * w, factor * b) == kind


def test_fig_1():
  # The ellipse and the hyperbola that separate XOR with |x1 + x2| and with x1 x2.
  assert conic_kind([[0.75, -0.6], [-0.6, 0.75]], [0, 0], -0.4) == "ellipse"
  assert conic_kind([[0, -1], [-1, 0]], [0, 0], -0.5) == "hyperbola"


@pytest.mark.parametrize(
  "q, w, b, message",
  [
    (np.eye(3), (0, 0), 1, r"q \[2, 2\].*\(3, 3\)"),
    (np.eye(2), (0, np.nan), 1, "finite"),
    ([[0, 1], [2, 0]], (0, 0), 1, "symmetric, got 1 above and 2 below"),
  ],
)
def test_bad_input(q, w, b, message):
  with pytest.raises(InputError, match=message):
    conic_kind(q, w, b)
