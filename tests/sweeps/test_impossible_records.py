"""Records with impossible values: each is named once, set aside, and its runs are done again, once."""

import copy
import json
import math
import os
import shutil

import in_process
import ml_collections
import pytest
from absl import logging
from odd_task import CONFIG, EXPERIMENT, RAN, TASK

from qnn_jax.errors import InputError
from qnn_jax.experiment import Experiment
from qnn_jax.sweeps import damage, launch, status
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.records import checksum

DEEP = "a place for something nested so deeply that nothing reads it"
ODD = {
  "null": None, "true": True, "minus one": -1, "250": 250, "a fraction": 150.37, "enormous": 10**400,
  "infinite": math.inf, "no number": math.nan, "text": "x", "half a character": "\ud800", "a list": [],
  "an object": {"a": 1}, "lists": [[[1]]], "deep": DEEP,
}  # fmt: skip
# What these are elsewhere too: another seed or another rate, a longer time, are possible.


@pytest.fixture
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
  return told


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("odd") / "run"
  in_process.run(EXPERIMENT, CONFIG, workdir)
  return workdir


def places(value, at=()):
  """The path of every value in it."""
  yield at
  if isinstance(value, (dict, list)):
    for key in value if isinstance(value, dict) else range(len(value)):
      yield from places(value[key], (*at, key))


def changed(record, at, value):
  if not at:
    return value
  record = copy.deepcopy(record)
  part = record
  for key in at[:-1]:
    part = part[key]
  part[at[-1]] = value
  return record


def write(folder, record):
  """Puts it under the name that its content has."""
  sum_of = checksum(record) if isinstance(record, dict) else "00000000"
  path = folder / f"modela-seed0-{sum_of}.json"
  path.write_text(json.dumps(record).replace(json.dumps(DEEP), "[" * 5000 + "]" * 5000))
  return path


def everything(workdir):
  """What a list, a report, a run and another run make of a workdir; how many ran in each of the two."""
  _, sweep = in_process.sweep_of(EXPERIMENT, CONFIG, workdir)
  status.list_lines(status.states(sweep, in_process.store_of(EXPERIMENT, workdir)))
  in_process.report(EXPERIMENT, CONFIG, workdir)
  counts = []
  for _ in range(2):
    RAN.clear()
    in_process.run(EXPERIMENT, CONFIG, workdir)
    counts.append(len(RAN))
  return counts


def test_whatever_stands_in_whatever_place_of_a_record(finished, tmp_path, warnings, monkeypatch):
  monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # which takes most of the time
  path = min(finished.glob("records/*.json"))
  record, before = json.loads(path.read_text()), in_process.files(finished)
  tried = caught = 0
  for at in places(record):
    for name, value in ODD.items():
      if at == ("format",) and name == "250":
        continue  # a later version's, which is refused untouched
      workdir = tmp_path / str(tried)
      shutil.copytree(finished, workdir)
      (workdir / "records" / path.name).unlink()
      mine = write(workdir / "records", changed(record, at, value))
      del warnings[:]
      counts = everything(workdir)
      assert in_process.files(workdir) == before, (at, name)
      assert counts[1] == 0, (at, name, counts)  # once is enough
      aside = list(workdir.glob("damaged/*"))
      assert len(aside) <= 1, (at, name)
      if aside:
        caught += 1
        assert [str(mine) in told and str(aside[0]) in told for told in warnings] == [True], (
          warnings
        )
      else:  # another's, or nothing that a result hangs on; then nothing is wrong
        others = 2 if at[:1] in (("experiment",), ("fields",)) else 1 if at[:1] == ("rows",) else 0
        assert counts[0] == others, (at, name)
      shutil.rmtree(workdir)
      tried += 1
  assert tried > 400 and caught > tried / 2, (tried, caught)


def bad_rows(record):
  rows = record["rows"]
  yield "a row twice", record | {"rows": [*rows, rows[0]]}
  yield "no rows", record | {"rows": []}
  yield "a short row", record | {"rows": [rows[0][:-1]]}
  yield "axes in another order", record | {"axes": record["axes"][::-1]}
  yield "axes of other names", record | {"axes": ["kind", "seed"]}
  yield "a column less", record | {"metrics": [], "rows": [[*row[:2], row[-1]] for row in rows]}
  yield "a column twice", record | {"metrics": ["accuracy", "accuracy"]}
  yield "a status", record | {"rows": [[*row[:-1], "fine"] for row in rows]}
  yield "more", record | {"more": 1}
  for key in record:
    yield f"without {key}", {k: v for k, v in record.items() if k != key}


def test_rows_and_columns_that_cannot_be(finished, tmp_path, warnings):
  path = min(finished.glob("records/*.json"))
  record = json.loads(path.read_text())
  for name, bad in bad_rows(record):
    workdir = tmp_path / name
    shutil.copytree(finished, workdir)
    (workdir / "records" / path.name).unlink()
    mine = write(workdir / "records", bad)
    del warnings[:]
    assert everything(workdir) == [2, 0], name
    assert len(warnings) == 1 and str(mine) in warnings[0], (name, warnings)
    assert in_process.files(workdir) == in_process.files(finished), name
    assert len(list((workdir / "damaged").iterdir())) == 1


def no_file(path, kind):
  match kind:
    case "a folder":
      path.mkdir()
      (path / "mine").write_text("kept")
    case "a pipe":
      os.mkfifo(path)
    case "a socket":
      import socket

      with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(path.parent)  # such a name must be short
        try:
          sock.bind(path.name)
        finally:
          os.chdir(here)
    case "a device":
      try:
        os.mknod(path, 0o600 | 0o20000, os.makedev(1, 5))  # endless zeros
      except OSError:
        pytest.skip("only root makes devices")
    case "a link to nothing":
      path.symlink_to("nowhere")
    case "a link to itself":
      path.symlink_to(path.name)
    case _:
      path.write_text(kind)


KINDS = (
  "a folder", "a pipe", "a socket", "a device", "a link to nothing", "a link to itself",
  "", "17", "null", "[]", "{}", '"text"', "[" * 100_000, '{"format": 1}', "1" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[:20] or "empty")
def test_what_is_no_record_at_all(finished, tmp_path, warnings, kind):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  path = min(workdir.glob("records/*.json"))
  path.unlink()
  no_file(path, kind)
  assert everything(workdir) == [2, 0]
  assert in_process.files(workdir) == in_process.files(finished)
  assert len(warnings) == 1 and str(path) in warnings[0], warnings
  assert os.path.lexists(workdir / "damaged" / path.name)


def test_a_name_that_is_taken_among_the_damaged_gets_a_number(finished, tmp_path, warnings):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  path = min(workdir.glob("records/*.json"))
  for text in ("one", "two", "three"):
    path.write_text(text)
    assert everything(workdir) == [2, 0]
  aside = sorted((workdir / "damaged").iterdir())
  assert sorted(p.read_text() for p in aside) == ["one", "three", "two"] and len(warnings) == 3
  assert {p.name for p in aside} == {path.name, f"{path.stem}.1.json", f"{path.stem}.2.json"}


def test_a_record_that_may_not_be_read_stays_and_is_named_once(
  finished, tmp_path, warnings, monkeypatch
):
  """It may be whole, and another user's."""
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  path, opened = min(workdir.glob("records/*.json")), os.open
  theirs = path.stat().st_ino

  def refuse(name, *args, **kwargs):
    if os.fspath(name) == str(path) and path.stat().st_ino == theirs:
      raise PermissionError(13, "Permission denied", str(path))
    return opened(name, *args, **kwargs)

  monkeypatch.setattr(os, "open", refuse)
  monkeypatch.setattr(damage, "_named", set())
  assert everything(workdir) == [2, 0]
  assert in_process.files(workdir) == in_process.files(finished)
  (warning,) = warnings
  assert str(path) in warning and "cannot be read (Permission denied)" in warning
  assert not (workdir / "damaged").exists()


def test_a_good_record_that_has_taken_a_damaged_one_s_place_is_not_moved(
  finished, tmp_path, warnings
):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  path = min(workdir.glob("records/*.json"))
  good = path.read_text()
  path.write_text("half")
  error = damage.Damaged("it is half", os.stat(path))
  path.write_text(good)  # another launcher was quicker
  damage.set_aside(workdir, path, error, "its runs are done again")
  assert path.read_text() == good and warnings == [] and not (workdir / "damaged").exists()


def test_rows_that_the_task_calls_impossible_are_its_mistake_and_no_record(tmp_path):
  def wrong(group, job):
    yield [Row(point, {"accuracy": 101.0, "curve": [1.0, 2.0]}) for point in group.points]

  import dataclasses

  task = dataclasses.replace(TASK, run=wrong)
  _, sweep = in_process.sweep_of(Experiment(task), CONFIG, tmp_path)
  store = in_process.store_of(EXPERIMENT, tmp_path)
  failed = [
    e for e in launch.run(sweep, store, launch.plan(sweep, store)) if isinstance(e, launch.Failed)
  ]
  assert len(failed) == 2 and "impossible: accuracy cannot be 101.0" in failed[0].why
  assert not (tmp_path / "records").exists()


def test_only_the_sweep_s_runs_are_in_the_results_and_others_are_told_of_once(
  finished, tmp_path, warnings
):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  path = min(workdir.glob("records/*.json"))
  record = json.loads(path.read_text())
  record["rows"] = [[*row[:1], 77, *row[2:]] for row in record["rows"][:1]]
  mine = write(workdir / "records", record)
  for _ in range(2):
    del warnings[:]
    in_process.run(EXPERIMENT, CONFIG, workdir)
    assert in_process.files(workdir) == in_process.files(finished)
    (warning,) = warnings
    assert (
      str(mine) in warning and "config.json" in warning and "1 run that is not asked for" in warning
    )


def test_without_its_configuration_a_workdir_passes_for_no_other_s(finished, tmp_path, warnings):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  (workdir / "config.json").unlink()
  other = ml_collections.ConfigDict(CONFIG.to_dict() | {"rate": 0.25})
  before = in_process.files(workdir)
  _, sweep = in_process.sweep_of(EXPERIMENT, other, workdir)
  store = in_process.store_of(EXPERIMENT, workdir)
  assert {state.state for state in status.states(sweep, store)} == {"waiting"}
  assert not any(point in store.found for point in sweep.points)  # what --report_only asks first
  RAN.clear()
  in_process.run(EXPERIMENT, other, workdir)
  assert len(RAN) == 4  # trained anew
  assert in_process.files(workdir).keys() == before.keys()
  assert any("are not asked for here" in told and "rate" in told for told in warnings)
  # The first one's, asked for again, is refused; its records are as they were.
  with pytest.raises(InputError, match="rate = 0.25 there, 0.5 here"):
    in_process.run(EXPERIMENT, CONFIG, workdir)
