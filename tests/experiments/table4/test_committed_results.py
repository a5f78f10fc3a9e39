"""The results in experiments/results: what they must show, and that today's reports still make them."""

import csv
import gzip
import math
import pathlib

import pytest

from experiments.table4 import fidelity_report, table, welch
from experiments.table4.paper import PAPER_MODELS, Cell, Row, rows_of
from experiments.table4.summary import CellSummary, Run, summarize

RESULTS = pathlib.Path(__file__).parents[3] / "experiments" / "results"


def rms(tests, *sizes):
  return welch.rms_difference([test for test in tests if test.cell.train_size in sizes])


@pytest.fixture(scope="module")
def runs():
  with gzip.open(RESULTS / "table4" / "results.csv.gz", "rt", encoding="utf-8") as file:
    return [
      Run(r["model"], int(r["train_size"]), int(r["epochs"]), int(r["hidden"]), int(r["seed"]),
          float(r["accuracy"]), r["status"])
      for r in csv.DictReader(file)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tests(runs, paper):
  return welch.cell_tests(summarize(runs), paper)


@pytest.fixture(scope="module")
def paper():
  from experiments.table4.paper import read_paper_table4

  return read_paper_table4()


def test_all_4500_runs_are_there(runs, paper):
  assert len(runs) == 4500 and {run.cell for run in runs} == set(paper)
  assert {run.seed for run in runs} == set(range(25)) and {run.status for run in runs} == {"ok"}


def test_the_files_beside_them_are_made_of_them(runs, tests, paper):
  summary, folder = summarize(runs), RESULTS / "table4"
  for name, text in {
    "table4.md": table.to_markdown(summary, paper),
    "table4.tex": table.to_tex(summary, paper),
    "table4.csv": table.to_csv(summary, paper),
    "fidelity.md": fidelity_report.to_markdown(runs, paper),
    "fidelity.csv": fidelity_report.to_csv(tests),
  }.items():
    assert (folder / name).read_text(encoding="utf-8") == text, name


def test_the_means_are_as_near_as_two_draws_of_25_runs(tests):
  assert rms(tests, 600, 1200, 6000, 60000) <= 0.8
  assert rms(tests, 600, 1200) <= 1.05
  assert rms(tests, 6000, 60000) <= 0.3
  assert welch.rms_difference(tests) < 1.2 * welch.rms_error(tests)


def test_the_spreads_are_the_paper_s(tests):
  for model in PAPER_MODELS:
    assert 0.85 <= welch.spread_ratio([t for t in tests if t.cell.model == model]) <= 1.2


def test_no_cell_differs(tests):
  assert 0.7 <= welch.mean_square_z(tests) <= 1.4
  assert [test.cell for test in tests if test.differs] == []
  assert [test.cell for test in tests if test.p is None] == [Cell(6000, 10, 20, "qnn")]


def test_models_stand_in_the_paper_s_order_wherever_it_sets_them_two_points_apart(tests, paper):
  ours = {test.cell: test.ours.mean for test in tests}
  wide = 0
  for row in rows_of(paper):
    for low in PAPER_MODELS:
      for high in PAPER_MODELS:
        a, b = Cell(*Row(*row), low), Cell(*Row(*row), high)
        if paper[b].mean - paper[a].mean > 2:
          assert ours[a] < ours[b], (a, b)
          wide += 1
  assert wide > 60


def test_200_seeds_agree_with_25_and_with_the_paper(tests, paper):
  with open(RESULTS / "table4_200_seeds" / "table4.csv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 180 and {row["runs"] for row in rows} == {"200"}
  few = {test.cell: test.ours for test in tests}
  squares, summary = [], {}
  for row in rows:
    cell = Cell(int(row["train_size"]), int(row["epochs"]), int(row["hidden"]), row["model"])
    mean, std = float(row["mean"]), float(row["std"])
    summary[cell] = CellSummary(mean, std, float(row["best"]), float(row["worst"]), 200, 0)
    # The 25 are among the 200, whose mean they pull along.
    squares.append((few[cell].mean - mean) ** 2 / (std**2 * (1 / 25 - 1 / 200)))
  assert math.fsum(squares) / 180 == pytest.approx(1, abs=0.35)
  against = welch.cell_tests(summary, paper)
  assert 0.7 <= welch.mean_square_z(against) <= 1.4 and not any(test.differs for test in against)
