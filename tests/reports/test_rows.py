"""Rows survive a file, and markdown tables say what is in them."""

import pytest

from qnn_jax.reports.rows import markdown_table, mean_of

pytestmark = pytest.mark.fast

ROWS = [
  {"model": "ann", "n": 3, "loss": 0.1, "note": None},
  {"model": 'a, "b"', "n": -4, "loss": 1e-300, "note": "late"},
]


def test_markdown():
  table = markdown_table(ROWS, {"note": "note", "loss": "loss"}, {"loss": ".2f"})
  assert table.splitlines() == [
    "| note | loss |",
    "| --- | ---: |",
    "| - | 0.10 |",
    "| late | 0.00 |",
  ]


@pytest.mark.parametrize(
  "values, mean", [([1.0, 2.0, 4.5], 2.5), ([1e308, 1.5e308], 1.25e308), ([-1.5e308], -1.5e308)]
)
def test_the_mean_of_numbers_whose_sum_overflows(values, mean):
  assert mean_of(values) == pytest.approx(mean, rel=1e-15)
