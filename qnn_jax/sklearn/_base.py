"""The base class of the classifier and the regressor: parameters, scaling, training, progress."""

import math
import numbers
import warnings

import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.sklearn import _columns, _lbfgs, _sgd
from qnn_jax.training import logistic

INITS = ("zeros", "identity", "random")
DTYPES = (np.float64, np.float32)
_PATIENCE = 5  # passes of SGD without a loss lower by `tol`

Neurons = tuple[np.ndarray, ...]
"""Q [K, n, n] symmetric, w [K, n], b [K]."""


def steps_by_sample(model) -> bool:
  """Whether `partial_fit` is available: only per-sample training can have it."""
  if model.solver != "sgd":
    raise AttributeError(
      f"partial_fit needs solver='sgd', and this {type(model).__name__} has solver={model.solver!r}"
    )
  return True


by_sample = available_if(steps_by_sample)


class QuadraticModel(BaseEstimator):
  """Fitted neurons z = x^T Q x + w^T x + b. A subclass defines their targets and losses."""

  SOLVERS: tuple[str, ...] = ("lbfgs", "sgd")
  _logistic = True

  def __init__(
    self,
    *,
    solver,
    alpha,
    max_iter,
    tol,
    learning_rate,
    init,
    standardize,
    warm_start,
    verbose,
    random_state,
  ):
    self.solver = solver
    self.alpha = alpha
    self.max_iter = max_iter
    self.tol = tol
    self.learning_rate = learning_rate
    self.init = init
    self.standardize = standardize
    self.warm_start = warm_start
    self.verbose = verbose
    self.random_state = random_state

  @property
  def coef_(self):
    # Feature selectors prefer coef_ to feature_importances_, and would miss the part of Q.
    raise AttributeError(
      f"{type(self).__name__} has no coef_: w is linear_, Q is quadratic_, and what a feature adds "
      "by both is feature_importances_"
    )

  @property
  def feature_importances_(self) -> np.ndarray:
    """The importances [n]: w_i^2 + 2 sum_j Q_ij^2 of standardised features, summed over the neurons.

    Their sum is 1. This is a feature's part in the variance of z for independent standard normal features,
    with a pair's part shared in halves. If all neurons are zero, so are the importances.
    """
    check_is_fitted(self)
    mean, scale = self._units()
    spread = np.sqrt(self._scaler.var_)  # zero for a constant feature, which adds nothing
    q, w, _ = substitute(self._theta, mean - self._scaler.mean_, scale)
    q, w = q * (spread[:, None] * spread), w * spread
    parts = (w**2 + 2 * (q**2).sum(2)).sum(0)
    return parts / (parts.sum() or 1)

  def _check_parameters(self) -> None:
    if self.solver not in self.SOLVERS:
      raise InputError(f"solver must be one of {', '.join(self.SOLVERS)}, got {self.solver!r}")
    if self.init not in INITS:
      raise InputError(f"init must be one of {', '.join(INITS)}, got {self.init!r}")
    if not (_is(self.max_iter, numbers.Integral) and self.max_iter >= 1):
      raise InputError(f"max_iter must be a whole number from 1 up, got {self.max_iter!r}")
    rate = self.learning_rate
    if not (_is_word(rate, "auto") or _is(rate, numbers.Real) and 0 < rate < math.inf):
      raise InputError(f"learning_rate must be 'auto' or a positive number, got {rate!r}")
    for name, words in (("alpha", ("auto",)), ("tol", ("auto", None))):
      value = getattr(self, name)
      if not (_is_word(value, *words) or _is(value, numbers.Real) and 0 <= value < math.inf):
        raise InputError(
          f"{name} must be {' or '.join(map(repr, words))} or a number from 0 up, got {value!r}"
        )
    if not (_is_word(self.standardize, "auto") or isinstance(self.standardize, (bool, np.bool_))):
      raise InputError(f"standardize must be 'auto', True or False, got {self.standardize!r}")
    if not isinstance(self.warm_start, (bool, np.bool_)):
      raise InputError(f"warm_start must be True or False, got {self.warm_start!r}")
    if not isinstance(self.verbose, (bool, np.bool_, numbers.Integral)) or self.verbose < 0:
      raise InputError(f"verbose must be True, False or a number from 0 up, got {self.verbose!r}")

  def _fit(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray) -> None:
    """Trains on checked X [N, n], targets y [N, K] and weights [N], from the start or warm."""
    n, k = X.shape[1], y.shape[1]
    before = self._before(n, k) if self.warm_start else None
    if not weights.sum() > 0:
      raise InputError("sample_weight must have a positive weight, but all are zero")
    with np.errstate(all="ignore"):  # overflow is reported at the end
      self._scale(X, weights)
      x = self._scaled(X)
      rng = _random_state(self.random_state)
      order = rng.permutation(len(x)) if self.solver == "sgd" else None
      theta = _start(self.init, n, k, rng) if before is None else self._carried(*before)
      if order is None:
        converged = self._minimise(x, y, weights, theta)
      else:
        converged = self._step_by_sample(x[order], y[order], weights[order], theta)
    if not converged:
      warnings.warn(
        f"not converged after max_iter={self.max_iter} iterations: raise max_iter or tol, or scale the "
        "features (standardize=True)",
        ConvergenceWarning,
        stacklevel=3,
      )

  def _fit_partly(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray, first: bool) -> None:
    """One pass of SGD over the samples in their order. The scaling is updated with them."""
    n, k = X.shape[1], y.shape[1]
    with np.errstate(all="ignore"):
      if first:
        self._scaler = StandardScaler().partial_fit(X, sample_weight=weights)
        self._standardized = bool(self.standardize)
        theta = _start(self.init, n, k, _random_state(self.random_state))
        self.n_iter_, self.loss_curve_ = 0, list[float]()
      else:
        units = self._units()
        self._scaler.partial_fit(X, sample_weight=weights)
        theta = self._carried(self._theta, *units)
      self._step_by_sample(self._scaled(X), y, weights, theta, passes=1)

  def _minimise(self, x, y, weights, theta: Neurons, unit: float = 1.0) -> bool:
    q, w, b = (part / unit for part in theta)
    columns, b, curve, converged = _lbfgs.fit(
      x,
      y / unit,
      weights,
      (_columns.coefficients(q, w), b),
      loss=self._loss(y.shape[1]),
      alpha=1.0 if _is_word(self.alpha, "auto") else self.alpha,
      max_iter=self.max_iter,
      tol=0.05 if _is_word(self.tol, "auto") else self.tol or 0.0,
      tell=self._tell,
    )
    self.n_iter_, self.loss_curve_ = len(curve), [loss * unit**2 for loss in curve]
    self._keep((*_columns.neurons(columns * unit, x.shape[1]), b * unit), x.dtype)
    return converged

  def _loss(self, neurons: int) -> _lbfgs.Loss:
    logistic = _lbfgs.cross_entropy if neurons == 1 else _lbfgs.softmax_cross_entropy
    return logistic if self._logistic else _lbfgs.half_squared_error

  def _step_by_sample(self, x, y, weights, theta: Neurons, passes: int | None = None) -> bool:
    eta = None if _is_word(self.learning_rate, "auto") else float(self.learning_rate)
    self.learning_rate_, rate = _sgd.rates(x, weights, eta, self._logistic)
    tol = None if _is_word(self.tol, "auto") else self.tol
    alpha = 0.0 if _is_word(self.alpha, "auto") else self.alpha
    packed = _join(*theta)
    trained = _sgd.passes(
      packed, x, y, rate, weights, alpha=alpha / weights.sum(), logistic_loss=self._logistic
    )
    curve: list[float] = []
    while len(curve) < (passes or self.max_iter) and not _settled(curve, tol):
      packed, loss = next(trained)
      curve.append(loss)
      self._tell(f"epoch {len(curve)}: loss {loss:.6g}")
    q, w, b = logistic.split(packed, x.shape[1])
    if passes is None:
      self.n_iter_, self.loss_curve_ = len(curve), curve
    else:
      self.n_iter_, self.loss_curve_ = self.n_iter_ + 1, [*self.loss_curve_, *curve]
    self._keep((np.asarray(ops.unpack(jnp.asarray(q))), w.T, b), x.dtype)
    return passes is not None or tol is None or _settled(curve, tol)

  def _keep(self, theta: Neurons, dtype) -> None:
    if not all(np.isfinite(part).all() for part in theta):
      cure = ", or a smaller learning_rate" if self.solver == "sgd" else ""
      raise InputError(f"the training overflowed: use standardize=True, scale the data{cure}")
    self._theta = tuple(np.asarray(part, np.float64) for part in theta)
    own = substitute(self._theta, *self._units())
    self._theta = tuple(part.astype(dtype) for part in self._theta)
    self.quadratic_, self.linear_, self.intercept_ = (part.astype(dtype) for part in own)

  def _z(self, X: np.ndarray) -> np.ndarray:
    """[N, K]."""
    check_is_fitted(self)
    x = self._scaled(validate_data(self, X, dtype=DTYPES, reset=False))
    # In the units of the training: in the units of X large terms might cancel and lose precision.
    q, w, b = self._theta
    return _columns.quadratic_form(x, q) + x @ w.T + b  # (1)

  def _scale(self, X: np.ndarray, weights: np.ndarray) -> None:
    self._scaler = StandardScaler().fit(X, sample_weight=weights)
    self._standardized = bool(self.standardize)
    if _is_word(self.standardize, "auto"):
      mean = self._scaler.mean_
      spread = np.average(np.abs(X - mean), axis=0, weights=weights)  # an outlier counts little
      self._standardized = not ((np.abs(mean) <= 10) & (0.1 <= spread) & (spread <= 10)).all()

  def _scaled(self, X: np.ndarray) -> np.ndarray:
    return self._scaler.transform(X) if self._standardized else X

  def _units(self) -> tuple[np.ndarray, np.ndarray]:
    """(mean [n], scale [n]): the neurons get the features (x - mean) / scale."""
    if self._standardized:
      return self._scaler.mean_.copy(), self._scaler.scale_.copy()
    return np.zeros(self.n_features_in_), np.ones(self.n_features_in_)

  def _before(self, n: int, k: int):
    """The neurons of the last fit, if there are any of these shapes, with their mean and scale."""
    theta = getattr(self, "_theta", None)
    if theta is None or theta[0].shape != (k, n, n):
      return None
    return theta, *self._units()

  def _carried(self, theta: Neurons, mean: np.ndarray, scale: np.ndarray) -> Neurons:
    """The neurons `theta` of features (x - mean) / scale, converted to the present mean and scale."""
    new_mean, new_scale = self._units()
    return substitute(theta, (mean - new_mean) / new_scale, scale / new_scale)

  def _tell(self, line: str) -> None:
    if self.verbose:
      print(f"{type(self).__name__}: {line}", flush=True)


def substitute(theta: Neurons, mean: np.ndarray, scale: np.ndarray) -> Neurons:
  """The neurons of u = (x - mean) / scale, rewritten as neurons of x, in float64."""
  q, w, b = (np.asarray(part, np.float64) for part in theta)
  q = q / (scale[:, None] * scale)
  w = w / scale
  q_mean = q @ mean
  return q, w - 2 * q_mean, b - w @ mean + q_mean @ mean


def _settled(curve: list[float], tol: float | None) -> bool:
  """Whether none of the last passes has lowered the loss by `tol` below the lowest loss before them."""
  if tol is None or len(curve) <= _PATIENCE:
    return False
  return min(curve[-_PATIENCE:]) > min(curve[:-_PATIENCE]) - tol


def _start(init: str, n: int, neurons: int, rng: np.random.RandomState) -> Neurons:
  q, w, b = np.zeros((neurons, n, n)), np.zeros((n, neurons)), np.zeros(neurons)
  if init == "identity":
    q = q + np.eye(n)
  elif init == "random":
    q, w, b = (rng.uniform(0, 0.01, array.shape) for array in (q, w, b))
    q = (q + q.swapaxes(1, 2)) / 2
  return q, w.T, b


def _join(q: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
  """theta [1 + F, K] of `logistic.join`."""
  return np.concatenate([b[None], w.T, q[:, *np.triu_indices(q.shape[1])].T])


def _random_state(seed) -> np.random.RandomState:
  if isinstance(seed, np.random.Generator):
    return np.random.RandomState(seed.integers(2**32, dtype=np.uint32))
  try:
    return check_random_state(seed)
  except ValueError:
    raise InputError(
      "random_state must be None, a whole number from 0 up, a np.random.RandomState or a "
      f"np.random.Generator, got {seed!r}"
    ) from None


def _is(value, kind) -> bool:
  return isinstance(value, kind) and not isinstance(value, (bool, np.bool_))


def _is_word(value, *words) -> bool:
  return value is None and None in words or isinstance(value, str) and value in words
