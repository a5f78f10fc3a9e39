"""Per-sample SGD: (8), (11) with its sign corrected, and (19), with weights, a penalty and a link.

`training.logistic` has the same updates without these, for many runs at once.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import ops
from qnn_jax.training import logistic

STORED = 2**25  # numbers, 128 MB: more features are not stored but computed sample by sample
_CALL = (
  2**26
)  # parameter updates in a call, a fraction of a second: Python handles Ctrl-C between calls
_CALM = (
  0.1  # factor of the rate for a squared error: full steps follow the noise of y and never settle
)
_FAR = 10  # a |phi|^2 above so many times the median is taken as so many times the median


def rates(
  x: np.ndarray, weights: np.ndarray, eta: float | None, logistic_loss: bool
) -> tuple[float, np.ndarray]:
  """The learning rate, and the rate of each sample [N] with its weight included.

  If the rate is None, it is the reciprocal of the mean of |phi(x)|^2, phi(x) = (1, x, M(x)). A step for
  an average sample then changes its own z by at most 1. A |phi|^2 above ten times the median is taken
  as ten times the median, in the mean and in that sample's step, so that an outlier spoils neither. For
  a squared error the rate is a tenth of that, and no sample's rate is above 1 / |phi|^2, so that no step
  moves z past the target.
  """
  if eta is not None:
    return eta, eta * weights
  # |phi|^2 = 1 + |x|^2 + |M|^2, where |M|^2 of the packed M sums x_i^4, and 4 x_i^2 x_j^2 for i < j.
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
  """Yields after each pass over the samples in their order, without end.

  Args:
    theta: [F, K], see `logistic.join`.
    x: [N, n].
    y: [N, K] targets.
    rate: [N] the rate of each sample, its weight included.
    weights: [N] sample weights, factors of the losses.
    alpha: the penalty of one sample, alpha / N.
    logistic_loss: True for sigmoid neurons and cross-entropy, False for z itself and half the squared
      error.

  Yields:
    theta after the pass, and the loss before each update, summed over neurons, averaged over samples.
  """
  # An overflow becomes an infinity here and a NaN in the training, which `fit` reports.
  with np.errstate(over="ignore"):
    total = weights.sum()
    params, *samples = (jnp.asarray(array, jnp.float32) for array in (theta, x, y, rate, weights))
  n = x.shape[1]
  keep = None
  if alpha:
    # A pair's coefficient is 2 Q_ij, so that its penalty is 4 Q_ij^2 / 2; b has no penalty.
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
