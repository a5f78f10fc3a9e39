"""Quadratic logistic regression, Section 2, as a scikit-learn classifier.

The one room that needs scikit-learn, an optional extra: `pip install 'qnn_jax[sklearn]'`. Nothing
else imports it.
"""

import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import ops
from qnn_jax.errors import InputError
from qnn_jax.training import logistic

try:
  from sklearn.base import BaseEstimator, ClassifierMixin
  from sklearn.preprocessing import StandardScaler
  from sklearn.utils import check_random_state
  from sklearn.utils.multiclass import check_classification_targets
  from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
  raise ImportError(
    "qnn_jax.sklearn needs scikit-learn 1.7 or later: pip install 'qnn_jax[sklearn]'"
  ) from error

INITS = ("zeros", "identity", "random")
_STORED_FEATURES = 2**25  # numbers: more than 128 MB of features are made sample by sample instead


class QuadraticLogisticRegression(ClassifierMixin, BaseEstimator):
  """P(y = 1 | x) = sigmoid(x^T Q x + w^T x + b), (1), by per-sample SGD: (8), (11) mended, (19).

  Two classes take one quadratic neuron, more take one a class, each its class against the rest.
  A sample's parameters number 1 + n + n(n+1)/2, and so does the work of a step: meant for tens of
  features, possible for hundreds. `qnn_jax.inspect` takes a fitted one: eigenpairs, kinds of quadrics.

  Args:
    learning_rate: eta, positive; or 'auto', the reciprocal of the mean of |phi(x)|^2 over the
      training samples, phi(x) = (1, x, M(x)): an average sample's step then moves its own z by at
      most 1, whatever the number and the units of the features.
    epochs: passes over the samples, at least 1.
    init: where Q starts: 'zeros', 'identity', or 'random', U[0, 0.01) symmetrised; w and b start
      at zero, or random likewise.
    standardize: give the neurons features of mean 0 and variance 1. x^2 magnifies what is wrong
      with units and offsets, and plain SGD has no other cure; False is the paper's training.
    random_state: seed, generator or None; draws the order of the samples, which is the same in
      every epoch as in the paper, and the random start.

  Attributes:
    classes_: [C] the labels, sorted.
    n_features_in_: n.
    feature_names_in_: [n], if X had names.
    quadratic_: [K, n, n] symmetric Q of each neuron, in X's own units; K = 1 for two classes, else
      C. With standardised features these are worked out afterwards.
    coef_: [K, n] w.
    intercept_: [K] b.
    learning_rate_: eta as used.

  Raises:
    ValueError: from `fit` as scikit-learn has it: NaN or infinite features, one class only,
      continuous labels, lengths that differ; from the others, another number of features than at
      the fit. As `InputError`: a parameter out of its range, or a training that left the floats.

  >>> X, y = [[-1, -1], [1, -1], [-1, 1], [1, 1]], ["no", "yes", "yes", "no"]
  >>> QuadraticLogisticRegression(random_state=0).fit(X, y).predict(X).tolist()
  ['no', 'yes', 'yes', 'no']
  """

  def __init__(
    self,
    learning_rate="auto",
    epochs=100,
    *,
    init="zeros",
    standardize=True,
    random_state=None,
  ):
    self.learning_rate = learning_rate
    self.epochs = epochs
    self.init = init
    self.standardize = standardize
    self.random_state = random_state

  def fit(self, X, y):
    """Trains on X [N, n] and labels y [N]; returns self."""
    self._check_parameters()
    X, y = validate_data(self, X, y, dtype=np.float64)
    check_classification_targets(y)
    self.classes_, labels = np.unique(y, return_inverse=True)
    if len(self.classes_) < 2:
      raise ValueError(
        "this classifier needs samples of at least 2 classes, but y has only one class: "
        f"{self.classes_[0]!r}"
      )
    self._scaler = StandardScaler(with_mean=self.standardize, with_std=self.standardize).fit(X)
    x = self._scaler.transform(X)
    rng = check_random_state(self.random_state)
    order = rng.permutation(len(x))
    theta = _train(
      _start(self.init, x.shape[1], self._neurons, rng),
      x[order],
      _targets(labels[order], self._neurons),
      self._rate(x),
      self.epochs,
    )
    if not jnp.isfinite(theta).all():
      raise InputError(
        "the training left the range of floats; use standardize=True or scale the features"
      )
    packed, kernel, bias = logistic.split(theta, x.shape[1])
    parts = ops.unpack(packed), kernel.T, bias
    self._theta = q, w, b = tuple(np.asarray(part, np.float64) for part in parts)
    self.quadratic_, self.coef_, self.intercept_ = _unscaled(q, w, b, self._scaler)
    return self

  def decision_function(self, X):
    """z of every sample: [N] for two classes, positive for `classes_[1]`; else [N, C]."""
    z = self._z(X)
    return z[:, 0] if self._neurons == 1 else z

  def predict(self, X):
    """The labels [N]: the class of the neuron with the largest output."""
    z = self._z(X)
    return self.classes_[(z[:, 0] > 0).astype(int) if self._neurons == 1 else z.argmax(1)]

  def predict_proba(self, X):
    """[N, C] in the order of `classes_`; of more than two, the neurons' outputs over their sum."""
    return np.exp(self.predict_log_proba(X))

  def predict_log_proba(self, X):
    """The logarithms of `predict_proba`, exact where that rounds to 0: [N, C]."""
    z = self._z(X)
    if self._neurons == 1:
      return _log_sigmoid(np.concatenate([-z, z], axis=1))
    outputs = _log_sigmoid(z)
    return outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)

  @property
  def _neurons(self) -> int:
    return 1 if len(self.classes_) == 2 else len(self.classes_)

  def _z(self, X):
    check_is_fitted(self)
    x = self._scaler.transform(validate_data(self, X, dtype=np.float64, reset=False))
    # In the units of the training: there nothing cancels, as it may in X's own.
    q, w, b = self._theta
    quadratic = np.stack([((x @ q_k) * x).sum(1) for q_k in q], axis=1)
    return quadratic + x @ w.T + b  # (1)

  def _rate(self, x: np.ndarray) -> float:
    rate = self.learning_rate
    if rate == "auto":
      # |phi|^2 = 1 + |x|^2 + |M|^2, and the packed M has x_i^4 and, once for i < j, 4 x_i^2 x_j^2.
      with np.errstate(over="ignore", invalid="ignore"):
        square = (x**2).sum(1)
        rate = 1 / np.mean(1 + square + 2 * square**2 - (x**4).sum(1))
    self.learning_rate_ = float(rate)
    return self.learning_rate_

  def _check_parameters(self) -> None:
    rate, epochs = self.learning_rate, self.epochs
    if rate != "auto" and not (_is_number(rate, numbers.Real) and 0 < rate < math.inf):
      raise InputError(f"learning_rate must be 'auto' or a positive number, got {rate!r}")
    if not (_is_number(epochs, numbers.Integral) and epochs >= 1):
      raise InputError(f"epochs must be a whole number from 1 up, got {epochs!r}")
    if self.init not in INITS:
      raise InputError(f"init must be one of {', '.join(INITS)}, got {self.init!r}")


def _is_number(value, kind) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)


def _start(init: str, n: int, neurons: int, rng: np.random.RandomState) -> np.ndarray:
  """theta [F, neurons]."""
  q, w, b = np.zeros((neurons, n, n)), np.zeros((n, neurons)), np.zeros(neurons)
  if init == "identity":
    q = q + np.eye(n)
  elif init == "random":
    q, w, b = (rng.uniform(0, 0.01, array.shape) for array in (q, w, b))
    q = (q + q.swapaxes(1, 2)) / 2
  return np.concatenate([b[None], w, q[:, *np.triu_indices(n)].T])


def _targets(labels: np.ndarray, neurons: int) -> np.ndarray:
  """y of each neuron, [N, neurons]: one for the second class of two, else one for each class."""
  if neurons == 1:
    return labels[:, None]
  return labels[:, None] == np.arange(neurons)


def _train(theta, x, targets, rate: float, epochs: int) -> jax.Array:
  # What overflows becomes an infinity here and a NaN in the training, and `fit` tells of that.
  with np.errstate(over="ignore"):
    theta, x, targets = (jnp.asarray(array, jnp.float32) for array in (theta, x, targets))
  if len(x) * len(theta) <= _STORED_FEATURES:
    return logistic.sgd(theta, _column_features(x), targets, rate, epochs)
  return logistic.sgd(theta, x, targets, rate, epochs, expand=_column_features)


def _column_features(x: jax.Array) -> jax.Array:
  """[..., n] -> [..., F, 1], the same for all neurons."""
  return logistic.features(x)[..., None]


def _unscaled(q, w, b, scaler: StandardScaler):
  """(1) of u = (x - mean) / scale written in x: Q [K, n, n], w [K, n], b [K]."""
  n = q.shape[-1]
  mean = np.zeros(n) if scaler.mean_ is None else scaler.mean_
  scale = np.ones(n) if scaler.scale_ is None else scaler.scale_
  q = q / (scale[:, None] * scale)
  w = w / scale
  q_mean = q @ mean
  return q, w - 2 * q_mean, b - w @ mean + q_mean @ mean


def _log_sigmoid(z: np.ndarray) -> np.ndarray:
  """log(1 / (1 + exp(-z))), which overflows nowhere."""
  return -np.logaddexp(0, -z)
