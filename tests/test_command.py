"""A new experiment of two files has the whole command line: sweeps, resume, lists, slices, a table."""

import csv
import json
import re

import pytest
from command_line import TOYS, contents, run, run_all

LINE = str(TOYS / "line.py")


def line(*arguments):
  done = run(LINE, *arguments, cwd=TOYS)
  assert done.returncode == 0 and done.stderr == "", done.stderr
  return done.stdout


def rows(workdir):
  return list(csv.DictReader((workdir / "results.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
  """A workdir with a sweep over two rates, one of which diverges."""
  workdir = tmp_path_factory.mktemp("line") / "swept"
  line(f"--workdir={workdir}", "--sweep.learning_rate=0.1,5e9", "--workers=1")
  return workdir


def test_the_experiment_is_two_files_and_under_sixty_lines():
  files = [TOYS / "line.py", TOYS / "configs/line.py"]
  assert sum(len(path.read_text().splitlines()) for path in files) < 60


def test_a_sweep_has_a_column_before_the_seed_and_a_section_a_value(swept):
  found = rows(swept)
  assert list(found[0]) == ["slope", "learning_rate", "seed", "error", "status"]
  assert len(found) == 2 * 2 * 3
  assert {(r["learning_rate"], r["status"]) for r in found} == {
    ("0.1", "ok"), ("5000000000.0", "diverged"),
  }  # fmt: skip
  assert all((r["error"] == "") == (r["status"] == "diverged") for r in found)
  text = (swept / "line.md").read_text()
  assert re.findall("^## (.*)$", text, re.MULTILINE) == [
    "learning_rate = 0.1", "learning_rate = 5000000000.0",
  ]  # fmt: skip
  table = list(csv.reader((swept / "line.csv").read_text().splitlines()))
  assert table[0][:3] == ["learning_rate", "slope", "runs"] and len(table) == 1 + 4


def test_more_seeds_and_values_run_only_what_is_new_and_the_list_shows_it(swept, tmp_path_factory):
  out = line(f"--workdir={swept}", "--sweep.learning_rate=0.1,5e9,0.2", "--config.seeds=4", "--list",
             "--workers=8")  # fmt: skip
  last = out.splitlines()[-1]
  assert "diverged" in last and "waiting" in last and "runs: 12 of 24 done" in last, out
  before = contents(swept / "records")
  line(f"--workdir={swept}", "--sweep.learning_rate=0.1,5e9,0.2", "--config.seeds=4", "--workers=1")
  after = contents(swept / "records")
  assert before.items() < after.items()  # what was there is untouched
  new = [json.loads(text)["rows"] for path, text in after.items() if path not in before]
  assert sum(map(len, new)) == 24 - 12
  assert len(rows(swept)) == 24
  assert json.loads((swept / "config.json").read_text())["seeds"] == 4


def test_slices_are_disjoint_and_whole(tmp_path):
  done = []
  for i in range(3):
    line(f"--workdir={tmp_path / 'run'}", f"--slice={i}/3", "--workers=1")
    done.append(len(rows(tmp_path / "run")))
  assert done == [2, 4, 6]


def test_a_dry_run_says_how_much_and_touches_nothing(tmp_path):
  out = line(f"--workdir={tmp_path / 'run'}", "--sweep=rates", "--dry_run", "--workers=1")
  assert "12 runs in 1 group (1 program) on 1 worker" in out
  assert re.search(r"^about [\d.]+ (s|min|h), from a measured run", out, re.MULTILINE)
  assert not (tmp_path / "run").exists()


def test_a_report_is_made_from_the_store_alone(tmp_path):
  workdir = tmp_path / "run"
  line(f"--workdir={workdir}", "--workers=1")
  before = contents(workdir)
  for name in ("results.csv", "line.md", "line.csv", "config.json"):
    (workdir / name).unlink()
  line(f"--workdir={workdir}", "--report_only")
  kept = {path: text for path, text in before.items() if path.name != "config.json"}
  assert contents(workdir) == kept
  # Without its config.json the workdir does not pass for another configuration's.
  done = run(LINE, f"--workdir={workdir}", "--config.epochs=19", "--report_only", cwd=TOYS)
  assert done.returncode == 1 and "holds no finished run of this configuration" in done.stderr
  min((workdir / "records").iterdir()).unlink()
  line(f"--workdir={workdir}", "--report_only")
  assert len(rows(workdir)) == 5  # partial


def test_a_saved_configuration_is_a_configuration(tmp_path):
  line(f"--workdir={tmp_path / 'a'}", "--config.epochs=3", "--config.slopes=(3.0,)", "--workers=1")
  line(f"--config={tmp_path / 'a' / 'config.json'}", f"--workdir={tmp_path / 'b'}", "--workers=1")
  assert rows(tmp_path / "a") == rows(tmp_path / "b")
  assert contents(tmp_path / "a")[tmp_path / "a/config.json"] == (
    (tmp_path / "b/config.json").read_bytes()
  )


def mistakes(folder):
  """name: arguments, and what the error must say."""
  files = {
    "syntax.py": "def get_config(:\n",
    "empty.py": "x = 1\n",
    "none.py": "def get_config(preset=''):\n  return 3\n",
    "raises.py": "raise RuntimeError('no\\nidea')\n",
    "saved.json": '{"seeds": true}',
    "other.json": '{"cubes": 3}',
    "half.json": '{"seeds": ',
    "list.json": "[]",
  }
  for name, text in files.items():
    (folder / name).write_text(text)
  within = f"--workdir={folder / 'fresh'}"
  old = folder / "old"
  (old / "records").mkdir(parents=True)
  (old / "records" / "size600-epochs5-seed0-00000000.json").write_text('[{"model": "ann"}]')
  pickled = folder / "pickled"
  (pickled / "checkpoints").mkdir(parents=True)
  (pickled / "checkpoints" / "size600-epochs5-seed0-00000000.ckpt").write_bytes(b"1234")
  config = lambda name: f"--config={folder / name}"
  return {
    "syntax": ([within, config("syntax.py")], "syntax.py, line 1: "),
    "no get_config": ([within, config("empty.py")], "empty.py has no function get_config"),
    "no config": ([within, config("none.py")], "must return an ml_collections.ConfigDict, got int"),
    "raises": ([within, config("raises.py")], "raises.py cannot be used (RuntimeError: no idea)"),
    "no file": ([within, config("nowhere.py")], "no configuration file"),
    "saved boolean": (
      [within, config("saved.json")],
      "seeds must be a whole number, as 3, got True",
    ),
    "saved other": ([within, config("other.json")], "has the field 'cubes', which this experiment"),
    "saved half": ([within, config("half.json")], "half.json is damaged"),
    "saved list": ([within, config("list.json")], "must hold one JSON object"),
    "saved preset": ([within, config("saved.json:smoke")], "has no preset 'smoke'"),
    "many": ([within, "--config.seeds=1000000000"], "asks for 2e+09 runs"),
    "boolean": (
      [within, "--config.slopes=(True,)"],
      "slopes must be numbers, such as (1.0, 2.0), got (True,)",
    ),
    "field": ([within, "--config.slops=3"], "has no field 'slops'; did you mean 'slopes'?"),
    "type": ([within, "--config.seeds=2.5"], "--config.seeds=2.5"),
    "swept field": ([within, "--sweep.rate=1"], "has no field 'rate' to sweep; it has epochs,"),
    "swept type": ([within, "--sweep.epochs=1.5"], "epochs must be a whole number, as 20, got 1.5"),
    "swept boolean": ([within, "--sweep.seeds=True"], "must be a whole number, as 3, got True"),
    "swept text": ([within, "--sweep.epochs=a,b"], "is not Python literals"),
    "swept twice": ([within, "--sweep.epochs=2,2"], "has a value twice"),
    "swept flags": ([within, "--sweep.epochs=2", "--sweep.epochs=3"], "is given twice"),
    "swept nothing": ([within, "--sweep.epochs="], "has no values; write --sweep.epochs=VALUE"),
    "swept tuple": ([within, "--sweep.slopes=1,2"], "slopes is a tuple: write"),
    "swept fixed": ([within, "--sweep.keep_params=True"], "keep_params changes no result"),
    "named": (
      [within, "--sweep=rats"],
      "has no sweep 'rats' (a function sweep_rats); it has rates",
    ),
    "both": ([within, "--sweep=rates", "--sweep.learning_rate=1.0"], "the named sweep changes"),
    "slice": ([within, "--slice=3/3"], "--slice must be I/N with I from 0 to N - 1"),
    "workers": ([within, "--workers=0"], "--workers must be at least 1, got 0"),
    "lease": ([within, "--lease_seconds=0"], "--lease_seconds must be positive and at most"),
    "modes": ([within, "--list", "--dry_run"], "exclude each other"),
    "nothing": ([within, "--config.slopes=()"], "asks for no runs"),
    "value": ([within, "--config.learning_rate=-1"], "learning_rate must be a positive number"),
    "no workdir": ([within, "--report_only"], "there is no workdir"),
    "older record": ([f"--workdir={old}"], "is a record of an older format"),
    "older list": ([f"--workdir={old}", "--list"], "is a record of an older format"),
    "older checkpoint": ([f"--workdir={pickled}"], "is a checkpoint of an older format"),
    "flag": ([within, "--wrokers=2"], "'wrokers'"),
    "argument": ([within, "stray"], "unexpected argument 'stray'"),
    "config": ([within, "--config"], "--config names no file"),
  }


@pytest.fixture(scope="module")
def told(tmp_path_factory):
  folder, output = tmp_path_factory.mktemp("mistakes"), tmp_path_factory.mktemp("output")
  cases = mistakes(folder)
  before = contents(folder)
  ended = run_all([(LINE, arguments, TOYS) for arguments, _ in cases.values()], output)
  assert (
    contents(folder) == before
  )  # nothing is lost, and nothing is in the way of the mended command
  return {name: (done, what) for (name, (_, what)), done in zip(cases.items(), ended, strict=True)}


def test_every_mistake_is_one_sentence_and_changes_nothing(told):
  for name, (done, what) in told.items():
    assert done.returncode == 1, (name, done)
    error = done.stderr
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), (
      name,
      error,
    )
    assert "Traceback" not in error and "\\n" not in error, (name, error)
    assert what in error, (name, error)


def test_a_command_without_config_says_where_it_looked(tmp_path):
  done = run(LINE, "--list", cwd=tmp_path)
  assert done.returncode == 1
  assert f"no configuration file 'configs/line.py' in {tmp_path}; name one with" in done.stderr


def test_the_help_names_every_flag():
  out = run(LINE, "--help", cwd=TOYS).stdout
  for flag in (
    "--config",
    "--workdir",
    "--sweep",
    "--slice",
    "--list",
    "--dry_run",
    "--report_only",
  ):
    assert flag.removeprefix("--") in out


def test_a_file_that_cannot_be_written_is_named_in_one_sentence(tmp_path):
  workdir = tmp_path / "run"
  (workdir / "results.csv").mkdir(parents=True)
  done = run(LINE, f"--workdir={workdir}", "--workers=1", cwd=TOYS)
  assert done.returncode == 1
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  assert "Is a directory" in done.stderr and str(workdir) in done.stderr
  (workdir / "results.csv").rmdir()
  line(f"--workdir={workdir}", "--workers=1")
  assert len(rows(workdir)) == 6


def test_entries_of_a_named_sweep_that_change_different_fields_are_told_apart(tmp_path):
  config = tmp_path / "mine.py"
  config.write_text(
    (TOYS / "configs/line.py").read_text()
    + "\n\ndef sweep_mixed():\n  return [{}, {'learning_rate': 0.2}, {'epochs': 7}]\n"
  )
  workdir = tmp_path / "run"
  line(f"--config={config}", f"--workdir={workdir}", "--sweep=mixed", "--workers=1")
  found = {(row["learning_rate"], row["epochs"]) for row in rows(workdir)}
  assert found == {("0.1", "20"), ("0.2", "20"), ("0.1", "7")} and len(rows(workdir)) == 3 * 6
  assert (workdir / "line.md").read_text().count("\n## learning_rate = ") == 3
