"""What is tried of a kernel before it is used, and what happens where it fails."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.training import _kernel, _trial, per_sample
from qnn_jax.training.fleet import Fleet, Lane, Net, init, rates
from qnn_jax.training.per_sample import Method

HEAVY = Fleet((Net("heavy", 4),), in_features=6, classes=3)
BOTH = dataclasses.replace(HEAVY, nets=(Net("heavy", 4), Net("heavy", 9), Net("heavy", 6)))
METHOD = Method(block=12)


def takers(fleet, method=METHOD):
  """Of each net: 'kernel', or the function that made its tail."""
  tails = per_sample.make_tails(fleet, method, "gpu")
  return ["kernel" if tail is None else tail.run.__qualname__.partition(".")[0] for tail in tails]


@pytest.fixture
def kernel(monkeypatch):
  """Has a GPU, as far as this CPU can tell, with `changed(run)` as its kernel."""
  _trial._taken.cache_clear()
  run = _kernel.run
  interpreted = lambda *args: run(*args[:-1], "cpu")

  def change(changed):
    monkeypatch.setattr(_kernel, "run", changed(interpreted))

  change(lambda run: run)
  yield change
  _trial._taken.cache_clear()


def test_a_kernel_that_agrees_is_taken_without_a_word_and_tried_once(kernel, monkeypatch):
  assert takers(BOTH) == ["kernel"] * 3
  monkeypatch.setattr(_trial, "_difference", None)
  assert takers(BOTH) == ["kernel"] * 3


def test_a_kernel_that_differs_is_not_taken_and_the_warning_says_by_how_much(kernel):
  def apart(run):
    def found(*args):
      state, steps = run(*args)
      return state | {"bias": state["bias"] + 3e-5}, steps

    return found

  kernel(apart)
  said = (
    "kernel of heavy with 4 hidden neurons differs by 3e-05 from the fused form after one block; the "
    "fused form is used there, which is slower; --config.tails=fused asks for it"
  )
  with pytest.warns(UserWarning, match=said):
    assert takers(HEAVY) == ["fused_tail"]


def test_a_kernel_that_gives_nan_is_not_taken(kernel):
  kernel(lambda run: lambda *args: (run(*args)[0], run(*args)[1] * jnp.nan))
  with pytest.warns(UserWarning, match="differs by nan"):
    assert takers(HEAVY) == ["fused_tail"]


WRONG = {  # arguments: fleet, nets, state, rates, z, gram, labels, valid, platform
  "one rate for all": lambda a: (*a[:3], jnp.full_like(a[3], a[3][0]), *a[4:]),
  "one lane's labels": lambda a: (*a[:6], jnp.broadcast_to(a[6][:1], a[6].shape), *a[7:]),
  "padding is a sample": lambda a: (*a[:7], jnp.ones_like(a[7]), *a[8:]),
  "all as wide": lambda a: (a[0], [max(a[1], key=lambda net: net.hidden)] * len(a[1]), *a[2:]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_beside_the_first_lane_and_net_is_found(kernel, wrong):
  kernel(lambda run: lambda *args: run(*wrong(args)))
  with pytest.warns(UserWarning, match="differs by"):
    assert takers(BOTH)[1] == "fused_tail"


def narrow_only(run):
  """A kernel that fails beyond 8 neurons."""

  def found(*args):
    if args[4].shape[-1] > 8:
      raise RuntimeError("no registers left\nand a page of reasons")
    return run(*args)

  return found


def test_a_net_that_is_too_wide_is_left_out_alone_and_named(kernel):
  kernel(narrow_only)
  said = (
    r"kernel of heavy with 9 hidden neurons does not run here \(RuntimeError: no registers left\);"
  )
  with pytest.warns(UserWarning, match=said) as warned:
    assert takers(BOTH) == ["kernel", "fused_tail", "kernel"]
  assert len(warned) == 1


def test_the_block_that_runs_is_the_one_that_is_tried(kernel, monkeypatch):
  asked = []
  monkeypatch.setattr(
    _trial, "_difference", lambda fleet, block, platform: asked.append(block) or 0
  )
  monkeypatch.setattr(
    _kernel, "fits", lambda fleet, net, block, platform: asked.append(block) or True
  )
  takers(HEAVY, Method(block=7, sub_block=3))
  assert set(asked) == {9}


def test_the_warning_points_at_who_makes_the_trainer(kernel, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  kernel(narrow_only)
  with pytest.warns(UserWarning, match="heavy with 9") as warned:
    per_sample.make_trainer(BOTH, METHOD)
  assert [warning.filename for warning in warned] == [__file__]


def test_a_fleet_of_both_forms_ends_where_either_does(kernel, monkeypatch):
  """Some nets by the kernel, one of their kind and another kind by their tails: the columns find their nets."""
  kernel(narrow_only)
  nets = (Net("qnn", 3), *BOTH.nets, Net("ann", 12), Net("qnn", 5))
  fleet = dataclasses.replace(BOTH, nets=nets)
  lanes = [Lane(seed, 0.3 - 0.1 * seed, init_scale=0.3) for seed in range(2)]
  rng = np.random.default_rng(0)
  data = jnp.asarray(rng.random((30, 6)), "float32"), jnp.asarray(rng.integers(3, size=30))
  order = np.stack([rng.permutation(30)[:25] for _ in lanes])

  def end(method):
    trainer = per_sample.make_trainer(fleet, method)
    start, chunks = init(fleet, lanes), per_sample.make_chunks(order, method)
    return per_sample.train(trainer, start, rates(fleet, lanes), *data, chunks, 2)

  plain = end(dataclasses.replace(METHOD, tails="fused"))
  # The programs are a CPU's, with the forms that a GPU would be given.
  make_tails = per_sample.make_tails
  as_gpu = lambda fleet, method, platform, tried: make_tails(fleet, method, "gpu")
  monkeypatch.setattr(per_sample, "make_tails", as_gpu)
  with pytest.warns(UserWarning, match="of (heavy with 9|ann with 12)"):
    mixed = end(METHOD)
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), plain, mixed)
  assert np.max(jax.tree.leaves(apart)) <= 1e-6
