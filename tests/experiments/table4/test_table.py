"""The table as text, markdown and CSV."""

import csv
import io

from experiments.table4.paper import Cell, Row, rows_of
from experiments.table4.summary import Run, summarize
from experiments.table4.table import (
  CSV_FIELDS,
  header_cells,
  header_line,
  row_cells,
  row_line,
  to_csv,
  to_markdown,
  to_tex,
  to_text,
)

ROW = Row(600, 5, 10)
MODELS = ("ann", "qnn", "rpqnn", "heavy")
RUNS = [
  Run("ann", 600, 5, 10, 0, 10.0),
  Run("ann", 600, 5, 10, 1, 11.0),
  Run("qnn", 600, 5, 10, 0, 70.0),
  Run("qnn", 600, 5, 10, 1, None, "diverged"),
  Run("heavy", 600, 5, 10, 0, 60.0),
  Run("heavy", 600, 5, 10, 1, 60.0),
]


def test_row_cells(paper):
  summary = summarize(RUNS)
  assert header_cells(MODELS) == (
    "size",
    "epochs",
    "hidden",
    "ann",
    "paper",
    "qnn",
    "paper",
    "rpqnn",
    "paper",
    "heavy",
    "",
  )
  assert row_cells(ROW, summary, paper, MODELS) == (
    "600",
    "5",
    "10",
    "10.5±0.7",
    "10.1",
    "70.0",
    "72.7",
    "-",
    "23.5",
    "60.0±0.0",
    "1 diverged",
  )
  assert row_cells(Row(7, 1, 2), summary, paper) == (
    "7",
    "1",
    "2",
    "-",
    "-",
    "-",
    "-",
    "-",
    "-",
    "",
  )


def test_lines_align_and_fit(paper, make_runs):
  runs = make_runs(seeds=2, scatter=0.0)
  runs += [run._replace(model="heavy") for run in runs if run.model == "qnn"]
  runs = [
    run._replace(status="diverged", accuracy=None)
    if run.seed == 1 and run.hidden == 10
    else run._replace(accuracy=100.0 * run.seed)
    for run in runs
  ]
  summary = summarize(runs)
  lines = [row_line(row, summary, paper, MODELS) for row in rows_of(summary)]
  assert len(lines) == 60
  assert max(map(len, lines)) <= 100
  bars = [i for i, c in enumerate(header_line(MODELS)) if c == "|"]
  assert all([i for i, c in enumerate(line) if c == "|"][:4] == bars for line in lines)
  assert lines[0].endswith("| 4 diverged")


def test_text_has_a_rule_before_every_size(paper, make_runs):
  text = to_text(summarize(make_runs(sizes=(600, 60000), epochs=(5,))), paper)
  lines = text.splitlines()
  assert [i for i, line in enumerate(lines) if set(line) == {"-"}] == [1, 7]
  assert lines[-1].startswith("60000      5     30 |")


def test_markdown_layout(paper):
  lines = to_markdown(summarize(RUNS), paper).splitlines()
  assert lines[0] == "# Table 4: test accuracy on MNIST, in percent"
  assert lines[2].startswith("Fidelity: ") and lines[2].endswith("1 diverged run left out.")
  assert lines[4] == "In each cell ours, then *the paper's*. 2 runs a cell."
  table = [line for line in lines if line.startswith("|")]
  assert table[0].startswith(
    "| Data size | Max epochs | Hidden neurons | ANN μ ± σ | ANN best/worst | QNN μ ± σ |"
  )
  cells = [cell.strip() for cell in table[2].strip("|").split("|")]
  assert cells == [
    "600",
    "5",
    "10",
    "10.50 ± 0.71<br>*10.08 ± 0.35*",
    "11.00/10.00<br>*11.35/9.58*",
    "70.00 (1 of 2 diverged)<br>*72.68 ± 3.16*",
    "70.00/70.00<br>*77.38/65.51*",
    "-<br>*23.51 ± 6.22*",
    "-<br>*35.19/13.68*",
    "60.00 ± 0.00",
    "60.00/60.00",
  ]
  assert len({line.count("|") for line in table}) == 1


def test_markdown_names_sizes_and_epochs_once_and_the_misprint(paper, make_runs):
  text = to_markdown(summarize(make_runs()), paper)
  starts = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")][2:]
  starts = [[part.strip() for part in start] for start in starts]
  assert len(starts) == 60
  assert [start[0] for start in starts if start[0]] == ["600", "1200", "6000", "60000"]
  assert [start[1] for start in starts if start[1]] == ["5", "10", "20"] * 4
  assert "misprint" in text
  assert "misprint" not in to_markdown(summarize(make_runs(sizes=(600,))), paper)


def test_all_diverged_and_nothing_at_all(paper):
  summary = summarize([Run("qnn", 600, 5, 10, 0, None, "diverged")])
  cells = "| 1 of 1 diverged<br>*72.68 ± 3.16* | -<br>*77.38/65.51* |"
  assert cells in to_markdown(summary, paper)
  assert " diverged  72.7 |" in row_line(ROW, summary, paper)
  assert "600,5,10,qnn,,,,,0,1,72.68,3.16,77.38,65.51,\n" in to_csv(summary, paper)
  assert "nothing to compare" in to_markdown({}, paper)
  assert to_csv({}, paper) == ",".join(CSV_FIELDS) + "\n"
  assert to_text({}, paper) == header_line() + "\n"


def test_csv_is_tidy(paper):
  rows = list(csv.DictReader(io.StringIO(to_csv(summarize(RUNS), paper))))
  assert [row["model"] for row in rows] == ["ann", "qnn", "heavy"]
  assert rows[0] == dict(
    zip(
      CSV_FIELDS,
      [
        "600",
        "5",
        "10",
        "ann",
        "10.5",
        "0.7071",
        "11.0",
        "10.0",
        "2",
        "0",
        "10.08",
        "0.35",
        "11.35",
        "9.58",
        "0.42",
      ],
    )
  )
  assert (rows[1]["std"], rows[1]["runs"], rows[1]["diverged"]) == ("", "1", "1")
  assert (rows[2]["paper_mean"], rows[2]["difference"]) == ("", "")


def test_a_cell_of_ours_beyond_the_paper(paper):
  summary = summarize([Run("qnn", 600, 5, 128, 0, 90.0)])
  assert "| 90.00 | 90.00/90.00 |" in to_markdown(summary, paper)
  assert Cell(600, 5, 128, "qnn") not in paper


def test_to_tex(paper):
  text = to_tex(summarize(RUNS), paper)
  lines = text.splitlines()
  assert lines[1] == r"\begin{tabular}{rrrccccccc}" and lines[-1] == r"\end{tabular}"
  row = next(line for line in lines if line.startswith("600 & 5 & 10"))
  assert row.endswith(r"\\") and row.count("&") == 9
  assert r"$10.50 \pm 0.71$ & $10.08 \pm 0.35$" in row
  assert r"& -- & $23.51 \pm 6.22$ & $60.00 \pm 0.00$" in row
  heads = next(line for line in lines if "multicolumn" in line)
  assert r"\multicolumn{2}{c}{RPQNN} & \multicolumn{1}{c}{HEAVY}" in heads
