"""Fig. 2's text is not clipped and overlaps none, and its six classes can be told apart."""

import itertools

import numpy as np
from figure_text import assert_no_text_is_clipped_or_overlaps

from experiments.clusters.figure import COLOURS, clusters_figure


def test_no_text_is_clipped_or_overlaps():
  rng = np.random.default_rng(0)
  y = np.repeat(np.arange(6), 20)
  x = np.array([(-16, 0), (-8, 0), (0, 0), (0, 10), (-8, 10), (-16, 10)])[y]
  x = x + rng.normal(size=x.shape)
  quadratic = np.stack([(64.0, 16, 0, 1, 0, 1 + k) for k in range(6)], axis=1)
  lines = np.stack([(k - 3.0, 1, k) for k in range(6)], axis=1)
  layers = [("Quadratic neurons: all six right on 100.00 %", quadratic), ("Ordinary", lines)]
  assert_no_text_is_clipped_or_overlaps(clusters_figure(x, y, layers, "Test pairs of seed 0"))


def test_six_colours_no_two_alike():
  # All pairs at least 40 of 255 apart in lightness or hue, as the marker's shape always is.
  rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS])
  for a, b in itertools.combinations(rgb, 2):
    assert np.abs(a - b).max() >= 40
