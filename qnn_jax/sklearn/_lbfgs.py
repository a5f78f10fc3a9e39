"""Minimises the losses, which are convex in Q, w and b, with SciPy's L-BFGS-B.

Two changes of variables keep the minimum and save most of the iterations. The means of the columns are
subtracted, which changes only b, and b is not penalised. The columns are divided by their standard
deviations, and the penalty is rescaled with them.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from qnn_jax.sklearn import _columns

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""z, y [N, K] -> every sample's loss and its derivative in z, both [N, K]."""

_MANY = (
  2**20
)  # parameters: beyond, L-BFGS keeps 4 of its pairs in place of 10, which would be 160 MB
_NONE = 1e-4  # a mean loss that counts as zero: without a penalty it may fall for ever
_ALIKE = 4  # scales that differ by less than this factor need no new change of variables
_SERIAL = (
  2**30
)  # operations of an evaluation: below it, threads cost five times more than they save (measured)


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
    x: [N, n] in float32 or float64, the dtype of the products.
    y: [N, K] targets.
    weights: [N] sample weights with a positive sum.
    start: coefficients [F, K] and b [K].
    loss: a function of z and y.
    alpha: the penalty, at least 0.
    max_iter: the largest number of iterations.
    tol: stops when the gradient of the mean loss, in b and the coefficients of columns of variance 1,
      is shorter than tol times the loss.
    tell: called with a line of text after every iteration.

  Returns:
    The coefficients [F, K]; b [K]; after every iteration the mean loss with its penalty, summed over the
    neurons; and whether the iteration has converged.
  """
  total = weights.sum()
  operator = _columns.columns(x)
  theta, b = (np.array(part, np.float64) for part in start)
  curve: list[float] = []

  def each(intermediate_result: OptimizeResult) -> None:
    curve.append(float(intermediate_result.fun))
    tell(f"iteration {len(curve)}: loss {curve[-1]:.6g}")
    if objective.slope <= tol * max(curve[-1], _NONE):
      raise StopIteration  # SciPy's own limits are not relative to the loss

  def change(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = _columns.moments(x, weights)
    scale = np.sqrt(variance + 4 * alpha / total)  # a logistic loss has a curvature of at most 1/4
    return mean, np.where(scale > 0, scale, 1)

  mean, scale = change(weights)
  work = 8 * x.size * x.shape[1] * y.shape[1]
  with _threads().limit(limits=1 if work < _SERIAL else None, user_api="blas"):
    while True:
      objective = _Objective(operator, y, weights / total, loss, alpha / total, mean, scale)
      begin = np.concatenate([(b + mean @ theta)[None], theta * scale[:, None]])
      found = minimize(
        objective,
        begin.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=each,
        options={
          "maxiter": max_iter - len(curve),
          "maxfun": 20 * max_iter,
          "gtol": 0.0,
          "ftol": 4 * np.finfo(x.dtype).eps,
          "maxls": 50,
          "maxcor": 10 if begin.size < _MANY else 4,
        },
      )
      end = found.x.reshape(begin.shape)
      theta = end[1:] / scale[:, None]
      b = end[0] - mean @ theta
      if loss is half_squared_error or len(curve) >= max_iter or not found.nit:
        break
      # A sample where the loss is flat, an outlier for example, does not count for a column's scale.
      yhat = loss(operator.matmat(theta.astype(x.dtype)) + b, y)[1] + y
      before = scale
      mean, scale = change(weights * (yhat * (1 - yhat)).mean(1))
      if np.all(scale > before / _ALIKE):
        break
  # If the line search finds no lower loss, rounding allows no further progress.
  return theta, b, curve or [float(found.fun)], found.status != 1


class _Objective:
  """Value and gradient in (b, coefficients) of the centred columns divided by `scale`."""

  def __init__(self, operator, y, weights, loss, alpha, mean, scale):
    self.operator, self.y, self.weights = operator, y.astype(operator.dtype), weights[:, None]
    self.loss, self.alpha, self.mean, self.scale = loss, alpha, mean, scale
    self.slope = math.inf  # the length of the last point's gradient

  def __call__(self, flat):
    both = flat.reshape(1 + len(self.mean), -1)
    theta = both[1:] / self.scale[:, None]
    z = self.operator.matmat(theta.astype(self.y.dtype))
    z += (both[0] - self.mean @ theta).astype(self.y.dtype)
    losses, r = self.loss(z, self.y)
    r = self.weights * r
    of_b = r.sum(0)
    of_theta = self.operator.rmatmat(r.astype(self.y.dtype)) - np.outer(self.mean, of_b)
    of_theta += self.alpha * theta
    value = (self.weights * losses).sum() + self.alpha / 2 * (theta * theta).sum()
    gradient = np.concatenate([of_b[None], of_theta / self.scale[:, None]]).ravel()
    self.slope = float(np.linalg.norm(gradient))
    return value, gradient


@functools.cache
def _threads() -> ThreadpoolController:
  return ThreadpoolController()
