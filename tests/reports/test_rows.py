"""Rows survive a file, and markdown tables say what is in them."""

import pytest

from qnn_jax.reports.rows import markdown_table

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
