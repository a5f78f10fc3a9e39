"""Quadratic logistic regression, Section 2: one layer of quadratic neurons by per-sample SGD.

A quadratic neuron is linear in its parameters. With the features of a sample

  phi(x) = (1, x, M(x)),   M(x) of (16) packed: x_i^2 on the diagonal, 2 x_i x_j off it,

and theta = (b, w, Q) in the same order, z = theta . phi(x) is (1). The three updates (8), (11) with its
sign corrected, and (19) are one: theta <- theta + eta (y - yhat) phi(x). A step with only sums and
elementwise products is one small fused loop for XLA, five times faster than a step with a matrix
product. `epoch_reference` has the equations as printed.

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
"""An array of JAX or NumPy."""
Expand = Callable[[jax.Array], jax.Array]
"""A sample of the inputs -> its features."""


def m_matrix(x: jax.Array) -> jax.Array:
  """M(x) of (15) and (16), the derivative of x^T Q x by a symmetric Q: x [..., n] -> [..., n, n].

  >>> m_matrix(jnp.array([2.0, 3.0])).tolist()
  [[4.0, 12.0], [12.0, 9.0]]
  """
  x = jnp.asarray(x)
  return x[..., :, None] * x[..., None, :] * (2 - jnp.eye(x.shape[-1], dtype=x.dtype))


def features(x: jax.Array) -> jax.Array:
  """phi(x) = (1, x, M(x) packed in `np.triu_indices` order): x [..., n] -> [..., F].

  The first 1 + n features are those of an ordinary neuron.

  >>> features(jnp.array([2.0, 3.0])).tolist()
  [1.0, 2.0, 3.0, 4.0, 12.0, 9.0]
  """
  rows, columns = np.triu_indices(x.shape[-1])
  quadratic = x[..., rows] * x[..., columns] * jnp.asarray(ops.multiplicity(x.shape[-1]), x.dtype)
  return jnp.concatenate([jnp.ones_like(x[..., :1]), x, quadratic], axis=-1)


def join(q: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
  """q [P, ...K], kernel [n, ...K] and bias [...K], as in `ops.quadratic` -> theta [F, ...K]."""
  return jnp.concatenate([bias[None], kernel, q])


def split(theta: Array, n: int) -> tuple[Array, Array, Array]:
  """The inverse of `join`: theta [F, ...K], n inputs -> q [P, ...K], kernel [n, ...K], bias [...K]."""
  return theta[1 + n :], theta[1 : 1 + n], theta[0]


def start(seed: int | jax.Array, n: int, neurons: int, init: str, scale: float) -> jax.Array:
  """The initial theta [F, neurons], drawn from `initializers.STARTS[init](scale)`, with Q symmetrised.

  The first 1 + n rows, b and w, are also the start of ordinary neurons: they do not depend on Q's draw.

  Args:
    seed: the seed, a number or a scalar array.
    n: inputs of a neuron.
    neurons: the number of neurons.
    init: the name of the distribution.
    scale: the scale of the distribution.
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
  """One pass over the samples in their order, with an update after each sample.

  The updates are (8), (11) with its sign corrected, and (19). The neurons are independent, so that the
  axes K may be classes, seeds and initializations, all trained at once.

  Args:
    theta: [F, ...K], see `join`.
    inputs: [N, F, ...K] the samples' features; an axis of K may have length 1 if its neurons share the
      samples.
    targets: [N, ...K] y in {0, 1}; axes may have length 1 here too.
    rate: eta, a number or a scalar array.
    expand: computes the features of one sample of `inputs`, if they are too many to be stored.

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
  """Runs `epoch` `epochs` times, in the same order every time. Compiled once for any rate and number.

  Calling it again with its result as theta continues the training. So a long training can be run in
  parts, with progress reported between them.

  Args:
    theta: [F, ...K], see `join`.
    inputs: [N, F, ...K], as in `epoch`.
    targets: [N, ...K], as in `epoch`.
    rate: eta, a number or a scalar array.
    epochs: the number of passes.
    expand: as in `epoch`.

  Returns:
    theta [F, ...K] after the last pass.

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
  """The pass of `epoch` for one neuron, transcribed: q [n, n], w [n], b [], x [N, n], y [N], eta = rate."""
  for x_t, y_t in zip(x, y, strict=True):
    z = x_t @ q @ x_t + w @ x_t + b  # (1)
    yhat = 1 / (1 + jnp.exp(-z))
    b = b + rate * (y_t - yhat)  # (8)
    w = w + rate * (y_t - yhat) * x_t  # (11); printed with a minus, (10) has the plus
    q = q + rate * (y_t - yhat) * m_matrix(x_t)  # (19)
  return q, w, b
