"""The kernel as a TPU has it, 128 runs a program, in Pallas' interpret mode: against the algorithms transcribed."""

import dataclasses
import functools

import jax
import pytest
import test_per_sample as per_sample_tests
from jax.experimental import pallas as pl

from qnn_jax.training import per_sample
from qnn_jax.training.fleet import Fleet, Net
from qnn_jax.training.per_sample import Method

# A block that is padded, as G is, to a multiple of eight.
METHOD = Method("block", block=21, sub_block=7, tails="kernel")
FLEET, LANE = per_sample_tests.FLEET, per_sample_tests.LANE
WIDE = dataclasses.replace(LANE, learning_rate=0.1, init_scale=0.1)  # a wide net walks farther


@functools.cache
def trainer(fleet, method):
  return per_sample.make_trainer(fleet, method, platform="tpu")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
  compiled = pl.pallas_call
  as_read = lambda *args, **kwargs: compiled(*args, **(kwargs | {"interpret": True}))
  monkeypatch.setattr(pl, "pallas_call", as_read)
  monkeypatch.setattr(per_sample_tests, "trainer", trainer)
  monkeypatch.setitem(per_sample_tests.METHODS, "tpu", METHOD)
  with jax.enable_x64(True):
    yield


def test_200_steps_are_those_of_the_transcribed_algorithms():
  start, end, order = per_sample_tests.run("tpu")
  per_sample_tests.assert_transcribed(start, end, order, range(3))


@pytest.mark.parametrize(
  ("seeds", "nets", "lane"),
  (
    (70, (Net("qnn", 7), Net("qnn", 9)), LANE),  # 140 runs, of which the first tile has 128
    (2, (Net("rpqnn", 100),), WIDE),  # all classes' parameters at once are more than registers
  ),
  ids=("two tiles", "class by class"),
)
def test_many_runs_and_wide_nets(seeds, nets, lane):
  fleet = dataclasses.replace(FLEET, nets=nets)
  start, end, order = per_sample_tests.run("tpu", range(seeds), fleet=fleet, lane=lane)
  some = {0, seeds // 2 - 1, seeds - 1}
  per_sample_tests.assert_transcribed(start, end, order, some, fleet, lane)


def test_what_has_no_room_on_the_chip_takes_the_other_form():
  fleet = Fleet((Net("qnn", 30), Net("qnn", 200), Net("ann", 200), Net("rpqnn", 30)))
  of = lambda block: per_sample.make_tails(fleet, Method(block=block), "tpu", tried=False)
  assert [tail is None for tail in of(60)] == [True, False, True, True]
  assert not any(tail is None for tail in of(1200))  # G alone would be 1.5 GB
