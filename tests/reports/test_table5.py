"""Table 5's report, on timings made by hand."""

import pytest

from qnn_jax.errors import InputError
from qnn_jax.reports import table5
from qnn_jax.reports.table5 import Timing

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
  assert table5.setting(60000, 5, 30) == "60,000 samples, 5 epochs, 30 hidden neurons."
  assert table5.setting(1200, 2, 30) == (
    "1,200 samples, 2 epochs, 30 hidden neurons; "
    "the paper's are of 60,000 samples, 5 epochs, 30 hidden neurons."
  )
  assert "\n\nSmall.\n\n|" in table5.to_markdown(TIMINGS, "Small.")


def test_csv_and_back():
  text = table5.to_csv(TIMINGS)
  assert text.startswith("seeds,model,seconds,ratio,paper_ratio,accuracy,paper_accuracy\n")
  assert table5.from_csv(text) == TIMINGS
  assert table5.to_csv(table5.from_csv(text)) == text


def test_a_figure_has_the_papers_bars_and_ours():
  drawing = table5.figure([*TIMINGS, Timing("heavy", 1, 1.0, 90.0)], "Small.")
  time, accuracy = drawing.axes
  assert sorted(bar.get_height() for bar in time.patches) == [0.5, 1, 1, 1, 1.25, 1.5, 3.67]
  points = sorted(y for line in accuracy.lines for y in line.get_ydata())
  assert points == [90.0, 94.0, 94.5, 94.76, 96.0, 96.25, 96.35]
  labels = [text.get_text() for text in drawing.legends[0].get_texts()]
  assert labels == ["paper", "ours, 1 run at once", "ours, 25 runs at once"]


def test_no_file_is_no_timings(tmp_path):
  assert table5.read(tmp_path / "results.csv") == []


WHOLE = table5.to_csv(TIMINGS)


@pytest.mark.parametrize(
  "text",
  [
    "",
    WHOLE[: WHOLE.index("\n") + 1],
    WHOLE[:-15],
    WHOLE.replace("seconds", "minutes"),
    WHOLE.replace("3.0", "three"),
    WHOLE.replace("3.0", "0.0"),
    WHOLE.replace("3.0", "nan"),
    "".join(line for line in WHOLE.splitlines(True) if not line.startswith("25,qnn")),
    "".join(line for line in WHOLE.splitlines(True) if ",ann," not in line),
    "\0\ufffd",
  ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, text):
  path = tmp_path / "results.csv"
  path.write_text(text, encoding="utf-8")
  with pytest.raises(InputError, match=r"results\.csv is damaged; restore it, or remove it"):
    table5.read(path)
  assert path.read_text(encoding="utf-8") == text


def test_a_file_that_is_no_text_is_damaged(tmp_path):
  (tmp_path / "results.csv").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(InputError, match="damaged"):
    table5.read(tmp_path / "results.csv")
