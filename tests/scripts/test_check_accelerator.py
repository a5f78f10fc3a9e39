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
    apart, rows = 0.0, 1  # points, of so many runs
    platform, form = "gpu", "kernel"

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
      for row in rows[: Parts.rows]:
        row["accuracy"] = float(row["accuracy"]) + Parts.apart
      with open(workdir / "results.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    if args == ("-c", script._FORMS):
      return json.dumps([Parts.platform, [("ann-30", "kernel"), ("qnn-30", Parts.form)]])
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
  assert "By default Table 4 takes the kernel for ann-30, qnn-30.\n" in told
  assert told.rstrip().endswith("| layers |")
  first, second = (args for args in parts.calls if "experiments.table4" in args)
  cache = [a for a in first if a.startswith("--compilation_cache=")]
  assert cache and cache[0] in second and "--config=configs/table4.py" in first


def test_a_kernel_that_is_too_far_off_is_a_failure(script, parts):
  parts.differences = [2e-5, 2e-7]
  assert script.main() == 1


@pytest.mark.parametrize(
  ("apart", "rows", "status"),
  ((0.01, 5, 0), (0.02, 5, 0), (0.01, 6, 1), (0.03, 1, 1)),
  ids=("5 percent", "two images", "6 percent", "three images"),
)
def test_table4_too_far_from_the_committed_results_is_a_failure(
  script, parts, apart, rows, status, capsys
):
  parts.apart, parts.rows = apart, rows
  assert script.main() == status
  assert ("error: Table 4 is more than 5 %" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize(("platform", "status"), (("gpu", 1), ("tpu", 1), ("cpu", 0)))
def test_a_kernel_not_taken_is_told_and_on_an_accelerator_a_failure(
  script, parts, platform, status, capsys
):
  parts.platform, parts.form = platform, "fused form"
  assert script.main() == status
  told = capsys.readouterr()
  assert "By default Table 4 takes the kernel for ann-30; the fused form for qnn-30." in told.out
  assert ("error: not every net takes its kernel" in told.err) == bool(status)


def test_what_table4_takes_here_is_the_fused_form_of_a_cpu(script):
  platform, forms = json.loads(script.call("-c", script._FORMS))
  assert platform == "cpu" and len(forms) == 15
  assert dict(forms)["qnn-30"] == "fused form" and set(dict(forms).values()) == {"fused form"}


@pytest.mark.parametrize("parts", ("_SMALL", "_WHOLE"))
def test_every_part_takes_the_flags_it_is_given(script, parts, tmp_path):
  flags, python = getattr(script, parts), [sys.executable]
  programs = {
    "tails": [*python, "scripts/bench_tails.py", "--only_check_args", "--json"],
    "layers": [*python, "scripts/bench_layers.py", "--only_check_args", "--notorch"],
    "table4": [*python, "-m", "experiments.table4", "--list", f"--workdir={tmp_path / 'new'}"],
  }
  assert programs.keys() == flags.keys()
  started = {
    name: subprocess.Popen(
      [*program, *flags[name]], cwd=script.ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for name, program in programs.items()
  }
  said = {name: process.communicate()[1].decode() for name, process in started.items()}
  assert {name: process.returncode for name, process in started.items()} == dict.fromkeys(
    flags, 0
  ), said


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
