"""The paper's table as typed out, against spot checks and what must hold of any such table."""

import itertools

import pytest

from experiments.table4.paper import PAPER_MODELS, Cell, Row, models_of, rows_of

pytestmark = pytest.mark.fast


def test_the_grid_is_whole(paper):
  grid = itertools.product(
    (600, 1200, 6000, 60000), (5, 10, 20), (10, 15, 20, 25, 30), PAPER_MODELS
  )
  assert list(paper) == [Cell(*cell) for cell in grid]


def test_spot_checks(paper):
  assert paper[Cell(600, 5, 10, "qnn")] == (72.68, 3.16, 77.38, 65.51)
  assert paper[Cell(600, 5, 10, "ann")] == (10.08, 0.35, 11.35, 9.58)
  assert paper[Cell(1200, 20, 30, "rpqnn")] == (86.53, 2.37, 89.04, 77.19)
  assert paper[Cell(60000, 20, 30, "qnn")] == (96.54, 0.22, 96.88, 95.99)


def test_only_the_known_misprint_has_its_mean_outside_best_and_worst(paper):
  odd = [cell for cell, s in paper.items() if not s.worst <= s.mean <= s.best]
  assert odd == [Cell(6000, 10, 20, "qnn")]


def test_orders():
  cells = [Cell(600, 5, 10, m) for m in ("zeta", "heavy", "rpqnn", "ann", "beta", "qnn")]
  assert models_of(cells) == ("ann", "qnn", "rpqnn", "heavy", "beta", "zeta")
  assert rows_of([Cell(1200, 5, 10, "ann"), *cells]) == (Row(600, 5, 10), Row(1200, 5, 10))
