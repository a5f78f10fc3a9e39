"""heads: equal sizes, equal steps, pairs by seed; intervals and Holm's procedure beside SciPy and by hand."""

import numpy as np
import pytest
from in_process import files, read_csv, run
from scipy import stats

from configs.heads import get_config
from experiments.heads.__main__ import EXPERIMENT
from experiments.heads.differences import lines
from experiments.heads.task import check, check_data
from qnn_jax.errors import InputError


def small(**changes):
  config = get_config("smoke")
  of_digits = {
    "dataset": "digits", "networks": ("mlp",), "parameters": 975, "train_sizes": (64, 100),
    "batch_size": 32, "steps": 4, "learning_rates": (0.01,),
  }  # fmt: skip
  config.update(of_digits | changes)
  return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("heads")
  run(EXPERIMENT, small(), workdir)
  return workdir


def test_sizes_steps_and_files(finished):
  rows = read_csv(finished / "results.csv")
  assert len(rows) == 2 * 2 * 2
  # 64 images are 2 steps an epoch, 100 are 3: whole epochs that have 4 steps at least.
  assert {(row["train_size"], row["epochs_run"]) for row in rows} == {("64", "2"), ("100", "2")}
  assert {row["parameters"] for row in rows} and all(
    abs(int(row["parameters"]) - 975) <= 0.02 * 975 for row in rows
  )
  written = files(finished)
  header = written["results.csv"].split(b"\n")[0].split(b",")
  assert header[:5] == [b"network", b"head", b"train_size", b"seed", b"accuracy"]
  assert len(set(header)) == len(header)
  assert {"heads.md", "heads.csv", "heads.png", "results.csv"} <= written.keys()
  assert written["heads.md"].count(b"\n| QNN |") == 2


def test_another_head_later_runs_alone(finished, tmp_path):
  run(EXPERIMENT, small(heads=("ann",)), tmp_path)
  groups = run(EXPERIMENT, small(), tmp_path)
  assert {point["head"] for group in groups for point in group.points} == {"qnn"}
  numbers = lambda path: [
    {k: v for k, v in row.items() if k not in ("step_ms", "step_mb")} for row in read_csv(path)
  ]
  assert numbers(tmp_path / "results.csv") == numbers(finished / "results.csv")


def rows_of(values):
  """(head, seed) -> accuracy, None for a diverged run."""
  return [
    {
      "network": "mlp", "train_size": 5, "head": head, "seed": seed, "accuracy": accuracy,
      "status": "diverged" if accuracy is None else "ok", "parameters": 7, "step_ms": 1.0, "step_mb": 2.0,
    }
    for (head, seed), accuracy in values.items()
  ]  # fmt: skip


def test_differences_are_of_pairs():
  rng = np.random.default_rng(0)
  easy = rng.normal(90, 5, 8)  # seeds differ far more than heads do
  ours = {"a": easy, "b": easy + rng.normal(1, 0.1, 8), "c": easy + rng.normal(0, 0.1, 8)}
  found = {
    line.head: line
    for line in lines(
      rows_of({(h, s): float(v) for h, of in ours.items() for s, v in enumerate(of)}), "a"
    )
  }
  for head in "bc":
    line, test = found[head], stats.ttest_rel(ours[head], ours["a"])
    low, high = test.confidence_interval(0.95)
    assert line.difference == pytest.approx((low + high) / 2)
    assert line.difference_interval == pytest.approx((high - low) / 2)
    assert line.p == pytest.approx(test.pvalue)
  low, high = stats.t.interval(0.95, 7, easy.mean(), stats.sem(easy))
  assert (found["a"].accuracy, found["a"].interval) == pytest.approx(
    (easy.mean(), (high - low) / 2)
  )
  assert found["a"].difference is None and found["a"].adjusted is None
  # Holm, two of them: twice the smaller p; the larger, not below that.
  assert found["b"].adjusted == pytest.approx(2 * found["b"].p)
  assert found["c"].adjusted == pytest.approx(max(2 * found["b"].p, found["c"].p))


def test_a_diverged_run_leaves_its_pair_out():
  values = {("a", s): 90.0 + s for s in range(4)} | {("b", s): 91.0 + 2 * s for s in range(4)}
  values["a", 3] = values["b", 0] = None
  _, line = lines(rows_of(values), "a")
  assert (line.runs, line.diverged) == (3, 1)
  assert line.difference == pytest.approx(np.mean([93 - 91, 95 - 92]))


@pytest.mark.parametrize(
  "changes, told",
  [
    ({"heads": ("ann", "ann")}, "^heads must hold at least one value and each once"),
    ({"heads": ("ann", "qn")}, "^head: unknown head 'qn'"),
    ({"networks": ("rnn",)}, "^network must be one of mlp, cnn"),
    ({"train_sizes": (10,)}, "^train_sizes must be at least batch_size, 32, got 10$"),
    ({"learning_rates": (0.1, 0.2)}, "^learning_rates must be one a network, 1, got"),
    ({"steps": 0}, "^steps must be a whole number of at least 1"),
  ],
)
def test_what_makes_no_sense_is_refused(changes, told):
  with pytest.raises(InputError, match=told):
    check(small(**changes))


def test_a_size_that_a_network_cannot_have_is_refused():
  with pytest.raises(InputError, match="^no network of the head ann has 20 parameters to 2 %"):
    check_data(small(parameters=20))
