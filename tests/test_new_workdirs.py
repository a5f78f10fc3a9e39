"""Launchers that claim a new workdir at once: its configuration is one launcher's, and never taken from it."""

import json
import os

import ml_collections
import pytest
import racing

from qnn_jax import experiment, living
from qnn_jax.errors import InputError

TRIES = 20


@pytest.mark.parametrize("how", ("claim", "claim_without_links"))
def test_of_launchers_with_different_configurations_those_of_exactly_one_are_accepted(
  tmp_path, how
):
  for folder, accepted in racing.race(tmp_path, how, count=6, tries=TRIES):
    rates = {said["rate"] for said in accepted}
    assert len(rates) == 1 and [said["made"] for said in accepted].count(True) == 1, accepted
    assert len(accepted) == 2  # both of it
    written = json.loads((folder / "run" / "config.json").read_text())
    assert written == {"rate": rates.pop(), "seeds": 2}
    assert {path.name for path in (folder / "run").iterdir()} == {"config.json", "records"}


def test_a_workdir_that_is_given_back_is_nobody_else_s_already(tmp_path):
  accepted_once = 0
  for folder, accepted in racing.race(tmp_path, "claim_and_release", count=6, tries=TRIES):
    rates = {said["rate"] for said in accepted}
    assert len(rates) <= 1, accepted
    path = folder / "run" / "config.json"
    if rates:
      accepted_once += 1
      assert json.loads(path.read_text())["rate"] == rates.pop()
  assert accepted_once  # or this has shown nothing


@pytest.mark.parametrize("kind", ("a folder", "a pipe", "[" * 100_000, "17"), ids=lambda k: k[:8])
def test_a_configuration_that_is_none_is_one_sentence_and_left_alone(tmp_path, kind):
  path = tmp_path / "config.json"
  if kind == "a folder":
    path.mkdir()
  elif kind == "a pipe":
    os.mkfifo(path)
  else:
    path.write_text(kind)
  config = ml_collections.ConfigDict({"rate": 1, "seeds": 2})
  with pytest.raises(InputError, match="config.json is damaged; restore or remove it, or name"):
    experiment.open_workdir(tmp_path, config, racing.TASK)
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_workdir_whose_giving_back_was_cut_short_can_be_had(tmp_path):
  """The launcher was killed between two steps of `release`."""
  config = ml_collections.ConfigDict({"rate": 1, "seeds": 2})
  assert experiment.open_workdir(tmp_path, config, racing.TASK)
  dead = living.this()._replace(pid=2**22 + 1)
  (tmp_path / "records").write_text(living.tag().replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
  assert not experiment.open_workdir(tmp_path, config, racing.TASK)
  assert (tmp_path / "records").is_dir()
