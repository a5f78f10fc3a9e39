"""Table 4's command: its files, that it resumes and grows, and what it says of every mistake."""

import csv
import json

import numpy as np
import pytest
from command_line import contents, run, run_all

from qnn_jax.errors import InputError
from qnn_jax.sweeps.store import checksum
from qnn_jax.sweeps.trained import load_model

TINY = (
  "--config=configs/table4.py:smoke", "--config.train_sizes=(40,)", "--config.epochs=(1,2)",
  "--config.hidden=(3,)", "--config.seeds=2",
)  # fmt: skip
FILES = (
  "config.json", "results.csv", "table4.md", "table4.tex", "table4.csv", "table4.png", "fidelity.md",
  "fidelity.csv", "report.html",
)  # fmt: skip


def command(*arguments):
  return run("experiments.table4", *arguments)


def rows_of(workdir):
  return list(csv.DictReader((workdir / "results.csv").read_text(encoding="utf-8").splitlines()))


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
  rows = rows_of(workdir)
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
  marked = json.loads(original)
  marked["rows"][0][-2] = 12.34
  record.unlink()
  mine = record.with_name(f"mine-{checksum(marked)}.json")  # a record's name tells its content
  mine.write_text(json.dumps(marked))
  for name in FILES[1:]:
    (workdir / name).unlink()
  done = command(*TINY, f"--workdir={workdir}")
  assert done.returncode == 0 and done.stderr == "", done.stderr
  assert "100 %" in done.stdout
  assert ",12.34,ok\n" in (workdir / "results.csv").read_text()
  mine.unlink()
  record.write_text(original)
  after = contents(workdir)
  assert after.keys() == before.keys()
  for path, content in before.items():
    if path.name not in FILES[1:]:
      assert after[path] == content
  assert command(*TINY, f"--workdir={workdir}").returncode == 0
  assert contents(workdir) == before


def test_more_of_everything_runs_only_what_is_new(tmp_path, finished):
  workdir = tmp_path / "grows"
  more = (
    "--config=configs/table4.py:smoke", "--config.train_sizes=(40,)", "--config.seeds=3",
    "--config.hidden=(3,4)", "--config.epochs=(1,2,3)", "--config.models=('ann','qnn','rpqnn','heavy')",
  )  # fmt: skip
  for arguments in (TINY, more):
    done = command(*arguments, f"--workdir={workdir}", "--workers=1")
    assert done.returncode == 0 and done.stderr == "", done.stderr
  found = {tuple(row.values())[:5]: float(row["accuracy"]) for row in rows_of(workdir)}
  assert len(found) == 4 * 2 * 3 * 3
  for row in rows_of(finished[1]):
    assert found[tuple(row.values())[:5]] == float(row["accuracy"])  # the first command's, kept
  records = [json.loads(path.read_text()) for path in (workdir / "records").iterdir()]
  assert sum(len(record["rows"]) for record in records) == len(found)  # none was done again


def test_rates_and_starts_are_swept_in_one_program(tmp_path, finished):
  workdir = tmp_path / "swept"
  sweep = (
    "--sweep.learning_rate=0.01,0.5",
    "--sweep.init=symmetric,normal",
    f"--workdir={workdir}",
  )
  done = command(*TINY, *sweep, "--dry_run", "--workers=1")
  assert "48 runs in 1 group (1 program) on 1 worker" in done.stdout, done.stderr
  done = command(*TINY, *sweep, "--workers=1")
  assert done.returncode == 0 and done.stderr == "", done.stderr
  rows = rows_of(workdir)
  assert list(rows[0]) == ["model", "train_size", "epochs", "hidden", "learning_rate", "init", "seed",
                           "accuracy", "status"]  # fmt: skip
  assert len(rows) == 4 * 12
  plain = [row for row in rows if (row["learning_rate"], row["init"]) == ("0.01", "symmetric")]
  for row, alone in zip(plain, rows_of(finished[1]), strict=True):
    assert row["seed"] == alone["seed"]
    assert float(row["accuracy"]) == pytest.approx(float(alone["accuracy"]), abs=0.02)
  accuracies = {key: [float(r["accuracy"]) for r in rows if (r["learning_rate"], r["init"]) == key]
                for key in ((a, b) for a in ("0.01", "0.5") for b in ("symmetric", "normal"))}  # fmt: skip
  assert len(set(map(tuple, accuracies.values()))) == 4
  assert (workdir / "table4.md").read_text().count("\n## learning_rate = ") == 4
  assert (workdir / "table4.png").read_bytes().startswith(b"\x89PNG")


def test_a_swept_tuple_is_a_section_each_and_runs_what_they_share_once(tmp_path):
  workdir = tmp_path / "swept"
  done = command(*TINY, "--sweep.hidden=(3,),(3,4)", f"--workdir={workdir}", "--workers=1")
  assert done.returncode == 0 and done.stderr == "", done.stderr
  rows = rows_of(workdir)
  assert list(rows[0]) == ["model", "train_size", "epochs", "hidden", "seed", "accuracy", "status"]
  assert len(rows) == len({tuple(row.values())[:5] for row in rows}) == 3 * 2 * 2 * 2
  text = (workdir / "table4.md").read_text()
  assert "## hidden = (3,)\n" in text and "## hidden = (3, 4)\n" in text


def test_the_trained_nets_come_back_as_models(tmp_path, finished):
  workdir = tmp_path / "kept"
  done = command(*TINY, "--config.keep_params", f"--workdir={workdir}", "--workers=1")
  assert done.returncode == 0, done.stderr
  assert rows_of(workdir) == rows_of(finished[1])
  from qnn_jax.datasets import load_dataset

  data = load_dataset()
  x = data.test_images / np.float32(255) - np.float32(0.5)
  for row in rows_of(workdir):
    if row["seed"] == "1":
      model = load_model(workdir, model=row["model"], epochs=int(row["epochs"]), seed=1)
      right = np.asarray(model(x)).argmax(-1) == data.test_labels
      assert 100 * right.mean() == pytest.approx(float(row["accuracy"]), abs=0.02)
  with pytest.raises(
    InputError, match="points in .* have model = 'qnn'; say which by epochs, seed"
  ):
    load_model(workdir, model="qnn")
  with pytest.raises(
    InputError, match="keeps no point with modle = 'qnn': there is no field 'modle'"
  ):
    load_model(workdir, modle="qnn")
  with pytest.raises(
    InputError, match="keeps no parameters; run the sweep with --config.keep_params"
  ):
    load_model(finished[1], model="qnn")


def test_a_head_of_one_s_own_is_one_file(tmp_path):
  """A layer registered in a config file is trained by worker processes and has its columns."""
  workdir = tmp_path / "mine"
  done = command("--config=tests/toys/my_head.py", f"--workdir={workdir}", "--workers=2")
  assert done.returncode == 0 and done.stderr == "", done.stderr
  assert {row["model"] for row in rows_of(workdir)} == {"ann", "shifted"}
  assert "| Shifted μ ± σ | Shifted best/worst |" in (workdir / "table4.md").read_text()
  assert "shifted" in done.stdout.splitlines()[0]


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
    "key": (
      [within, "--config.hiden=(3,)"],
      "the configuration has no field 'hiden'; did you mean 'hidden'?",
    ),
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
    "no mnist": ([within, f"--config.data_dir={folder / 'empty'}"], "holds no data set mnist"),
    "workdir": ([f"--workdir={folder / 'file'}"], f"cannot use {folder / 'file'} as a workdir"),
    "damaged": ([f"--workdir={damaged}"], "config.json is damaged"),
    "many hidden": ([within, "--config.hidden=(1000000,)"], "hidden = 1000000 would take"),
    "many seeds": ([within, "--config.seeds=1000000000"], "more than fit in memory"),
    "boolean": (
      [within, "--config.train_sizes=(True,)"],
      "train_sizes must be whole numbers, such as",
    ),
    "workers": ([within, "--workers=0"], "--workers must be at least 1, got 0"),
    "two": ([within, "--workers=two"], "--workers=two"),
    "flag": ([within, "--wrokers=2"], "'wrokers'"),
    "argument": ([within, "stray"], "unexpected argument 'stray'"),
  }


@pytest.fixture(scope="module")
def told(tmp_path_factory, finished):
  """name: how each mistake ended, and what it must name; the folders they were made in."""
  folder, output = tmp_path_factory.mktemp("mistakes"), tmp_path_factory.mktemp("output")
  cases = mistakes(folder)
  cases["other"] = (
    [*TINY, "--config.learning_rate=0.02", f"--workdir={finished[1]}"],
    f"{finished[1]} holds results of another configuration (learning_rate = 0.01 there, 0.02 here)",
  )
  before = contents(folder) | contents(finished[1])
  ended = run_all([("experiments.table4", args, ".") for args, _ in cases.values()], output)
  after = contents(folder) | contents(finished[1])
  return {n: (done, what) for (n, (_, what)), done in zip(cases.items(), ended)}, before, after


def test_every_mistake_is_one_sentence(told):
  for name, (done, what) in told[0].items():
    error = done.stderr
    assert done.returncode == 1, (name, done)
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n"), (
      name,
      error,
    )
    assert "Traceback" not in error and "\\n" not in error, (name, error)
    assert what in error, (name, error)


def test_no_mistake_changes_anything_on_disk(told):
  _, before, after = told
  # Above all there is no config.json of a mistaken configuration, in the way of the mended one.
  assert after == before
