"""Recipes against the paper: rows, table and figure."""

import pytest

from experiments.recipe import report as recipe
from qnn_jax.reports.figures import save_png


def test_rows_tell_recipes_apart(paper, make_runs, tmp_path):
  near = make_runs(sizes=(600, 1200), seeds=5, scatter=0.5)
  far = [run._replace(accuracy=min(run.accuracy + 4, 100.0)) for run in near]
  rows = recipe.rows({"near": near, "far": far}, paper)
  by = {(row.recipe, row.train_size, row.model): row for row in rows}
  assert len(by) == len(rows) == 2 * 3 * 4
  assert by["near", None, "all"].cells == 90 and by["near", 600, "qnn"].cells == 15
  assert by["near", None, "all"].difference < 0.5 < 3 < by["far", None, "all"].difference
  assert by["near", 600, "ann"].spread == pytest.approx(by["far", 600, "ann"].spread)
  text = recipe.to_markdown(rows)
  assert "| recipe | ann 600 | qnn 600 | rpqnn 600 | ann 1,200 |" in text
  assert recipe.to_csv(rows).splitlines()[0].startswith("recipe,train_size,model,cells,difference")
  save_png(recipe.figure(rows), tmp_path / "recipe.png")
  assert (tmp_path / "recipe.png").stat().st_size > 10_000
