"""Quadratic logistic regression, Section 2: one layer of quadratic neurons by per-sample SGD.

A quadratic neuron is linear in its parameters. With the features of a sample

  phi(x) = (1, x, M(x)),   M(x) of (16) packed: x_i^2 on the diagonal, 2 x_i x_j off it,

and theta = (b, w, Q) in the same order, z = theta . phi(x) is (1), and the three updates (8),
(11, its sign mended) and (19) are one: theta <- theta + eta (y - yhat) phi(x). A step of sums and
products alone is one small fused loop to XLA, five times faster than one with a matrix product in
it; `epoch_reference` is the equations as they are printed.

Axis letters: n inputs, P = n(n+1)/2, F = 1 + n + P features, N samples, K any axes of neurons.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import ops
from qnn_jax.initializers import STARTS, symmetrized

Array = TypeVar("Array", jax.Array, np.ndarray)
Expand = Callable[[jax.Array], jax.Array]


def m_matrix(x: jax.Array) -> jax.Array:
  """M(x) of (15) and (16), the derivative of x^T Q x in a symmetric Q: [..., n] -> [..., n, n].

  >>> m_matrix(jnp.array([2.0, 3.0])).tolist()
  [[4.0, 12.0], [12.0, 9.0]]
  """
  x = jnp.asarray(x)
  return x[..., :, None] * x[..., None, :] * (2 - jnp.eye(x.shape[-1], dtype=x.dtype))


def features(x: jax.Array) -> jax.Array:
  """phi(x) = (1, x, M(x) packed in `np.triu_indices` order): [..., n] -> [..., F].

  The first 1 + n of them are the features of an ordinary neuron.

  >>> features(jnp.array([2.0, 3.0])).tolist()
  [1.0, 2.0, 3.0, 4.0, 12.0, 9.0]
  """
  rows, columns = np.triu_indices(x.shape[-1])
  quadratic = x[..., rows] * x[..., columns] * jnp.asarray(ops.multiplicity(x.shape[-1]), x.dtype)
  return jnp.concatenate([jnp.ones_like(x[..., :1]), x, quadratic], axis=-1)


def join(q: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
  """theta [F, ...K] of `ops.quadratic`'s q [P, ...K], kernel [n, ...K] and bias [...K]."""
  return jnp.concatenate([bias[None], kernel, q])


def split(theta: Array, n: int) -> tuple[Array, Array, Array]:
  """`join` undone: theta [F, ...K] of neurons with n inputs -> q, kernel, bias."""
  return theta[1 + n :], theta[1 : 1 + n], theta[0]


def start(seed: int | jax.Array, n: int, neurons: int, init: str, scale: float) -> jax.Array:
  """theta [F, neurons] of n inputs, drawn from `initializers.STARTS[init](scale)`, Q symmetrised.

  b and w do not depend on whether Q is drawn: the first 1 + n rows start ordinary neurons.
  """
  draw = STARTS[init](scale)
  q, kernel, bias = jax.random.split(jax.random.key(seed), 3)
  return join(
    symmetrized(draw)(q, (ops.packed_size(n), neurons)),
    draw(kernel, (n, neurons)),
    draw(bias, (neurons,)),
  )


def epoch(
  theta: jax.Array,
  inputs: jax.Array,
  targets: jax.Array | np.ndarray,
  rate: float | jax.Array,
  expand: Expand | None = None,
) -> jax.Array:
  """One pass over the samples in their order, an update after each: (8), (11) mended and (19).

  The neurons do not see each other: K may hold classes, seeds, starts, all trained at once.

  Args:
    theta: [F, ...K], see `join`.
    inputs: [N, F, ...K] the samples' features; axes of K may be 1 where neurons share a sample.
    targets: [N, ...K] y in {0, 1}; axes may be 1 here too.
    rate: eta.
    expand: what makes features of a sample of `inputs`, for features too many to be stored.

  Returns:
    theta [F, ...K] after the pass.
  """

  def step(theta, sample):
    x, y = sample
    phi = x if expand is None else expand(x)
    z = (theta * phi).sum(0)  # (1)
    return theta + rate * (y - jax.nn.sigmoid(z)) * phi, None  # (8), (11), (19)

  return jax.lax.scan(step, theta, (inputs, targets))[0]


@functools.partial(jax.jit, static_argnames="expand")
def sgd(
  theta: jax.Array,
  inputs: jax.Array,
  targets: jax.Array,
  rate: float | jax.Array,
  epochs: int | jax.Array,
  expand: Expand | None = None,
) -> jax.Array:
  """`epoch` `epochs` times, in the same order every time; compiled once for any rate and number.

  Calling it again with what it returned goes on where it stopped, so a long training can be told
  of in chunks.

  >>> phi = features(jnp.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]))
  >>> y = jnp.array([0.0, 1.0, 1.0, 0.0])
  >>> theta = sgd(jnp.zeros((6, 1)), phi[..., None], y[:, None], 0.1, 100)
  >>> (phi @ theta > 0)[:, 0].tolist()  # one neuron has learnt XOR
  [False, True, True, False]
  """
  return jax.lax.fori_loop(
    0, epochs, lambda _, theta: epoch(theta, inputs, targets, rate, expand), theta
  )


def epoch_reference(
  q: jax.Array, w: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array, rate: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The pass of `epoch` for one neuron, transcribed: q [n, n], w [n], b [], x [N, n], y [N]."""
  for x_t, y_t in zip(x, y, strict=True):
    z = x_t @ q @ x_t + w @ x_t + b  # (1)
    yhat = 1 / (1 + jnp.exp(-z))
    b = b + rate * (y_t - yhat)  # (8)
    w = w + rate * (y_t - yhat) * x_t  # (11); printed with a minus, (10) has the plus
    q = q + rate * (y_t - yhat) * m_matrix(x_t)  # (19)
  return q, w, b
