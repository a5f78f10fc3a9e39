"""Per-sample SGD: (8), (11) mended and (19), with weights, a penalty and a link function.

`training.logistic` is the same without them, for many runs at once.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import ops
from qnn_jax.training import logistic

STORED = 2**25  # numbers: more than 128 MB of features are made sample by sample instead
_CALL = (
  2**26
)  # parameters updated in a call, a fraction of a second: Python sees Ctrl-C between calls
_CALM = 0.1  # of a squared error, whose steps follow the noise of y: whole ones never settle
_FAR = 10  # times the median of |phi|^2: samples beyond count as that far


def rates(
  x: np.ndarray, weights: np.ndarray, eta: float | None, logistic_loss: bool
) -> tuple[float, np.ndarray]:
  """The learning rate and each sample's own [N], its weight included.

  A rate of None is the reciprocal of the mean of |phi(x)|^2, phi(x) = (1, x, M(x)), so that an
  average sample's step moves its own z by at most 1. A sample for which that is over ten times the
  median counts as if it were ten times, in the mean and in its own step: it ruins neither. Of a
  squared error it is a tenth of that, and no sample's own is above 1 / |phi|^2: no step moves z past
  the target.
  """
  if eta is not None:
    return eta, eta * weights
  # |phi|^2 = 1 + |x|^2 + |M|^2, and the packed M has x_i^4 and, once for i < j, 4 x_i^2 x_j^2.
  with np.errstate(over="ignore", invalid="ignore"):
    x = x.astype(np.float64)
    square = (x**2).sum(1)
    lengths = 1 + square + 2 * square**2 - (x**4).sum(1)
    near = np.minimum(lengths, _FAR * np.median(lengths))
    eta = float((1 if logistic_loss else _CALM) / np.mean(near))
    own = eta * weights
    return eta, own * near / lengths if logistic_loss else np.minimum(own, 1 / lengths)


def passes(
  theta: np.ndarray,
  x: np.ndarray,
  y: np.ndarray,
  rate: np.ndarray,
  weights: np.ndarray,
  *,
  alpha: float,
  logistic_loss: bool,
) -> Iterator[tuple[np.ndarray, float]]:
  """Passes over the samples in their order, without end.

  Args:
    theta: [F, K], see `logistic.join`.
    x: [N, n].
    y: [N, K] targets.
    rate: [N] each sample's rate, its weight included.
    weights: [N] of the samples, factors of their losses.
    alpha: the penalty's part of a sample, alpha / N.
    logistic_loss: sigmoid neurons and cross-entropy, else z itself and half the squared error.

  Yields:
    theta after the pass, and the loss before each update, summed over neurons, averaged over samples.
  """
  # What overflows becomes an infinity here and a NaN in the training, and `fit` tells of that.
  with np.errstate(over="ignore"):
    total = weights.sum()
    params, *samples = (jnp.asarray(array, jnp.float32) for array in (theta, x, y, rate, weights))
  n = x.shape[1]
  keep = None
  if alpha:
    # The penalty counts a pair's coefficient 2 Q_ij, hence 4 Q_ij^2 / 2; b has none.
    bend = np.concatenate([[0.0], np.ones(n), ops.multiplicity(n) ** 2])
    keep = jnp.asarray(alpha * bend[:, None], jnp.float32)
  expand = None if len(x) * len(params) <= STORED else _column_features
  if expand is None:
    samples[0] = _column_features(samples[0])
  rows = max(1, _CALL // params.size)
  while True:
    lost = 0.0
    for first in range(0, len(x), rows):
      part = slice(first, first + rows)
      given = tuple(samples if rows >= len(x) else (array[part] for array in samples))
      params, loss = _pass(params, given, keep, logistic_loss, expand)
      lost += float(loss)
    yield np.asarray(params), lost / total


@functools.partial(jax.jit, static_argnames=("logistic_loss", "expand"))
def _pass(
  theta: jax.Array,
  samples: tuple[jax.Array, ...],
  penalty: jax.Array | None,
  logistic_loss: bool,
  expand: Callable | None,
) -> tuple[jax.Array, jax.Array]:
  link = jax.nn.sigmoid if logistic_loss else lambda z: z

  def step(theta, sample):
    x, y, rate, _ = sample
    phi = x if expand is None else expand(x)
    z = (theta * phi).sum(0)  # (1)
    kept = theta if penalty is None else theta - rate * penalty * theta
    return kept + rate * (y - link(z)) * phi, z  # (8), (11), (19)

  theta, z = jax.lax.scan(step, theta, samples)
  _, y, _, weights = samples
  losses = jnp.logaddexp(0, z) - y * z if logistic_loss else (z - y) ** 2 / 2
  return theta, (weights[:, None] * losses).sum()


def _column_features(x: jax.Array) -> jax.Array:
  """[..., n] -> [..., F, 1], the same for all neurons."""
  return logistic.features(x)[..., None]
