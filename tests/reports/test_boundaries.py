"""The pictures draw what they say, and none of their text is clipped or overlaps other text."""

import itertools

import numpy as np
import pytest

from qnn_jax.reports.boundaries import COLOURS, Neuron, clusters_figure, xor_figure

CIRCLE = np.array([-1.0, 0, 0, 1, 0, 1])  # b, w1, w2, q11, q12, q22
SADDLE = np.array([0.1, 0, 0, 0, -1, 0])
NOWHERE = np.array([1.0, 0, 0, 1, 0, 1])
SQUARE = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])


def pictures():
  rng = np.random.default_rng(0)
  y = np.repeat(np.arange(6), 20)
  x = np.array([(-16, 0), (-8, 0), (0, 0), (0, 10), (-8, 10), (-16, 10)])[y]
  x = x + rng.normal(size=x.shape)
  quadratic = np.stack([(64.0, 16, 0, 1, 0, 1 + k) for k in range(6)], axis=1)
  lines = np.stack([(k - 3.0, 1, k) for k in range(6)], axis=1)
  title = "(a) Q from a random matrix: crossing lines\n4 of 4 right after epoch 1000"
  neurons = [Neuron(CIRCLE, SADDLE, title), Neuron(SADDLE, np.full(6, np.nan), title)]
  layers = [("Quadratic neurons: all six right on 100.00 %", quadratic), ("Ordinary", lines)]
  return {
    "xor": xor_figure(SQUARE, np.array([0, 1, 1, 0]), neurons),
    "clusters": clusters_figure(x, y, layers, "Test pairs of seed 0"),
  }


@pytest.fixture(scope="module", params=["xor", "clusters"])
def figure(request):
  figure = pictures()[request.param]
  figure.canvas.draw()
  return figure


def test_no_text_is_clipped_or_overlaps(figure):
  width, height = figure.canvas.get_width_height()
  texts = [*figure.texts, *figure.legends[0].get_texts()]
  for ax in figure.axes:
    texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
  boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
  for text, box in boxes:
    assert 0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height, text
  for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2):
    assert not box_a.overlaps(box_b), (a, b)


def test_the_curve_is_where_the_neuron_is_zero():
  figure = xor_figure(SQUARE, np.array([0, 1, 1, 0]), [Neuron(CIRCLE, NOWHERE, "")])
  # One tinted side and one line: the second neuron has no boundary to draw.
  tint, line = (c for c in figure.axes[0].collections if hasattr(c, "levels"))
  (path,) = line.get_paths()
  np.testing.assert_allclose(np.hypot(*path.vertices.T), 1, atol=1e-3)
  assert any(p.contains_point((2, 2)) for p in tint.get_paths())


def test_six_colours_no_two_alike():
  # All pairs at least 40 of 255 apart in lightness or hue, as the marker's shape always is.
  rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS])
  for a, b in itertools.combinations(rgb, 2):
    assert np.abs(a - b).max() >= 40
