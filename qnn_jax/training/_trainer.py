"""The types that the trainers of per_sample.py share: chunks of samples, and a trainer's functions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qnn_jax.errors import InputError
from qnn_jax.training.fleet import Fleet, Params


class Chunk(NamedTuple):
  """Consecutive blocks of samples: order [blocks, S or 1, B] and valid [blocks, B], 0 on padding.

  gram [blocks, S or 1, B, B] is G, once `Trainer.prepare` has made it, which `Trainer.run` needs.
  """

  order: jax.Array
  valid: jax.Array
  gram: jax.Array | None = None


class Trainer(NamedTuple):
  """Compiled functions of one fleet; see `make_trainer`.

  start(params, rates) -> state, with eta of every lane, [S]; prepare(inputs, chunk) -> chunk;
  run(state, inputs, labels, prepared chunk) -> state (the old state is donated); finish(state) ->
  params. Inputs and labels must be those that `place` returns: it puts them on the devices.
  """

  start: Callable[[list[Params], jax.Array], Any]
  prepare: Callable[[jax.Array, Chunk], Chunk]
  run: Callable[[Any, jax.Array, jax.Array, Chunk], Any]
  finish: Callable[[Any], list[Params]]
  place: Callable[[jax.Array], Any] = lambda array: array


PRECISIONS = ("highest", "high", "default")


def precisely(function: Callable, platform: str, precision: str) -> Callable:
  """The function with its matrix products in this precision, on platforms that would round their inputs.

  A CPU has only one precision. By default an H100 rounds the inputs of products to TF32, which has a
  mantissa of 10 bits, and a TPU to bfloat16, which has 7.
  """
  if platform == "cpu":
    return function

  @functools.wraps(function)
  def traced(*args):
    with jax.default_matmul_precision(precision):
      return function(*args)

  return traced


def checked(fleet: Fleet, params: list[Params], rates: jax.Array) -> jax.Array:
  """The rates in the fleet's dtype; InputError unless there is one for every lane of `params`."""
  check_rates(params, rates)
  return jnp.copy(rates.astype(fleet.dtype))  # run donates its state


def check_rates(params: list[Params], rates: jax.Array) -> None:
  """InputError unless there is a rate for every lane of `params`."""
  lanes = len(jax.tree.leaves(params)[0])
  if rates.shape != (lanes,):
    raise InputError(f"rates must have the shape [{lanes}], one for each lane, got {rates.shape}")


def one_hot(labels: jax.Array, fleet: Fleet) -> jax.Array:
  """Labels [...] as one-hot rows [..., C]."""
  return jax.nn.one_hot(labels, fleet.classes, dtype=fleet.dtype)
