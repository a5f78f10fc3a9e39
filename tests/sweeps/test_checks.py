"""Checks of config fields: what makes no sense is named, a boolean is no number."""

import math

import ml_collections
import pytest

from qnn_jax.errors import InputError
from qnn_jax.sweeps import checks

NAN, INF = float("nan"), float("inf")


def config(value):
  return ml_collections.ConfigDict({"it": value})


@pytest.mark.parametrize("value", (1, 10**30, (1, 2), ()))
def test_whole_numbers(value):
  checks.whole(config(value), "it")


@pytest.mark.parametrize(
  "value, told",
  [
    (0, "it must be a whole number of at least 1, got 0"),
    (True, "it must be a whole number of at least 1, got True"),
    (2.0, "it must be a whole number of at least 1, got 2.0"),
    ("3", "it must be a whole number of at least 1, got 3"),
    ((10, -1), "it must be whole numbers of at least 1, got (10, -1)"),
    ((2.5,), "it must be whole numbers of at least 1, got (2.5,)"),
    (("600",), "it must be whole numbers of at least 1, got ('600',)"),
    ((1, True), "it must be whole numbers of at least 1, got (1, True)"),
  ],
)
def test_no_whole_numbers(value, told):
  with pytest.raises(InputError) as error:
    checks.whole(config(value), "it")
  assert str(error.value) == told


@pytest.mark.parametrize("value", (0.1, 3, (0.5, 2)))
def test_numbers(value):
  checks.number(config(value), "it", above=0)


@pytest.mark.parametrize("value", (0, -0.1, NAN, INF, -INF, True, "a", None, (0.1, NAN), (True,)))
def test_no_positive_numbers(value):
  with pytest.raises(InputError, match="^it must be a positive number, got "):
    checks.number(config(value), "it", above=0)


def test_numbers_from_a_bound():
  checks.number(config(0), "it", least=0)
  checks.number(config(-3.0), "it")
  with pytest.raises(InputError, match="^it must be a finite number of at least 0, got -1$"):
    checks.number(config(-1), "it", least=0)
  with pytest.raises(InputError, match="^it must be a finite number, got nan$"):
    checks.number(config(NAN), "it")


@pytest.mark.parametrize("value", ((), (10, 10), ("a", "b", "a")))
def test_values_that_are_not_once(value):
  checks.once(config((1, 2)), "it")
  with pytest.raises(InputError, match="^it must hold at least one value and each once, got "):
    checks.once(config(value), "it")


def test_a_choice():
  checks.choice("it", "a", ("a", "b"))
  with pytest.raises(InputError, match="^it must be one of a, b, got 'c'$"):
    checks.choice("it", "c", ("a", "b"))


def test_memory(monkeypatch):
  monkeypatch.setattr(checks, "_memory_there", lambda: 2.0**34)
  checks.memory(2.0**34, "this")
  with pytest.raises(InputError) as error:
    checks.memory(2.0**40, "hidden = 3")
  assert str(error.value) == (
    "hidden = 3 would take 1,024 GiB of memory, and this machine has 16; ask for less"
  )
  monkeypatch.setattr(checks, "_memory_there", lambda: math.inf)
  checks.memory(1e300, "this")
