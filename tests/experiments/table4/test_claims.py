"""The claims' numbers, counted by hand on tables made for it."""

import numpy as np
import pytest
from scipy import stats

from experiments.table4.claims import claims, interval
from experiments.table4.summary import Run, summarize
from experiments.table4.welch import cell_tests


def judged(runs, paper):
  return claims(runs, paper, cell_tests(summarize(runs), paper))


def verdicts(runs, paper, start):
  return [claim.verdict for claim in judged(runs, paper) if claim.text.startswith(start)]


def test_the_paper_s_own_means_uphold_what_the_paper_says(paper, make_runs):
  found = judged(make_runs(scatter=0.01), paper)
  for claim in found:
    if "RPQNN has almost" in claim.text:
      assert claim.ours == claim.paper and claim.verdict != "not in these runs"
    elif "save hidden ones" in claim.text:
      assert (claim.paper, claim.ours) == ("11 of 12", "11 of 12")
    else:
      assert claim.verdict == "holds", claim
  assert len(found) == 15


def test_models_that_are_alike_uphold_nothing(paper, make_runs):
  rng = np.random.default_rng(0)
  runs = [run._replace(accuracy=float(rng.normal(90, 1))) for run in make_runs(seeds=25)]
  assert not {"holds"} & set(verdicts(runs, paper, "QNN significantly"))
  assert verdicts(runs, paper, "QNN is the better")[0].startswith("holds in part: not in ")
  assert "holds" not in verdicts(runs, paper, "The gap of QNN")
  assert set(verdicts(runs, paper, "Table 5's accuracy")) == {"does not hold"}


def test_differences_are_taken_seed_by_seed(paper, make_runs):
  """What a seed has in common for all models does not widen an interval."""
  rng = np.random.default_rng(0)
  noise = rng.normal(0, 3, 8)
  runs = [
    run._replace(accuracy=50 + noise[run.seed] + 2 * (run.model == "qnn") + 0.1 * (run.seed % 2))
    for run in make_runs(sizes=(600,), seeds=8)
  ]
  claim = next(claim for claim in judged(runs, paper) if claim.text.startswith("QNN significantly"))
  assert claim.ours == "+2.00 [+2.00, +2.00]" and claim.verdict == "holds"


def test_a_seed_that_lacks_a_run_is_left_out(paper, make_runs):
  runs = make_runs(sizes=(600,), seeds=3)
  lost = next(i for i, run in enumerate(runs) if run.model == "ann" and run.seed == 1)
  runs[lost] = runs[lost]._replace(accuracy=None, status="diverged")
  assert verdicts(runs, paper, "QNN significantly") == ["holds"]
  assert "not in these runs" not in verdicts(
    runs, paper, "The gap of QNN over ANN closes with epochs"
  )


def test_a_claim_needs_only_the_models_that_it_is_about(paper, make_runs):
  whole = make_runs(scatter=0.01)
  without = [run for run in whole if run.model != "rpqnn"]
  of = lambda runs: {claim.text: claim for claim in judged(runs, paper)}
  every, found = of(whole), of(without)
  about = [text for text in found if "RPQNN" not in text]
  assert len(about) == 8 and all(found[text] == every[text] for text in about)
  assert verdicts(without, paper, "RPQNN has almost") == ["not in these runs"]


def test_models_without_a_seed_in_common_are_not_compared(paper, make_runs):
  runs = [run for run in make_runs(seeds=4) if (run.model == "ann") == (run.seed < 2)]
  assert set(verdicts(runs, paper, "QNN")) == {"not in these runs"}
  assert set(verdicts(runs, paper, "Quadratic output")) == {"holds in part: in 11 of 12"}


@pytest.mark.parametrize("part", ([], [Run("ann", 600, 5, 10, 0, 50.0)]))
def test_what_is_not_there_is_said(paper, part):
  found = judged(part, paper)
  assert {claim.verdict for claim in found if "costs hardly" not in claim.text} <= {
    "not in these runs"
  }


def test_the_interval_is_student_s():
  values = [1.0, 2.0, 4.0, 4.5]
  found = interval(values)
  low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
  assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
  assert str(interval([1.0])) == "+1.00"
