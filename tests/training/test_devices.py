"""Runs over several devices: the cases of four_devices_training.py in a process of its own, which must say how many."""

import os
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.training import devices, per_sample, sharded
from qnn_jax.training.fleet import Fleet, Net

CASES = pathlib.Path(__file__).parent / "four_devices_training.py"

one_device = pytest.mark.skipif(jax.local_device_count() > 1, reason="there are several devices")


def test_on_four_devices():
  flags = "--xla_force_host_platform_device_count=4"
  command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", str(CASES)]
  ended = subprocess.run(
    command,
    check=False,
    env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=1200,
  )
  assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2_000:]
  assert " passed" in ended.stdout and "skipped" not in ended.stdout


@one_device
def test_on_one_device_nothing_is_split():
  double = lambda x: 2 * x
  program = devices.over_runs(double, (0,))
  assert program.__wrapped__ is double
  assert "shard_map" not in str(jax.make_jaxpr(program)(np.ones(3)))
  assert devices.put(np.ones(5), 0).shape == (5,) and devices.width(5) == 5
  fleet = Fleet((Net("ann", 3),), in_features=4, classes=10)
  made = []
  make = lambda fleet: made.append(per_sample.make_trainer(fleet, per_sample.Method())) or made[0]
  assert sharded.make_trainer(make, fleet, sharded.parts_of(fleet.nets)) is made[0]


@pytest.mark.parametrize(
  ("count", "net_parts", "heads"),
  (
    (1, None, [{"ann", "qnn", "rpqnn"}]),
    (2, None, [{"ann", "rpqnn"}, {"qnn"}]),
    (4, None, [{"ann"}, {"qnn"}, {"rpqnn"}]),
    (4, 1, [{"ann", "qnn", "rpqnn"}]),
  ),
  ids=("one", "two", "four", "asked"),
)
def test_accelerators_divide_kinds(count, net_parts, heads):
  nets = [Net(head, h) for h in (10, 15, 20, 25, 30) for head in ("ann", "qnn", "rpqnn")]
  chips = [types.SimpleNamespace(platform="gpu", id=i) for i in range(count)]
  parts = sharded.parts_of(nets, net_parts, chips)
  assert sorted(sorted({nets[i].head for i in part.nets}) for part in parts) == sorted(
    map(sorted, heads)
  )
  assert sorted(i for part in parts for i in part.nets) == list(range(len(nets)))
  assert [chip.id for part in parts for chip in part.devices] == list(range(count))


def test_more_parts_than_kinds_divide_nets():
  nets = [Net("qnn", h) for h in (10, 15, 20, 25, 30)]
  chips = [types.SimpleNamespace(platform="gpu", id=i) for i in range(2)]
  assert sorted(len(part.nets) for part in sharded.parts_of(nets, 2, chips)) == [2, 3]


def chips_of(count):
  return [types.SimpleNamespace(platform="gpu", id=i) for i in range(count)]


def test_the_longest_steps_are_apart():
  nets = [Net(head, h) for h in (10, 30) for head in ("ann", "heavy", "qnn", "rpqnn")]
  parts = sharded.parts_of(nets, None, chips_of(2))
  heads = [{nets[i].head for i in part.nets} for part in parts]
  assert sorted(map(sorted, heads)) == [["ann", "qnn"], ["heavy", "rpqnn"]]


@pytest.mark.parametrize(
  ("method", "parts"),
  (
    (per_sample.Method(), 1),
    (per_sample.Method(tails="kernel"), 1),
    (per_sample.Method(tails="fused"), 4),
    (per_sample.Method(tails="modules"), 4),
    (per_sample.Method("scan"), 4),
  ),
  ids=("auto", "kernel", "fused", "modules", "scan"),
)
def test_without_kernels_every_net_is_a_sequence_of_its_own(method, parts):
  nets = [Net("qnn", h) for h in (10, 15, 20, 25, 30)]
  together = per_sample.may_take_kinds(method)
  assert len(sharded.parts_of(nets, None, chips_of(4), together)) == parts


def test_the_devices_that_are_given_are_the_limit():
  with pytest.raises(InputError, match="net_parts must be 1 to 4, the number of devices, got 9"):
    sharded.parts_of([Net("ann", 3)], 9, chips_of(4))
