"""Rows survive a file, and markdown tables say what is in them."""

import math

import pytest

from qnn_jax.errors import InputError
from qnn_jax.reports.rows import markdown_table, read_rows, stored_rows, write_rows

pytestmark = pytest.mark.fast

ROWS = [
  {"model": "ann", "n": 3, "loss": 0.1, "note": None},
  {"model": 'a, "b"', "n": -4, "loss": 1e-300, "note": "late"},
]


def test_rows_survive_a_file(tmp_path):
  write_rows(tmp_path / "rows.csv", ROWS)
  assert read_rows(tmp_path / "rows.csv") == ROWS


def test_numbers_that_are_not_finite_survive_a_file(tmp_path):
  write_rows(tmp_path / "rows.csv", [{"a": math.inf, "b": math.nan}])
  (row,) = read_rows(tmp_path / "rows.csv")
  assert row["a"] == math.inf and math.isnan(row["b"])


def test_what_is_stored_is_not_computed(tmp_path):
  assert stored_rows(tmp_path / "rows.csv", lambda: ROWS) == ROWS
  assert stored_rows(tmp_path / "rows.csv", lambda: pytest.fail("computed again")) == ROWS


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n1\n", "a,b\n1,2,3\n"])
def test_a_damaged_file(tmp_path, text):
  path = tmp_path / "rows.csv"
  path.write_text(text)
  with pytest.raises(InputError, match="is damaged"):
    read_rows(path)


def test_markdown():
  table = markdown_table(ROWS, {"note": "note", "loss": "loss"}, {"loss": ".2f"})
  assert table.splitlines() == [
    "| note | loss |",
    "| --- | ---: |",
    "| - | 0.10 |",
    "| late | 0.00 |",
  ]
