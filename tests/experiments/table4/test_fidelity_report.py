"""fidelity.md and fidelity.csv: a row a cell, and the numbers that are theirs."""

import csv
import io

from experiments.table4 import fidelity_report
from experiments.table4.summary import summarize
from experiments.table4.welch import cell_tests


def test_the_csv_has_a_row_a_cell(paper, make_runs):
  runs = make_runs(seeds=4)
  tests = cell_tests(summarize(runs), paper)
  rows = list(csv.DictReader(io.StringIO(fidelity_report.to_csv(tests))))
  assert len(rows) == 180 and tuple(rows[0]) == fidelity_report.CSV_FIELDS
  for row, test in zip(rows, tests, strict=True):
    assert (row["model"], int(row["hidden"])) == (test.cell.model, test.cell.hidden)
    assert abs(float(row["mean"]) - float(row["paper_mean"]) - float(row["difference"])) < 1e-3
    assert (row["p_adjusted"] == "") == (row["note"] != "")
  assert sum(row["note"] != "" for row in rows) == 1


def test_the_report_says_it_in_words(paper, make_runs):
  text = fidelity_report.to_markdown(make_runs(scatter=0.01, seeds=25), paper)
  assert "- 0 of 179 cells differ from the paper's (Welch's test, false-discovery rate 5%)." in text
  assert "6000/10/20 qnn is in no test: impossible as printed" in text
  assert "more than 2 points apart: in its order in " in text
  assert text.count("| 600/5/10 |") == 3 and "not tested" in text
  assert "\n\n| size/epochs/hidden | model |" in text  # a table needs a blank line before it


def test_a_cell_that_differs_is_named(paper, make_runs):
  runs = [
    run._replace(accuracy=run.accuracy - 9) if run[:4] == ("qnn", 1200, 10, 15) else run
    for run in make_runs(seeds=25)
  ]
  tests = cell_tests(summarize(runs), paper)
  line = fidelity_report.verdict_line(tests)
  assert line.startswith("1 of 179 cells differ") and line.endswith(": 1200/10/15 qnn")
  assert "| differs |" in fidelity_report.to_markdown(runs, paper)


def test_nothing_of_the_paper_s_is_one_sentence(paper, make_runs):
  runs = [run._replace(train_size=7) for run in make_runs(sizes=(600,), epochs=(5,))]
  text = fidelity_report.to_markdown(runs, paper)
  assert "nothing to compare" in text and "##" not in text
  one_run = make_runs(sizes=(600,), epochs=(5,), seeds=1)
  assert "no cell has runs enough" in fidelity_report.to_markdown(one_run, paper).replace(
    "No", "no"
  )
