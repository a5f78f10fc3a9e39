"""What experiments share: the claim on a workdir."""

import json

import ml_collections
import pytest

from qnn_jax import experiment
from qnn_jax.errors import InputError
from qnn_jax.sweeps.task import Task


def open_workdir(workdir, config):
  return experiment.open_workdir(workdir, config, Task("toy", {"seeds": "seed"}, run=None))


def config(**changes):
  return ml_collections.ConfigDict(
    {"sizes": (600, 1200), "rate": 0.01, "name": "a", "net": {"hidden": (2, 3)}} | changes
  )


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_workdir_gets_the_whole_configuration(tmp_path):
  workdir = tmp_path / "not" / "there" / "yet"
  assert open_workdir(workdir, config())
  assert [path.name for path in workdir.iterdir()] == ["config.json"]
  found = json.loads((workdir / "config.json").read_text())
  assert found == {"sizes": [600, 1200], "rate": 0.01, "name": "a", "net": {"hidden": [2, 3]}}


def test_the_same_configuration_again_is_a_rerun(tmp_path):
  open_workdir(tmp_path, config())
  (tmp_path / "results.csv").write_text("what was found")
  before = contents(tmp_path)
  assert not open_workdir(tmp_path, config())
  assert contents(tmp_path) == before


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"rate": 0.02}, "rate = 0.01 there, 0.02 here"),
    ({"sizes": (600,)}, "sizes = [600, 1200] there, [600] here"),
    ({"more": 1}, "more = None there, 1 here"),
    ({"net": {"hidden": (2, 4)}}, "net = {'hidden': [2, 3]} there, {'hidden': [2, 4]} here"),
    ({"name": "b", "rate": 1.0}, "name = 'a' there, 'b' here, rate = 0.01 there, 1.0 here"),
  ],
)
def test_another_configuration_is_refused_and_told(tmp_path, changes, told):
  open_workdir(tmp_path, config())
  (tmp_path / "results.csv").write_text("what was found")
  before = contents(tmp_path)
  with pytest.raises(InputError) as error:
    open_workdir(tmp_path, config(**changes))
  assert str(error.value) == (
    f"{tmp_path} holds results of another configuration ({told}); "
    "name another --workdir or use that configuration"
  )
  assert contents(tmp_path) == before


def test_axes_may_grow_and_shrink_and_keep_params_may_change(tmp_path):
  assert open_workdir(tmp_path, config(seeds=3))
  for changes in {"seeds": 5}, {"seeds": 2, "keep_params": True}:
    assert not open_workdir(tmp_path, config(**changes))
    assert json.loads((tmp_path / "config.json").read_text()).items() >= changes.items()


def test_a_workdir_is_given_back_if_nothing_came_of_it(tmp_path):
  open_workdir(tmp_path, config())
  experiment.release(tmp_path)
  assert list(tmp_path.iterdir()) == []
  open_workdir(tmp_path, config())
  (tmp_path / "records").mkdir()
  experiment.release(tmp_path, [tmp_path])
  assert (tmp_path / "config.json").exists()
  outer, inner, other = tmp_path / "outer", tmp_path / "outer" / "inner", tmp_path / "other"
  open_workdir(inner, config())
  experiment.release(inner, [inner, outer])
  assert not outer.exists() and tmp_path.exists()
  other.mkdir()
  open_workdir(other / "made", config())
  (other / "mine").touch()
  experiment.release(other / "made", [other / "made", other])
  assert [path.name for path in other.iterdir()] == ["mine"]


@pytest.mark.parametrize("damaged", (b"", b'{"rate": 0.0', b"\xff\xfe", b"[1, 2]", b"null"))
def test_a_damaged_configuration_is_left_as_it_is(tmp_path, damaged):
  (tmp_path / "config.json").write_bytes(damaged)
  with pytest.raises(InputError, match=r"config.json is damaged; restore or remove it, or name"):
    open_workdir(tmp_path, config())
  assert contents(tmp_path) == {tmp_path / "config.json": damaged}


def test_a_workdir_that_is_a_file_or_within_one(tmp_path):
  file = tmp_path / "file"
  file.write_text("mine")
  for workdir in (file, file / "below"):
    with pytest.raises(InputError, match="^cannot use .*file.* as a workdir: "):
      open_workdir(workdir, config())
  assert file.read_text() == "mine"
