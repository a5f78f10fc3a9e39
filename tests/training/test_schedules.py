"""Schedules by name are optax's own, with the steps of the training, behind a warm-up."""

import numpy as np
import optax
import pytest

from qnn_jax import InputError
from qnn_jax.training.optimizers import schedule, schedule_names

pytestmark = pytest.mark.fast

PLAIN = {
  "constant": ({}, optax.constant_schedule(0.1)),
  "linear": ({}, optax.linear_schedule(0.1, 0.0, 40)),
  "linear to an end": ({"end_value": 0.02}, optax.linear_schedule(0.1, 0.02, 40)),
  "cosine": ({"alpha": 0.1}, optax.cosine_decay_schedule(0.1, 40, alpha=0.1)),
  "exponential": ({"decay_rate": 0.01}, optax.exponential_decay(0.1, 40, 0.01)),
  "exponential of steps": (
    {"decay_rate": 0.5, "transition_steps": 7, "staircase": True},
    optax.exponential_decay(0.1, 7, 0.5, staircase=True),
  ),
  "polynomial": ({"power": 2}, optax.polynomial_schedule(0.1, 0.0, 2, 40)),
  "piecewise_constant": (
    {"boundaries_and_scales": {20: 0.1}},
    optax.piecewise_constant_schedule(0.1, {20: 0.1}),
  ),
  "cosine_onecycle": ({}, optax.cosine_onecycle_schedule(40, 0.1)),
}
HAVE_A_WARMUP = {
  "warmup_cosine": ({}, optax.warmup_cosine_decay_schedule(0.0, 0.1, 8, 40)),
  "warmup_constant": ({}, optax.warmup_constant_schedule(0.0, 0.1, 8)),
  "warmup_exponential": (
    {"decay_rate": 0.1},
    optax.warmup_exponential_decay_schedule(0.0, 0.1, 8, 32, 0.1),
  ),
}


def rates(of, steps=range(41)):
  return [float(of(step)) for step in steps]


@pytest.mark.parametrize("name", PLAIN)
def test_it_is_the_one_of_optax(name):
  arguments, plain = PLAIN[name]
  ours = schedule(name.split()[0], 0.1, 40, arguments=arguments)
  np.testing.assert_allclose(rates(ours), rates(plain), rtol=1e-6)


@pytest.mark.parametrize("name", HAVE_A_WARMUP)
def test_one_with_a_warmup_of_its_own_is_told_its_steps(name):
  arguments, plain = HAVE_A_WARMUP[name]
  ours = schedule(name, 0.1, 40, warmup_steps=8, arguments=arguments)
  np.testing.assert_allclose(rates(ours), rates(plain), rtol=1e-6)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_a_warmup_comes_first_and_the_schedule_has_the_steps_behind(name):
  ours, behind = schedule(name, 0.1, 40, warmup_steps=10), schedule(name, 0.1, 30)
  wanted = [0.01 * step for step in range(10)] + rates(behind, range(31))
  np.testing.assert_allclose(rates(ours), wanted, rtol=1e-6)


def test_cosine_with_a_warmup_is_warmup_cosine():
  one, other = (schedule(name, 0.1, 40, warmup_steps=8) for name in ("cosine", "warmup_cosine"))
  np.testing.assert_allclose(rates(one), rates(other), rtol=1e-5, atol=1e-9)


def test_all_of_optax_with_one_rate_are_there():
  of_optax = {name for name in vars(optax) if name.endswith(("_schedule", "_decay"))}
  # These take rates of their own, or are none.
  assert len(schedule_names()) == len(of_optax - {"sgdr_schedule", "scale_by_schedule"})


MISTAKES = {
  "near": (("cosin", 0.1, 40), {}, "^there is no schedule 'cosin'; did you mean cosine or "),
  "far": (("xyz", 0.1, 40), {}, "^there is no schedule 'xyz'; choose one of constant, cosine, "),
  "argument": (
    ("cosine", 0.1, 40),
    {"arguments": {"power": 2}},
    "^the schedule 'cosine' has no argument 'power'; it takes init_value, decay_steps, alpha, expon",
  ),
  "missing": (
    ("exponential", 0.1, 40),
    {},
    "^the schedule 'exponential' needs decay_rate: give it in its arguments, decay_rate=...$",
  ),
  "value": (
    ("cosine", 0.1, 40),
    {"arguments": {"alpha": "x"}},
    "^the schedule 'cosine' cannot be used with {'alpha': 'x'}: ",
  ),
  "steps": (("cosine", 0.1, 0), {}, "^a schedule needs steps of at least 1, .*, got 0 and 0$"),
  "warmup": (("cosine", 0.1, 40), {"warmup_steps": 40}, "got 40 and 40$"),
  "onecycle": (
    ("cosine_onecycle", 0.1, 40),
    {"warmup_steps": 4},
    "^the schedule 'cosine_onecycle' has its own warm-up, pct_start: set warmup_steps to 0$",
  ),
}


@pytest.mark.parametrize("said, options, told", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_in_one_sentence(said, options, told):
  with pytest.raises(InputError, match=told):
    schedule(*said, **options)
