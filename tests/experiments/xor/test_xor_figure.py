"""Fig. 1 draws what it says, and none of its text is clipped or overlaps other text."""

import numpy as np
from figure_text import assert_no_text_is_clipped_or_overlaps

from experiments.xor.figure import Neuron, xor_figure

CIRCLE = np.array([-1.0, 0, 0, 1, 0, 1])  # b, w1, w2, q11, q12, q22
SADDLE = np.array([0.1, 0, 0, 0, -1, 0])
NOWHERE = np.array([1.0, 0, 0, 1, 0, 1])
SQUARE = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])


def test_no_text_is_clipped_or_overlaps():
  title = "(a) Q from a random matrix: crossing lines\n4 of 4 right after epoch 1000"
  neurons = [Neuron(CIRCLE, SADDLE, title), Neuron(SADDLE, np.full(6, np.nan), title)]
  assert_no_text_is_clipped_or_overlaps(xor_figure(SQUARE, np.array([0, 1, 1, 0]), neurons))


def test_the_curve_is_where_the_neuron_is_zero():
  figure = xor_figure(SQUARE, np.array([0, 1, 1, 0]), [Neuron(CIRCLE, NOWHERE, "")])
  # One tinted side and one line: the second neuron has no boundary to draw.
  tint, line = (c for c in figure.axes[0].collections if hasattr(c, "levels"))
  (path,) = line.get_paths()
  np.testing.assert_allclose(np.hypot(*path.vertices.T), 1, atol=1e-3)
  assert any(p.contains_point((2, 2)) for p in tint.get_paths())
