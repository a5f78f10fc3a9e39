"""What the trainers of per_sample.py have in common: their samples and their functions."""

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
  run(state, inputs, labels, prepared chunk) -> state (the old one is given up); finish(state) ->
  params. Inputs and labels are what `place` has made of them: where they are needed, on one device or
  several.
  """

  start: Callable[[list[Params], jax.Array], Any]
  prepare: Callable[[jax.Array, Chunk], Chunk]
  run: Callable[[Any, jax.Array, jax.Array, Chunk], Any]
  finish: Callable[[Any], list[Params]]
  place: Callable[[jax.Array], Any] = lambda array: array


PRECISIONS = ("highest", "high", "default")


def precisely(function: Callable, platform: str, precision: str) -> Callable:
  """The function, its matrix products at this precision where the platform would round them.

  A CPU has one precision. By default an H100 rounds what it multiplies to TF32, 10 bits behind the point, and a
  TPU to bfloat16, 7 bits.
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
  return jnp.copy(rates.astype(fleet.dtype))  # run gives the state up


def check_rates(params: list[Params], rates: jax.Array) -> None:
  """InputError unless there is a rate for every lane of `params`."""
  lanes = len(jax.tree.leaves(params)[0])
  if rates.shape != (lanes,):
    raise InputError(f"rates must be one a lane, [{lanes}], got an array of shape {rates.shape}")


def one_hot(labels: jax.Array, fleet: Fleet) -> jax.Array:
  """[..., C] of labels [...]."""
  return jax.nn.one_hot(labels, fleet.classes, dtype=fleet.dtype)
