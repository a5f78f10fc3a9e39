"""Records: what is written is read, and what is damaged costs no more than itself."""

import itertools
import json
import os

import numpy as np
import pytest
from absl import logging
from toy import AXES, point

from qnn_jax.errors import InputError
from qnn_jax.sweeps import machine
from qnn_jax.sweeps import store as stores
from qnn_jax.sweeps.points import Row
from qnn_jax.sweeps.possible import Possible
from qnn_jax.sweeps.store import Store


@pytest.fixture
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
  return told


def store(workdir, name="toy"):
  return Store(workdir, name, AXES)


def row(value=1.5, status="ok", **of_point):
  return Row(point(**of_point), {"value": value, "curve": [1.0, value], "note": None}, status)


def write(workdir, *rows, name="toy", keep_params=False):
  store(workdir, name).write(rows, 4.0, keep_params=keep_params)


def records(workdir):
  return sorted((workdir / "records").glob("*.json"))


def values(workdir, name="toy"):
  found = store(workdir, name).read().found
  return {point: row.metrics["value"] for point, row in found.items()}


def test_what_is_written_is_read(tmp_path, warnings):
  assert store(tmp_path).read().found == {}
  rows = [row(seed=0), row(2.5, "stuck", seed=1), row(float("nan"), "diverged", model="b")]
  written = store(tmp_path)
  written.write(rows, 6.0, keep_params=False)
  found = store(tmp_path).read().found
  assert found == written.found and list(found) == [r.point for r in rows]
  assert [f.status for f in found.values()] == ["ok", "stuck", "diverged"]
  assert found[point(seed=1)].metrics == {"value": 2.5, "curve": [1.0, 2.5], "note": None}
  # What is not finite is null, as JSON has it.
  assert found[point("b")].metrics["curve"] == [1.0, None]
  assert {f.seconds for f in found.values()} == {2.0}
  assert warnings == [] and len(records(tmp_path)) == 1


def test_a_record_says_what_it_is_of_and_where_it_is_from(tmp_path):
  write(tmp_path, row())
  (path,) = records(tmp_path)
  record = json.loads(path.read_text())
  assert record["experiment"] == "toy" and record["fields"] == {"scale": 0.5}
  assert record["axes"] == ["model", "seed"] and record["rows"][0][:2] == ["a", 0]
  origin = record["origin"]
  assert origin.keys() == {
    "finished", "seconds", "host", "system", "device", "devices", "cores", "cores_a_process", "memory",
    "versions",
  }  # fmt: skip
  assert {"python", "jax", "jaxlib", "flax", "optax", "numpy"} <= origin["versions"].keys()
  assert 1 <= origin["cores_a_process"] <= origin["cores"] == os.cpu_count()
  assert origin["devices"] >= 1 and origin["memory"] > 2**28
  assert store(tmp_path).read().origins == {path.stem: origin}


def test_a_record_of_before_this_version_says_less_of_its_machine_and_counts(tmp_path):
  write(tmp_path, row())
  (path,) = records(tmp_path)
  record = json.loads(path.read_text())
  record["origin"] = {"finished": 1.5, "seconds": 2.0, "host": "a", "device": "b", "versions": {}}
  path.write_text(json.dumps(record))
  read = store(tmp_path).read()
  assert len(read.found) == 1 and read.origins == {path.stem: record["origin"]}


@pytest.mark.parametrize("cores", (True, -1, 10**30, 2.5, "2", None), ids=repr)
def test_a_machine_that_cannot_be_is_damage(tmp_path, warnings, cores):
  write(tmp_path, row())
  (path,) = records(tmp_path)
  record = json.loads(path.read_text())
  record["origin"]["cores"] = cores
  path.write_text(json.dumps(record))
  assert store(tmp_path).read().found == {}
  assert "its origin is impossible" in warnings[0]


def test_rows_of_different_fields_are_in_records_of_their_own(tmp_path):
  write(tmp_path, row(seed=0), row(seed=0, scale=1.0), row(seed=1, scale=1.0))
  assert [len(json.loads(p.read_text())["rows"]) for p in records(tmp_path)] in ([1, 2], [2, 1])
  assert len(values(tmp_path)) == 3


def test_another_configuration_s_records_are_never_shown(tmp_path):
  write(tmp_path, row(seed=0))
  write(tmp_path, row(9.0, seed=0, scale=1.0))
  write(tmp_path, row(7.0, seed=1), name="another")
  found = values(tmp_path)
  assert found == {point(): 1.5, point(scale=1.0): 9.0}
  assert point(seed=1) not in found
  assert values(tmp_path, "another") == {point(seed=1): 7.0}


def test_which_of_two_rows_counts_hangs_on_no_clock_and_no_order(tmp_path, monkeypatch, warnings):
  every = []
  for order in itertools.permutations((1.0, 2.0, 3.0)):
    clock = itertools.cycle((300.0, 100.0, 200.0))
    monkeypatch.setattr(machine.time, "time", lambda clock=clock: next(clock))
    workdir = tmp_path / str(order)
    workdir.mkdir()
    for value in order:
      write(workdir, row(value))
    assert len(records(workdir)) == 3
    every.append(values(workdir)[point()])
  assert len(set(every)) == 1
  # More rows that ran together count before fewer, whatever their name.
  write(workdir, row(4.0), row(seed=1))
  assert values(workdir)[point()] == 4.0


def test_rows_that_contradict_each_other_are_told_of_once_with_both_files(tmp_path, warnings):
  for value in (1.0, 1.0001, 2.0):  # the second is rounding
    write(tmp_path, row(value, seed=0), row(value, seed=1))
  reader = store(tmp_path).read()
  (warning,) = warnings
  counts = tmp_path / "records" / f"{reader.found[point()].record}.json"
  assert warning.endswith(f"of all records of that run, {counts} counts")
  both, _, _ = warning.partition(" contradict each other")
  assert sum(str(path) in both for path in records(tmp_path)) == 2
  reader.read()
  assert len(warnings) == 1


def test_times_that_were_measured_contradict_nothing(tmp_path, warnings):
  write(tmp_path, row(1.0))
  write(tmp_path, row(2.0))
  measured = Possible(measured=("value", "curve"))
  Store(tmp_path, "toy", AXES, measured).read()
  assert warnings == []


def test_the_same_rows_again_are_the_same_file(tmp_path):
  write(tmp_path, row(), row(seed=1))
  write(tmp_path, row(), row(seed=1))
  assert len(records(tmp_path)) == 1


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
  reader = store(tmp_path)
  write(tmp_path, row())
  reader.read()
  write(tmp_path, row(seed=1))
  seen = []
  read = stores.records.read
  monkeypatch.setattr(
    stores.records, "read", lambda path, expected: seen.append(path) or read(path, expected)
  )
  assert len(reader.read().found) == 2 and len(seen) == 1


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: content.replace(b'"value"', b'"\xff\xfe"'),
    lambda content: content.replace(b'"axes"', b'"exas"'),
    lambda content: content.replace(b'"curve", ', b""),
    lambda content: content.replace(b'"rows": [[', b'"rows": [17, ['),
    lambda content: content.replace(b'"rows": [[', b'"rows": 17, "more": [['),
    lambda content: content.replace(b'"origin": {', b'"origin": 3, "more": {'),
    lambda content: content.replace(b'"fields": {', b'"fields": 3, "more": {'),
  ],
  ids=("cut off", "empty", "no text", "a field", "a column", "a row", "rows", "origin", "fields"),
)
def test_a_damaged_record_is_named_once_and_set_aside_and_its_rows_done_again(
  tmp_path, warnings, damage
):
  write(tmp_path, row(seed=0))
  (path,) = records(tmp_path)
  write(tmp_path, row(seed=1))
  damaged = damage(path.read_bytes())
  assert damaged != path.read_bytes()
  path.write_bytes(damaged)
  for _ in range(2):
    assert values(tmp_path) == {point(seed=1): 1.5}
  aside = tmp_path / "damaged" / path.name
  assert aside.read_bytes() == damaged and not path.exists()
  (warning,) = warnings
  assert str(path) in warning and "is damaged" in warning and str(aside) in warning
  write(tmp_path, row(seed=0))
  assert values(tmp_path) == {point(seed=0): 1.5, point(seed=1): 1.5}
  assert len(records(tmp_path)) == 2 and len(warnings) == 1


@pytest.mark.parametrize(
  "content, told",
  [
    ([{"model": "ann"}], "an older format (without a number"),
    ({"format": 99}, "a later format (99, where this version has 1)"),
  ],
)
def test_another_format_is_refused_and_untouched(tmp_path, content, told):
  write(tmp_path, row())
  path = tmp_path / "records" / "old.json"
  path.write_text(text := json.dumps(content))
  with pytest.raises(InputError) as error:
    store(tmp_path).read()
  assert str(path) in str(error.value) and told in str(error.value)
  assert path.read_text() == text


def test_other_files_among_the_records_do_not_count(tmp_path, warnings):
  write(tmp_path, row())
  (tmp_path / "records" / ".tmp-0123.json").write_text("{")  # of a writer that was stopped
  (tmp_path / "records" / "notes.txt").write_text("mine")
  assert len(values(tmp_path)) == 1 and warnings == []


def test_kept_parameters_stand_beside_their_record(tmp_path):
  rows = [row(seed=s)._replace(params={"w": np.full(2, s)}, network={"n": s}) for s in (0, 1)]
  write(tmp_path, *rows, keep_params=True)
  (path,) = records(tmp_path)
  assert all(found.params for found in store(tmp_path).read().found.values())
  header, params = stores.arrays.read_tree(tmp_path / "params" / f"{path.stem}.npz", [[1]])
  assert header["points"][1] == [{"model": "a", "seed": 1}, {"n": 1}]
  np.testing.assert_array_equal(params["w"], (1, 1))


def test_an_unknown_status_is_a_mistake_of_the_task(tmp_path):
  with pytest.raises(ValueError, match="the status of a row must be one of .* got 'fine'"):
    write(tmp_path, row(status="fine"))


def test_a_number_that_has_changed_on_disk_is_no_result(tmp_path, warnings):
  """JSON still, and whole: only the record's name, which tells its content, gives it away."""
  write(tmp_path, row(5.0))
  (path,) = records(tmp_path)
  path.write_text(path.read_text().replace("5.0", "6.0", 1))
  assert values(tmp_path) == {}
  assert len(warnings) == 1
