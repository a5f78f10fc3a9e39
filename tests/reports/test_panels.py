"""Whatever the number of panels, no text of the shared figure is clipped or overlaps other text."""

import itertools

import pytest
from matplotlib.lines import Line2D

from qnn_jax.reports import panels


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_text_is_clipped_or_overlaps(count):
  subtitle = "A sentence that is long enough to be broken into more than one line. " * 3
  figure, axes = panels.figure_with_panels("A title", subtitle, ["a heading"] * count)
  for ax in axes:
    ax.plot([1, 1000], [1e-4, 1e4])
    ax.set(xlabel="step", ylabel="root-mean-square error", xscale="log", yscale="log")
  panels.legend_below(figure, [Line2D([], [])] * 3, ["one", "two", "three"])
  figure.canvas.draw()
  width, height = figure.canvas.get_width_height()
  boxes = [text.get_window_extent() for text in drawn(figure)]
  assert all(0 <= box.x0 and box.x1 <= width for box in boxes)
  assert all(0 <= box.y0 and box.y1 <= height for box in boxes)
  assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def drawn(figure):
  """The texts that show; axes also hold tick labels beyond their limits, which do not."""
  texts = [*figure.texts, *figure.legends[0].get_texts()]
  for ax in figure.axes:
    texts += [ax.title, ax.xaxis.label, ax.yaxis.label]
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
      texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
  return [text for text in texts if text.get_text()]
