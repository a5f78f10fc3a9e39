"""What check_accelerator.py makes of what its parts say; the parts themselves are tested in test_bench.py."""

import csv
import gzip
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
  monkeypatch.syspath_prepend(str(SCRIPTS))
  monkeypatch.setattr(sys, "argv", ["check_accelerator.py"])
  import check_accelerator

  return check_accelerator


@pytest.fixture
def parts(script, monkeypatch):
  """Its parts replaced: what each was called with, and the kernel's difference and results to give."""

  class Parts:
    calls: list = []
    differences = [2e-7]  # of the cases
    apart = 0.0

  def call(*args):
    Parts.calls.append(args)
    if "bench_tails.py" in args[0]:
      names = [name for name in script.bench_tails.HEADINGS if name != "kernel_difference"]
      rows = [dict.fromkeys(names, 1.0) | {"kernel_difference": d} for d in Parts.differences]
      return "".join(f"{json.dumps(row)}\n" for row in rows)
    if "experiments.table4" in args:
      (workdir,) = (pathlib.Path(a.partition("=")[2]) for a in args if a.startswith("--workdir="))
      workdir.mkdir()
      with gzip.open(script.COMMITTED, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:100]
      rows[0]["accuracy"] = float(rows[0]["accuracy"]) + Parts.apart
      with open(workdir / "results.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return "1 x card (gpu), JAX 9\n" if args[0] == "-c" else "| layers |\n"

  Parts.calls = []
  monkeypatch.setattr(script, "call", call)
  return Parts


def test_it_tells_the_device_and_how_far_from_the_plain_scan_and_the_committed_runs(
  script, parts, capsys
):
  parts.apart = 0.01
  assert script.main() == 0
  told = capsys.readouterr().out
  assert told.startswith("On 1 x card (gpu), JAX 9\n")
  assert "Kernels and plain scan: at most 2.0e-07 apart" in told
  assert (
    "100 runs in " in told
    and "1 runs (1.00 %) differ from the committed ones, at most by 0.01" in told
  )
  assert told.rstrip().endswith("| layers |")
  first, second = (args for args in parts.calls if "experiments.table4" in args)
  cache = [a for a in first if a.startswith("--compilation_cache=")]
  assert cache and cache[0] in second and "--config=configs/table4.py" in first


def test_a_kernel_that_is_too_far_off_is_a_failure(script, parts):
  parts.differences = [2e-5, 2e-7]
  assert script.main() == 1


@pytest.mark.parametrize("differences", ([2e-7, float("nan")], [float("nan"), 2e-7]))
def test_a_kernel_that_gives_no_number_is_a_failure(script, parts, differences):
  parts.differences = differences
  assert script.main() == 1


@pytest.mark.parametrize("first, second", ((1.0, np.nan), (np.nan, 1.0)))
def test_not_a_number_is_no_agreement(script, first, second):
  found = script.bench_tails.farthest([np.ones(2), np.array([first, second])], [np.ones(2)] * 2)
  assert np.isnan(found)


def test_a_part_that_fails_is_told_in_one_sentence(script, monkeypatch):
  def fails(*args):
    if args[0] == "-c":
      return "1 x card\n"
    raise subprocess.CalledProcessError(3, ["python", *args])

  monkeypatch.setattr(script, "call", fails)
  with pytest.raises(
    SystemExit, match="error: a part failed, with status 3: scripts/bench_tails.py"
  ):
    script.main()


def test_what_it_calls_fails_if_a_program_does(script):
  assert script.call("-c", "print(3)") == "3\n"
  with pytest.raises(subprocess.CalledProcessError):
    script.call("-c", "raise SystemExit(3)")
