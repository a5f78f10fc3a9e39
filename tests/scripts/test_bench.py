"""The benchmarks, each once and tiny: what they print with --json."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def run(name, *arguments):
  program = [sys.executable, str(SCRIPTS / name), *arguments]
  done = subprocess.run(program, check=False, capture_output=True, text=True, cwd=SCRIPTS.parent)
  assert done.returncode == 0, done.stderr
  return done.stdout


def objects(output):
  """Every line is one JSON object."""
  found = [json.loads(line) for line in output.splitlines()]
  assert found and all(isinstance(row, dict) for row in found)
  return found


def test_per_sample():
  small = ("--seeds=2", "--workers=1", "--cases=ann-30", "--repeats=1", "--json")
  (row,) = objects(run("bench_per_sample.py", *small))
  assert {"case", "seeds", "plain_us", "block_us", "ratio", "max_difference"} <= row.keys()
  assert (row["case"], row["seeds"]) == ("ann-30", 2)
  assert row["plain_us"] > 0 and row["block_us"] > 0 and row["ratio"] > 0
  assert 0 <= row["max_difference"] < 1e-5


def test_tails():
  small = (
    "--seeds=1",
    "--hidden=3",
    "--cases=qnn",
    "--tails=kernel,fused",
    "--repeats=1",
    "--json",
  )
  (row,) = objects(run("bench_tails.py", *small))
  assert [row[key] for key in ("case", "nets", "seeds")] == ["qnn", 1, 1]
  assert row["kernel_us"] > 0 and row["fused_us"] > 0 and row["modules_us"] is None
  assert 0 <= row["kernel_difference"] < 1e-6 and 0 <= row["fused_difference"] < 1e-6


def test_scaling():
  rows = objects(
    run("bench_scaling.py", "--models=ann", "--varied=inputs", "--repeats=1", "--json")
  )
  assert [row["inputs"] for row in rows] == [196, 392, 784]
  assert all((row["model"], row["varied"]) == ("ann", "inputs") for row in rows)
  assert all(row["us_a_step"] > 0 and row["time_ratio"] > 0 for row in rows)
  counts = [row["count_ratio"] for row in rows]
  assert counts[0] == 1 and counts == sorted(counts)


def test_layers():
  small = ("--cases=4x5x3", "--layers=quadratic,lowrank4", "--repeats=1", "--notorch", "--json")
  rows = objects(run("bench_layers.py", *small))
  assert [row["what"] for row in rows] == 2 * ["value+grad", "forward"]
  counts = [15 * 3 + 15 + 3] * 2 + [(5 * 4 + 4) * 3 + 15 + 3] * 2
  for layer, count, row in zip(("quadratic", "quadratic", "lowrank4", "lowrank4"), counts, rows):
    assert [row[key] for key in ("layer", "batch", "n", "m")] == [layer, 4, 5, 3]
    assert row["parameters"] == count
    assert row["ours_ms"] > 0 and row["einsum_ms"] > 0 and row["ratio"] > 0
    assert row["best_einsum"] and row["torch_einsum_ms"] is None


def test_convs():
  rows = objects(run("bench_convs.py", "--cases=2x4x3x2", "--repeats=1", "--json"))
  kinds = ["nnx.Conv", "heavy", "reduced", "low rank 4", "low rank 16", "full"]
  assert [row["layer"] for row in rows] == kinds
  # 3 x 3 x 3 inputs, two neurons: kernel, bias, and what each layer adds.
  added = [0, 27, 28, 4 * 28, 16 * 28, 27 * 28 // 2]
  assert [row["parameters"] for row in rows] == [2 * (28 + more) for more in added]
  assert all(row["ours_ms"] > 0 and row["over_conv"] > 0 for row in rows)
  for row in rows:  # of six one at least is no ratio of equals
    ratio = row["autodiff_ms"] / row["ours_ms"]
    assert row["ratio"] == pytest.approx(ratio, rel=0.05, abs=0.01)


def test_convs_are_shown_as_they_finish():
  """Each row has a timing of its own, with nnx.Conv in its turns, made when it is asked for."""
  code = """
import _timing, bench_convs
from absl import flags
flags.FLAGS(["bench_convs", "--cases=1x2x1x1"])
timed = []
_timing.medians = lambda runs, repeats: timed.append(set(runs)) or dict.fromkeys(runs, 1.0)
rows = bench_convs.rows()
next(rows), next(rows)
assert timed == 2 * [{"nnx.Conv", "ours", "autodiff"}], timed
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS)
  assert done.returncode == 0, done.stderr


def test_table4():
  small = ("--sizes=20", "--seeds=1", "--workers=1", "--repeats=1", "--json")
  (row,) = objects(run("bench_table4.py", *small))
  assert row["size"] == 20 and 0 < row["compiling_s"] < row["seconds"]
  assert 0 < row["products_s"] < row["seconds"] and row["memory_mb"] > 100
  # Of the 300 columns of Table 4's first layers: 20 epochs, inner products in the first, three tests.
  training = 20 * (20 * (2 * 717 * 300 + 30 * 300) + 717 * 60)
  operations = 2 * (training + 3 * 10_000 * 784 * 300)
  assert row["products_s"] * row["peak_gflops"] * 1e9 == pytest.approx(operations, rel=0.1)


def test_sklearn():
  small = ("--small", "--sets=circles", "--features=raw", "--json")
  ours, peer, qda, sgd = objects(run("bench_sklearn.py", *small))
  models = [row["model"] for row in (ours, peer, qda, sgd)]
  assert models == ["ours", "poly2, LR", "QDA", "poly2, SGD"]
  assert ours["less"] == pytest.approx(peer["accuracy"] - ours["accuracy"], abs=0.01)
  assert min(row["accuracy"] for row in (ours, peer, qda)) > 90
  assert all(row["first_s"] > 0 and row["next_s"] > 0 for row in (ours, peer, qda, sgd))


@pytest.mark.parametrize(
  "name, argument, told",
  [
    ("sklearn", "--sets=mnist", "value should be one of"),
    ("per_sample", "--cases=ann-31", "choose among fleet, fleet-shared, ann-30"),
    ("table4", "--sizes=many", "give whole numbers"),
    ("layers", "--cases=128x784", "give BATCHxINxOUT"),
    ("layers", "--layers=deep", "choose among quadratic"),
    ("tails", "--tails=fast", "choose among kernel, fused, modules"),
    ("convs", "--cases=32x32", "give BATCHxSIDExCHANNELSxNEURONS"),
    ("scaling", "--varied=depth", "choose among inputs, hidden, seeds"),
  ],
)
def test_what_makes_no_sense_is_told_before_anything_is_measured(name, argument, told):
  program = [sys.executable, str(SCRIPTS / f"bench_{name}.py"), argument]
  done = subprocess.run(program, check=False, capture_output=True, text=True, cwd=SCRIPTS.parent)
  assert done.returncode == 1
  assert told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.fast
def test_there_is_no_other_benchmark():
  names = ("per_sample", "scaling", "layers", "convs", "table4", "tails", "sklearn")
  tested = {f"bench_{name}.py" for name in names}
  assert {path.name for path in SCRIPTS.glob("bench_*.py")} == tested
