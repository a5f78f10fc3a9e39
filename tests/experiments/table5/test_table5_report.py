"""Table 5's report, on timings made by hand."""

from experiments.table5 import report as table5
from experiments.table5.report import Timing

TIMINGS = [
  Timing("ann", 1, 2.0, 94.5),
  Timing("qnn", 1, 3.0, 96.25),
  Timing("ann", 25, 0.004, 94.0),
  Timing("qnn", 25, 0.005, 96.0),
]


def test_ratios_are_to_ann_with_as_many_runs_at_once():
  rows = table5.rows(TIMINGS)
  assert [row["ratio"] for row in rows] == [1, 1.5, 1, 1.25]
  assert [row["paper_ratio"] for row in rows] == [1, 3.67, 1, 3.67]
  assert rows[1]["paper_accuracy"] == 96.35


def test_a_head_that_the_paper_does_not_have_is_left_empty():
  row = table5.rows([TIMINGS[0], Timing("heavy", 1, 1.0, 90.0)])[1]
  assert (row["ratio"], row["paper_ratio"], row["paper_accuracy"]) == (0.5, "", "")
  assert "| 1 | HEAVY | 1.00 | 0.50 |  | 90.00 |  |" in table5.to_markdown(
    [TIMINGS[0], Timing("heavy", 1, 1.0, 90.0)], "Small."
  )


def test_the_setting_tells_of_the_papers_where_it_is_another():
  whole = "60,000 samples, 5 epochs, 30 hidden neurons"
  assert table5.setting(60000, 5, 30, "mnist") == f"MNIST, {whole}."
  assert table5.setting(1200, 2, 30, "digits") == (
    f"DIGITS, 1,200 samples, 2 epochs, 30 hidden neurons; the paper's are of MNIST, {whole}."
  )


def test_csv():
  text = table5.to_csv(TIMINGS)
  assert text.startswith("seeds,model,seconds,ratio,paper_ratio,accuracy,paper_accuracy\n")
  assert "25,qnn,0.005,1.25,3.67,96.0,96.35\n" in text


def test_a_figure_has_the_papers_bars_and_ours():
  drawing = table5.figure([*TIMINGS, Timing("heavy", 1, 1.0, 90.0)], "Small.")
  time, accuracy = drawing.axes
  assert sorted(bar.get_height() for bar in time.patches) == [0.5, 1, 1, 1, 1.25, 1.5, 3.67]
  points = sorted(y for line in accuracy.lines for y in line.get_ydata())
  assert points == [90.0, 94.0, 94.5, 94.76, 96.0, 96.25, 96.35]
  labels = [text.get_text() for text in drawing.legends[0].get_texts()]
  assert labels == ["paper", "ours, 1 run at once", "ours, 25 runs at once"]
