"""What compile_for.py makes of counts: its arithmetic by hand, and whether it lists what a sweep compiles."""

import collections
import dataclasses
import functools
import importlib
import pathlib

import jax
import pytest
from in_process import run

from configs import table4 as table4_config
from experiments.table4 import task
from experiments.table4.__main__ import EXPERIMENT
from qnn_jax.training.fleet import Fleet, Net
from qnn_jax.training.per_sample import Method

NAMES = "start", "prepare", "run", "finish"  # of a trainer, and `evaluate`
SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def module(monkeypatch):
  monkeypatch.syspath_prepend(SCRIPTS)
  return importlib.import_module


@pytest.fixture
def chip(module):
  """A target of round figures: 1 and 2 us a sample, ten runs at once, 1 TFLOP/s, 1 TB/s, 2 to 5 us a launch."""
  heads = dict.fromkeys(("ann", "qnn"), (1.0, 2.0))
  figures = {"launch_us": (2.0, 5.0), "sample_us": heads, "at_once": 10}
  h100 = module("_targets").TARGETS["h100"]
  return dataclasses.replace(h100, flops=1e12, bandwidth=1e12, **figures)


@pytest.fixture
def row(module):
  def made(name, launches, pallas=0, trips=(), cycles=0, **of_program):
    program = module("_programs").Program(name, print, (), **of_program)
    counted = module("_hlo").Counted(launches, pallas, 0, list(trips), cycles)
    return module("_estimate").Compiled(program, counted, 5_000_000, (1.5, 1.0))

  return made


@pytest.mark.parametrize(
  ("blocks", "trips", "products"),
  # The products of 60 samples, 240 us; or three passes over 12 MB, 36 us, for each block.
  ((1, (), 240e-6), (1, (40,), 240e-6), (10, (3, 10), 360e-6)),
  ids=("a block, no loop", "a block, another loop", "ten blocks"),
)
def test_seconds_of_a_gpus_program(module, chip, row, blocks, trips, products):
  work = {"kernels": {"qnn": (25, 32, 10)}, "numbers": 3_000_000, "operations": 4e6}
  one = row("run", 12, 1, trips, calls=7, samples=60, blocks=blocks, **work)
  low, high = module("_estimate")._seconds([one], chip)
  # Three rounds of ten runs, 60 samples each; 12 launches.
  assert low == pytest.approx(7 * (3 * 60 * 1e-6 + 12 * 2e-6 + products))
  assert high == pytest.approx(7 * (3 * 60 * 2e-6 + 12 * 5e-6 + products))


def test_seconds_of_a_tpus_program_are_xlas_cycles_and_its_beginnings(module, chip, row):
  tpu = dataclasses.replace(chip, clock=1e9, platform="tpu")
  one = row("run", 10, 1, cycles=3000, calls=2, samples=60, kernels={"ann": (10, 32, 10)})
  low, high = module("_estimate")._seconds([one], tpu)
  assert low == pytest.approx(2 * (60e-6 + 10 * 2e-6 + 3e-6))
  assert high == pytest.approx(2 * (120e-6 + 10 * 5e-6 + 6e-6))


def test_wider_nets_take_longer_by_their_parameters(module):
  wider = module("_estimate")._wider
  assert (wider("qnn", 64, 10), wider("ann", 64, 10), wider("qnn", 64, 20)) == (4, 2, 8)
  assert wider("qnn", 8, 5) == 1


def test_parts_go_side_by_side_and_what_is_not_told_is_named(module, chip, row):
  found = [
    row("part 1: run 1 x 60", 30, calls=1000, samples=60, part=0),
    row("part 2: run 1 x 60", 12, trips=(None,), calls=1000, samples=60, part=1),
  ]
  said = "\n".join(module("_estimate").summary(found, chip, 2))
  assert "Compiled in 3 s, 2 of one core: 2 programs for 2 x h100." in said
  assert "Kernels a sample of training, all nets and seeds of a part: 0.50." in said
  assert "Exchanges between chips: 0." in said
  assert "1 loops are of a length that is not known" in said
  assert "Estimate, compiling not counted: 0.060 to 0.150 s." in said  # of the longer part
  assert "ends here at PTX, before ptxas" in said
  tpu = dataclasses.replace(chip, platform="tpu")
  assert "ptxas" not in "\n".join(module("_estimate").summary(found, tpu, 2))
  _, _, first, _ = module("_estimate").table(found, chip)
  assert first == "| part 1: run 1 x 60 | 1,000 | 30 | 0.50 | 0 |  | 0 | 5 | 1.5 s |"


def test_the_programs_are_those_that_a_sweep_compiles_and_as_often_called(
  module, monkeypatch, tmp_path
):
  config = table4_config.get_config("smoke")
  # Two blocks in one call; and eleven, which ten a call do not divide.
  config.models, config.hidden, config.train_sizes = ("ann", "qnn"), (2, 3), (120, 660)
  config.epochs, config.seeds = (1, 3), 2
  calls = collections.Counter()
  made = task.program_of

  def signature(name, args):
    return name, tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(args))

  def watched(name, function):
    def call(*args):
      calls[signature(name, args)] += 1
      return function(*args)

    call._cache_size = function._cache_size
    return call

  @functools.cache
  def program_of(*args):
    program = made(*args)
    of = {name: watched(name, getattr(program.trainer, name)) for name in NAMES}
    program.trainer = program.trainer._replace(**of)
    program.evaluate = watched("evaluate", program.evaluate)
    return program

  monkeypatch.setattr(task, "program_of", program_of)
  run(EXPERIMENT, config, tmp_path)
  programs = list(module("_programs").table4(config, "cpu", tuple(jax.devices()[:1]), 1))
  assert len(programs) == 7
  listed = {signature(p.name.partition(" ")[0], p.args): p.calls for p in programs}
  assert listed == calls


def test_every_op_of_a_layer_is_among_the_layers(module):
  programs = list(module("_programs").layers(tuple(jax.devices()[:1])))
  value, both = programs[::2], programs[1::2]
  names = {program.name.partition(" ")[0] for program in value}
  assert names == {
    "affine", "quadratic", "quadratic_full", "reduced_quadratic", "heavy", "low_rank_quadratic"
  }  # fmt: skip
  for of_value, of_both in zip(value, both, strict=True):
    assert of_both.name == f"{of_value.name}, gradient"
    z = jax.eval_shape(of_value.function, *of_value.args)
    _, gradients = jax.eval_shape(of_both.function, *of_both.args)
    assert z.dtype == of_value.args[0].dtype and z.ndim == 2
    assert [g.shape for g in gradients] == [a.shape for a in of_both.args]


def test_what_is_tried_is_the_narrowest_and_the_widest_net_of_a_kind_in_the_block_that_runs(module):
  heads = "ann", "qnn", "rpqnn"
  fleet = Fleet(tuple(Net(head, hidden) for hidden in (30, 10, 20) for head in heads), 784, 10)
  method = Method(block=20, sub_block=6)
  found = list(module("_programs")._tried(fleet, method, "tpu"))
  assert [tried.nets for tried, _ in found] == [(Net(head, 10), Net(head, 30)) for head in heads]
  assert {block for _, block in found} == {24}  # in whole sub-blocks
  assert not list(module("_programs")._tried(fleet, Method(tails="kernel"), "tpu"))
