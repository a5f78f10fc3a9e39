"""Every picture draws, and none of its text is clipped or overlaps other text."""

import itertools

import pytest

from experiments.table4.plot import table_figure
from experiments.table4.summary import Run, summarize
from qnn_jax.errors import InputError
from qnn_jax.reports.figures import save_png


def pictures(make_runs):
  short = make_runs(sizes=(600, 60000), epochs=(5,))
  return {
    "full": make_runs(),
    "quick": make_runs(sizes=(600, 1200)),
    "one panel": make_runs(sizes=(60000,), epochs=(20,)),
    "one cell, one run": [Run("ann", 600, 5, 10, 0, 10.0)],
    "one cell": [Run("qnn", 600, 5, 10, seed, 70.0 + seed) for seed in range(3)],
    "a missing panel": make_runs(sizes=(600,)) + make_runs(sizes=(1200,), epochs=(5,)),
    "heavy, others and diverged": short
    + [
      run._replace(model=model, accuracy=None, status="diverged")
      if run.seed == 0
      else run._replace(model=model)
      for run in short
      if run.model == "qnn"
      for model in ("heavy", "mine")
    ],
    "not the paper's": [Run("heavy", 100, 1, h, 0, 50.0 + h / 4) for h in (4, 8, 128)],
  }


NAMES = [
  "full",
  "quick",
  "one panel",
  "one cell, one run",
  "one cell",
  "a missing panel",
  "heavy, others and diverged",
  "not the paper's",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_clipped_or_overlaps(name, make_runs, paper):
  figure = table_figure(summarize(pictures(make_runs)[name]), paper)
  figure.canvas.draw()
  width, height = figure.canvas.get_width_height()
  boxes = [(text.get_text(), text.get_window_extent()) for text in _drawn(figure)]
  for text, box in boxes:
    assert 0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height, text
  for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2):
    assert not box_a.overlaps(box_b), (a, b)


def _drawn(figure):
  """The texts that show; axes also hold tick labels beyond their limits, which do not."""
  texts = [*figure.texts, *figure.legends[0].get_texts()]
  for ax in figure.axes:
    texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
      texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
  return [text for text in texts if text.get_visible() and text.get_text()]


def test_panels_follow_the_grid_and_name_the_fidelity(make_runs, paper):
  figure = table_figure(summarize(make_runs(sizes=(600, 1200))), paper)
  assert len(figure.axes) == 6
  assert [ax.get_title() for ax in figure.axes[:2]] == [
    "600 training images",
    "1,200 training images",
  ]
  texts = " ".join(text.get_text() for text in figure.texts)
  assert "over 90 cells" in texts and "of 30 rows" in texts


def test_a_narrow_panel_is_not_blown_up(paper):
  figure = table_figure(summarize([Run("ann", 600, 5, h, 0, 90.0) for h in (10, 20)]), {})
  low, high = figure.axes[0].get_ylim()
  assert high - low >= 4.0


def test_the_same_table_gives_the_same_bytes(make_runs, paper, tmp_path):
  summary = summarize(make_runs(sizes=(600,), epochs=(5,)))
  for name in ("a.png", "b.png"):
    save_png(table_figure(summary, paper), tmp_path / name, dpi=50)
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
  assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_to_draw(paper):
  with pytest.raises(InputError, match="0 finished cells"):
    table_figure(summarize([Run("qnn", 600, 5, 10, 0, None, "diverged")]), paper)
