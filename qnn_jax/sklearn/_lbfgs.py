"""The losses, convex in Q, w and b, minimised by SciPy's L-BFGS-B.

Two changes of variables leave the minimum where it is and spare most of the iterations: columns
less their means, which only moves b, as that is not penalised; and columns over their deviations,
whose penalty is rescaled with them.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from qnn_jax.sklearn import _columns

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""z, y [N, K] -> every sample's loss and its derivative in z, both [N, K]."""

_TOGETHER = 2**18  # coefficients minimised at once: beyond, L-BFGS' own memory would be the largest
FT = 0.1
_ALIKE = 4  # deviations of columns that differ by less do for the same change of variables
_SERIAL = (
  2**30
)  # operations of an evaluation: below, threads cost five times what they spare, measured


def cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(3) of yhat = sigmoid(z), and its derivative yhat - y."""
  return np.logaddexp(0, z) - y * z, expit(z) - y


def softmax_cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """-sum_k y_k log yhat_k of yhat = softmax(z), [N, 1], and its derivative yhat - y, [N, K]."""
  z = z - z.max(1, keepdims=True)
  yhat = np.exp(z)
  total = yhat.sum(1, keepdims=True)
  return np.log(total) - (y * z).sum(1, keepdims=True), yhat / total - y


def half_squared_error(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """L = (yhat - y)^2 / 2 of the backpropagation notes, yhat = z, and its derivative yhat - y."""
  r = z - y
  return r * r / 2, r


def fit(
  x: np.ndarray,
  y: np.ndarray,
  weights: np.ndarray,
  start: tuple[np.ndarray, np.ndarray],
  *,
  loss: Loss,
  alpha: float,
  max_iter: int,
  tol: float,
  tell: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray, list[float], bool]:
  """Minimises sum_t weight_t loss_t + alpha / 2 |coefficients|^2.

  Args:
    x: [N, n] float32 or float64: the products are made in that.
    y: [N, K] targets.
    weights: [N] of the samples, their sum positive.
    start: coefficients [F, K] and b [K].
    loss: of z and y.
    alpha: at least 0.
    max_iter: iterations at most.
    tol: ends where no derivative of the mean loss in a coefficient of a column of variance 1 is
      larger, or an iteration lowers the mean loss by less than a tenth of it.
    tell: is given a line after every iteration.

  Returns:
    coefficients [F, K], b [K], the mean loss with its penalty, summed over the neurons, after every
    iteration, and whether all have converged.
  """
  k = y.shape[1]
  size = k if loss is softmax_cross_entropy else max(1, _TOGETHER // len(start[0]))
  total = weights.sum()

  def change(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = _columns.moments(x, weights)
    scale = np.sqrt(variance + 4 * alpha / total)  # a logistic loss bends by 1/4 at most
    return mean, np.where(scale > 0, scale, 1)

  theta, b = (np.array(part, np.float64) for part in start)
  curves, converged = [], True
  for first in range(0, k, size):
    group = slice(first, min(k, first + size))
    named = "" if size >= k else f"neurons {first + 1} to {group.stop} of {k}, "
    curve: list[float] = []

    def each(intermediate_result: OptimizeResult) -> None:
      curve.append(float(intermediate_result.fun))  # noqa: B023
      tell(f"{named}iteration {len(curve)}: loss {curve[-1]:.6g}")  # noqa: B023

    work = 8 * x.size * x.shape[1] * (group.stop - first)
    mean, scale = change(weights)
    with _threads().limit(limits=1 if work < _SERIAL else None, user_api="blas"):
      while True:
        objective = _objective(x, y[:, group], weights / total, loss, alpha / total, mean, scale)
        begin = np.concatenate(
          [b[None, group] + mean @ theta[:, group], theta[:, group] * scale[:, None]]
        )
        found = minimize(
          objective,
          begin.ravel(),
          jac=True,
          method="L-BFGS-B",
          callback=each,
          options={
            "maxiter": max_iter - len(curve),
            "maxfun": 20 * max_iter,
            "gtol": tol,
            "ftol": max(tol * FT, 64 * np.finfo(x.dtype).eps),
            "maxls": 50,
          },
        )
        end = found.x.reshape(begin.shape)
        theta[:, group] = end[1:] / scale[:, None]
        b[group] = end[0] - mean @ theta[:, group]
        if loss is half_squared_error or len(curve) >= max_iter or not found.nit:
          break
        # Where the loss is flat, at an outlier say, a sample does not count in what a column weighs.
        z = _columns.columns(x, group.stop - first).matmat(theta[:, group].astype(x.dtype)) + b[group]
        p = loss(z, y[:, group])[1] + y[:, group]
        before = scale
        mean, scale = change(weights * (p * (1 - p)).mean(1))
        if np.all(scale > before / _ALIKE):
          break
    # A line search that finds no lower loss has come to what rounding allows.
    converged &= found.status != 1
    curves.append(curve or [float(found.fun)])
  longest = max(map(len, curves))
  padded = [curve + curve[-1:] * (longest - len(curve)) for curve in curves]
  return theta, b, np.sum(padded, axis=0).tolist(), converged


def _objective(x, y, weights, loss, alpha, mean, scale):
  """Value and gradient in (b, coefficients), of columns less their means and over `scale`."""
  operator = _columns.columns(x, y.shape[1])
  y = y.astype(x.dtype)
  weights = weights[:, None]

  def objective(flat):
    both = flat.reshape(1 + len(mean), -1)
    theta = both[1:] / scale[:, None]
    z = operator.matmat(theta.astype(x.dtype))
    z += (both[0] - mean @ theta).astype(x.dtype)
    losses, r = loss(z, y)
    r = weights * r
    of_b = r.sum(0)
    of_theta = operator.rmatmat(r.astype(x.dtype)) - np.outer(mean, of_b) + alpha * theta
    value = (weights * losses).sum() + alpha / 2 * (theta * theta).sum()
    return value, np.concatenate([of_b[None], of_theta / scale[:, None]]).ravel()

  return objective


@functools.cache
def _threads() -> ThreadpoolController:
  return ThreadpoolController()
