"""Damage to what is no record: checkpoints, leases, parameters. It never stops a sweep, and no result hangs on it."""

import json
import os
import shutil

import numpy as np
import pytest
import racing
from absl import logging

from qnn_jax.sweeps import arrays, checkpoints, damage, launch
from qnn_jax.sweeps.leases import unit_name
from qnn_jax.sweeps.store import Store

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def warnings(monkeypatch):
  told = []
  monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
  monkeypatch.setattr(damage, "_named", set())
  return told


def values(workdir):
  found = Store(workdir, "racing", racing.AXES, racing.TASK.possible).read().found
  return {point["seed"]: row.metrics["value"] for point, row in found.items()}


def put(path, kind):
  """Something that is no file of ours in the place of one."""
  match kind:
    case "a folder":
      path.mkdir()
    case "a pipe":
      os.mkfifo(path)
    case "a link to nothing":
      path.symlink_to("nowhere")
    case _:
      path.write_bytes(kind)


KINDS = ("a folder", "a pipe", "a link to nothing", b"", b"null", b"[" * 100_000, bytes(1000))


def whole(count=2):
  return {seed: seed / 4 for seed in range(count)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind[:9]))
def test_checkpoints(tmp_path, warnings, kind):
  workdir = tmp_path / "run"
  (workdir / "checkpoints").mkdir(parents=True)
  path = workdir / "checkpoints" / "step1-00000000.npz"
  put(path, kind)
  racing.run_sweep(workdir, 2)
  assert values(workdir) == whole()
  assert len(warnings) == 1 and str(path) in warnings[0] and "is damaged" in warnings[0]
  assert os.path.lexists(workdir / "damaged" / path.name)
  assert {p.name for p in workdir.iterdir()} == {"damaged", "records"}


HEADERS = {
  "no lanes": {"format": 1, "step": 3},
  "lanes of numbers": {"format": 1, "lanes": [1, 2], "step": 3},
  "a step of text": {"format": 1, "lanes": [], "step": "3"},
  "a step of truth": {"format": 1, "lanes": [], "step": True},
  "no format": {"lanes": [], "step": 3},
  "a format of text": {"format": "x", "lanes": [], "step": 3},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_checkpoints(tmp_path, warnings, name):
  workdir = tmp_path / "run"
  workdir.mkdir()
  path = workdir / "checkpoints" / "step3-00000000.npz"
  arrays.write_tree(path, {"w": np.ones(2)}, HEADERS[name])
  racing.run_sweep(workdir, 2)
  assert values(workdir) == whole() and len(warnings) == 1 and str(path) in warnings[0]


@pytest.mark.parametrize("tree", ({"w": np.ones(1)}, {"w": np.ones(())}, {"w": np.ones((3, 3))}))
def test_arrays_that_are_not_of_a_checkpoint_s_lanes(tmp_path, warnings, tree):
  workdir = tmp_path / "run"
  workdir.mkdir()
  path = checkpoints.write(workdir, racing.points(2), 1, tree)
  racing.run_sweep(workdir, 2)
  assert values(workdir) == whole() and len(warnings) == 1 and str(path) in warnings[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind[:9]))
def test_leases(tmp_path, monkeypatch, kind):
  workdir = tmp_path / "run"
  (workdir / "leases").mkdir(parents=True)
  put(workdir / "leases" / f"{unit_name(racing.points(2))}-0.json", kind)
  monkeypatch.setattr(launch, "_WAIT", 0.02)
  racing.run_sweep(workdir, 2, lease_seconds=0.3)
  assert values(workdir) == whole()


def test_parameters_that_are_gone_are_trained_again(tmp_path):
  workdir = tmp_path / "run"
  racing.run_sweep(workdir, 4, keep_params=True)
  before = {path.name: path.read_bytes() for path in (workdir / "params").iterdir()}
  assert racing.run_sweep(workdir, 4, keep_params=True) == []
  min((workdir / "params").iterdir()).unlink()
  assert racing.run_sweep(workdir, 4, keep_params=True)
  assert {path.name: path.read_bytes() for path in (workdir / "params").iterdir()} == before
  assert len(list((workdir / "records").iterdir())) == 4
  assert racing.run_sweep(workdir, 4, keep_params=True) == []
  shutil.rmtree(workdir / "params")
  assert racing.run_sweep(workdir, 4) == []  # nobody asks for them


def test_a_lease_is_read_whatever_is_in_it(tmp_path, monkeypatch):
  workdir = tmp_path / "run"
  (workdir / "leases").mkdir(parents=True)
  path = workdir / "leases" / f"{unit_name(racing.points(2))}-0.json"
  monkeypatch.setattr(launch, "_WAIT", 0.02)
  process = {"machine": 1, "pid": "x", "started": []}
  for content in (
    process,
    {"process": process},
    {"process": 3},
    {"process": process | {"pid": 10**30}},
  ):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    shutil.rmtree(workdir / "records", ignore_errors=True)
    racing.run_sweep(workdir, 2, lease_seconds=0.1)
    assert values(workdir) == whole() and not (workdir / "leases").exists()
