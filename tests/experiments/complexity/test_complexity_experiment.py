"""Tables 1 and 2 beside XLA's counts: the smoke preset, its files, and what must show."""

import numpy as np
import pytest
from in_process import files, read_csv, run

from configs import complexity as complexity_config
from experiments.complexity.__main__ import EXPERIMENT
from qnn_jax import complexity
from qnn_jax.errors import InputError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("complexity")
  run(EXPERIMENT, complexity_config.get_config("smoke"), workdir)
  rows = read_csv(workdir / "results.csv")
  text = ("model", "phase")
  return workdir, [{k: v if k in text else int(v) for k, v in row.items()} for row in rows]


def cell(rows, model, phase, n=30, m=10):
  return next(
    row for row in rows if (row["model"], row["phase"], row["n"], row["m"]) == (model, phase, n, m)
  )


def test_files(finished):
  workdir, rows = finished
  assert set(files(workdir)) == {"results.csv", "complexity.csv", "complexity.md", "complexity.png"}
  assert (workdir / "complexity.png").read_bytes().startswith(b"\x89PNG")
  assert "(70) R_BP | 784-30-10 |" in (workdir / "complexity.md").read_text()
  assert list(rows[0]) == [
    "model", "n", "m", "phase", "formula", "counted", "flops", "bytes_formula", "bytes_kept",
    "bytes_scratch",
  ]  # fmt: skip
  assert {(row["n"], row["m"]) for row in rows} == {(30, 10), (4, 4), (8, 8), (16, 16)}


@pytest.mark.parametrize("model", ["ann", "rpqnn"])
@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_formula_and_count_agree_to_the_last_multiplication(finished, model, phase):
  for row in finished[1]:
    if (row["model"], row["phase"]) == (model, phase):
      assert row["counted"] == row["formula"]


def test_what_the_report_says_of_the_differences(finished):
  rows, n, m = finished[1], 30, 10
  assert cell(rows, "ann", "update")["counted"] == 2 * n * m + m
  assert cell(rows, "qnn", "forward")["counted"] == m * n * n + 2 * n * m
  assert cell(rows, "qnn", "update")["counted"] > complexity.layer("qnn", n, m).update
  assert cell(rows, "rpqnn", "update")["counted"] == pytest.approx(4 * n * m, rel=0.1)


def test_flops_are_at_least_the_multiplications_and_at_most_about_twice(finished):
  for row in finished[1]:
    # A sum has at most as many additions as products, and a bias or two for each neuron.
    assert row["counted"] <= row["flops"] <= 2 * row["counted"] + 4 * row["m"]


def test_orders_of_the_counts(finished):
  for model, low, high in (("ann", 1.8, 2.2), ("qnn", 2.5, 3.1), ("rpqnn", 1.7, 2.2)):
    counts = [cell(finished[1], model, "step", n, n)["counted"] for n in (8, 16)]
    assert low < np.log2(counts[1] / counts[0]) < high


def test_bytes_kept_are_parameters_and_vectors(finished):
  n, m = 30, 10
  extra = {"ann": 0, "qnn": m * n * (n + 1) // 2, "rpqnn": n * m + m}
  for model, numbers in extra.items():
    kept = cell(finished[1], model, "step")["bytes_kept"] - 4 * (
      numbers + n * m + m + 3 * n + 2 * m
    )
    assert 0 <= kept < 100  # XLA adds the pointers of the tuple of results


def test_the_phases_of_a_layer_are_compiled_together_and_only_those_that_are_missing():
  task = EXPERIMENT.task
  points = task.points_of(complexity_config.get_config("smoke"))
  for parts in (1, 2, len(points)):
    groups = task.groups(points, parts)
    assert len(groups) == 3 * 4 and all(len(group.points) == 4 for group in groups)
  (group,) = task.groups([p for p in points if p.values == ("ann", 4, 4, "update")], 1)
  *_, rows = task.run(group, None)
  assert [row.point["phase"] for row in rows] == ["update"]


def test_unknown_preset():
  with pytest.raises(InputError, match="no preset 'fast'"):
    complexity_config.get_config("fast")
