"""What every picture must be: none of its text clipped, or over other text."""

import itertools


def assert_no_text_is_clipped_or_overlaps(figure):
  figure.canvas.draw()
  width, height = figure.canvas.get_width_height()
  texts = [*figure.texts, *figure.legends[0].get_texts()]
  for ax in figure.axes:
    texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
  boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
  for text, box in boxes:
    assert 0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height, text
  for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2):
    assert not box_a.overlaps(box_b), (a, b)
