"""Table 4's command: its files, that it resumes, and what it says of every mistake."""

import csv
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TINY = (
  "--config=configs/table4.py:smoke", "--config.train_sizes=(40,)", "--config.epochs=(1,2)",
  "--config.hidden=(3,)", "--config.seeds=2",
)  # fmt: skip
FILES = (
  "config.json", "results.csv", "table4.md", "table4.tex", "table4.csv", "table4.png", "fidelity.md",
  "fidelity.csv",
)  # fmt: skip

# Runs the command once for each list of arguments, in forks of one process: what costs a second or
# two each time is importing. Nothing of JAX has started by then but its modules.
DRIVER = """
import gc, json, os, runpy, sys, warnings
import qnn_jax.experiment, qnn_jax.reports.outputs, qnn_jax.sweeps.display

cases, folder = json.loads(sys.argv[1]), sys.argv[2]
codes = []
gc.freeze()  # a fork then ends at once, without taking apart what it was given
for number, arguments in enumerate(cases):
  with warnings.catch_warnings(action="ignore"):
    child = os.fork()
  if child == 0:
    for stream, name in ((1, "out"), (2, "err")):
      os.dup2(os.open(f"{folder}/{number}.{name}", os.O_CREAT | os.O_WRONLY), stream)
    sys.argv[1:] = arguments
    runpy.run_module("experiments.table4", run_name="__main__", alter_sys=True)
  codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def command(*arguments):
  program = [sys.executable, "-m", "experiments.table4", *arguments]
  return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The command's output and its workdir."""
  workdir = tmp_path_factory.mktemp("table4") / "new"
  done = command(*TINY, f"--workdir={workdir}", "--workers=1")
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  return done.stdout, workdir


def test_it_writes_its_files_and_shows_its_rows(finished):
  output, workdir = finished
  files = [path for path in workdir.iterdir() if path.is_file()]
  assert sorted(path.name for path in files) == sorted(FILES)
  text = (workdir / "results.csv").read_text(encoding="utf-8")
  assert text.startswith("model,train_size,epochs,hidden,seed,accuracy,status\n")
  rows = list(csv.DictReader(text.splitlines()))
  keys = {(row["model"], row["epochs"], row["seed"]) for row in rows}
  assert len(rows) == len(keys) == 3 * 2 * 2
  assert {(row["train_size"], row["hidden"], row["status"]) for row in rows} == {("40", "3", "ok")}
  assert all(0 < float(row["accuracy"]) < 100 for row in rows)
  assert (workdir / "table4.png").read_bytes().startswith(b"\x89PNG")
  configuration = json.loads((workdir / "config.json").read_text())
  assert (configuration["train_sizes"], configuration["learning_rate"]) == ([40], 0.01)
  for epochs in (1, 2):
    (line,) = (line for line in output.splitlines() if line.split()[:3] == ["40", str(epochs), "3"])
    ours = [float(row["accuracy"]) for row in rows if row["epochs"] == str(epochs)]
    assert f"{(ours[0] + ours[1]) / 2:.1f}" in line  # of ann
  assert "fidelity: " in output and str(workdir) in output


def test_a_rerun_trains_nothing_and_makes_the_derived_files_again(finished):
  _, workdir = finished
  # A mark on one record: only what was read from there can carry it into the results.
  record = min((workdir / "records").iterdir())
  original, before = record.read_text(), contents(workdir)
  rows = json.loads(original)
  rows[0]["accuracy"] = 12.34
  record.write_text(json.dumps(rows))
  for name in FILES[1:]:
    (workdir / name).unlink()
  done = command(*TINY, f"--workdir={workdir}")
  assert done.returncode == 0 and done.stderr == "", done.stderr
  assert "100 %" in done.stdout
  assert ",12.34,ok\n" in (workdir / "results.csv").read_text()
  record.write_text(original)
  after = contents(workdir)
  assert after.keys() == before.keys()
  for path, content in before.items():
    if path.name not in FILES[1:]:
      assert after[path] == content


def mistakes(folder):
  """Arguments, and what the error must name."""
  (folder / "file").write_text("mine")
  damaged = folder / "damaged"
  damaged.mkdir()
  (damaged / "config.json").write_text('{"seeds": ')
  (folder / "empty").mkdir()
  within = f"--workdir={folder / 'fresh'}"
  return {
    "head": ([within, "--config.models=('ann','cubic')"], "unknown head 'cubic'"),
    "hidden": ([within, "--config.hidden=(0,)"], "hidden must be whole numbers of at least 1"),
    "size": (
      [within, "--config.train_sizes=(600,70000)"],
      "train_sizes holds 70000, but the data set has 60000 training samples",
    ),
    "preset": ([within, "--config=configs/table4.py:tiny"], "unknown preset 'tiny'"),
    "key": ([within, "--config.hiden=(3,)"], "the configuration has no field 'hiden'; see"),
    "file": ([within, "--config=configs/nowhere.py"], "no configuration file 'configs/nowhere.py'"),
    "type": ([within, "--config.seeds=many"], "--config.seeds=many"),
    "fraction": ([within, "--config.seeds=2.5"], "--config.seeds=2.5"),
    "element": ([within, "--config.epochs=five"], "epochs must be whole numbers"),
    "rate": ([within, "--config.learning_rate=-1"], "learning_rate must be a positive number"),
    "method": ([within, "--config.method=batch"], "unknown method 'batch'"),
    "data": (
      [within, f"--config.data_dir={folder / 'nowhere'}"],
      f"data_dir {folder / 'nowhere'} is not a directory",
    ),
    "no mnist": ([within, f"--config.data_dir={folder / 'empty'}"], "holds no mnist/3.0.1"),
    "workdir": ([f"--workdir={folder / 'file'}"], f"cannot use {folder / 'file'} as a workdir"),
    "damaged": ([f"--workdir={damaged}"], "config.json is damaged"),
    "workers": ([within, "--workers=0"], "--workers must be at least 1, got 0"),
    "two": ([within, "--workers=two"], "--workers=two"),
    "flag": ([within, "--wrokers=2"], "'wrokers'"),
    "argument": ([within, "stray"], "unexpected argument 'stray'"),
  }


NAMES = (
  "head", "hidden", "size", "preset", "key", "file", "type", "fraction", "element", "rate",
  "method", "data", "no mnist", "workdir", "damaged", "workers", "two", "flag", "argument", "other",
)  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory, finished):
  """name: exit code, stderr and what it must name, of every mistake; the folders they were made in."""
  folder, output = tmp_path_factory.mktemp("mistakes"), tmp_path_factory.mktemp("output")
  cases = mistakes(folder)
  cases["other"] = (
    [*TINY, "--config.seeds=3", f"--workdir={finished[1]}"],
    f"{finished[1]} holds results of another configuration (seeds = 2 there, 3 here)",
  )
  before = contents(folder) | contents(finished[1])
  arguments = [case[0] for case in cases.values()]
  done = subprocess.run(
    [sys.executable, "-c", DRIVER, json.dumps(arguments), str(output)],
    check=False, cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  codes = json.loads(done.stdout)
  errors = [(output / f"{i}.err").read_text() for i in range(len(cases))]
  results = {
    name: (code, error, case[1])
    for (name, case), code, error in zip(cases.items(), codes, errors, strict=True)
  }
  return results, before, contents(folder) | contents(finished[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence(told, name):
  code, error, what = told[0][name]
  assert code not in (0, None)
  assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), error
  assert "Traceback" not in error and "\\n" not in error
  assert what in error


def test_no_mistake_changes_anything_on_disk(told):
  results, before, after = told
  assert set(results) == set(NAMES)
  # Above all there is no config.json of a mistaken configuration, in the way of the mended one.
  assert after == before
