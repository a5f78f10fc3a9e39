"""The kernel as a TPU has it, 128 runs a program, in Pallas' interpret mode: against the algorithms transcribed."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
import test_per_sample as per_sample_tests
from jax.experimental import pallas as pl

from qnn_jax.training import _kernel, _kernel_tpu, _steps, per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init
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
  fits = _kernel.fits  # which a TPU's are not in float64
  as_of_32 = lambda fleet, *net: fits(dataclasses.replace(fleet, dtype="float32"), *net)
  monkeypatch.setattr(_kernel, "fits", as_of_32)
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
  fleet = Fleet((Net("qnn", 30), Net("qnn", 200), Net("ann", 200), Net("rpqnn", 30)), 784, 10)
  of = lambda block: per_sample.make_tails(fleet, Method(block=block), "tpu", tried=False)
  assert [tail is None for tail in of(60)] == [True, False, True, True]
  assert not any(tail is None for tail in of(1200))  # G alone would be 1.5 GB


@pytest.mark.parametrize("head", ("ann", "qnn", "rpqnn", "heavy"))
def test_the_memory_is_that_of_the_arrays(head, monkeypatch):
  """What is reckoned for `fits` is what stands in the call, filled up to registers of 8 rows."""
  block, calls, compiled = 21, [], pl.pallas_call

  def spied(*args, **kwargs):
    calls.append(kwargs)
    return compiled(*args, **kwargs)

  monkeypatch.setattr(pl, "pallas_call", spied)
  fleet = dataclasses.replace(FLEET, nets=(Net(head, 9),), dtype="float32")
  (params,) = init(fleet, [Lane(0), Lane(1)])
  ones = functools.partial(jnp.ones, dtype="float32")
  rest = ones(2), ones((2, 1, block, 16)), ones((2, block, block))
  state = _kernel.start(fleet, fleet.nets, [params], "tpu")
  labels = jnp.zeros((2, block), "int32")
  _kernel.run(fleet, fleet.nets, state, *rest, labels, ones(block), "tpu")
  (call,) = calls
  specs = [*call["in_specs"], *call["out_specs"]]
  eights = lambda n: -(-n // 8) * 8
  found = 0
  for spec in specs:
    shape = [n for n in spec.block_shape if n is not None]
    times = 1 if spec.pipeline_mode else 2
    found += 4 * times * math.prod(shape[:-2]) * eights(shape[-2]) * 128
  reckoned = call["compiler_params"].vmem_limit_bytes - _kernel_tpu._PUT_ASIDE
  assert reckoned == found == _kernel_tpu._bytes(head, fleet.classes, 16, block, "float32")


def test_a_hidden_step_overflows_nowhere_on_its_way():
  rate, back, a = (jnp.float32(value) for value in (10, 1e38, 1e-9))
  assert _steps.hidden_step(rate, back, a) == pytest.approx(1e30)
