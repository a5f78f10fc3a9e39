"""Quadratic neurons fitted by least squares."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import _check_sample_weight, validate_data

from qnn_jax.errors import InputError
from qnn_jax.sklearn import _columns
from qnn_jax.sklearn._base import DTYPES, QuadraticModel, by_sample

_LARGEST = 2**27  # numbers in the columns of `cholesky`: 1 GiB in float64


class QuadraticRegressor(RegressorMixin, QuadraticModel):
  """yhat = x^T Q x + w^T x + b, with half the squared error of the backpropagation notes.

  There is one neuron for each target. `qnn_jax.inspect` takes a fitted estimator and gives its
  eigenpairs and kinds of quadrics.

  Args:
    solver: 'cholesky' finds the exact minimum with scikit-learn's Ridge on the F = n + n(n+1)/2 columns
      x_i and x_i x_j. 'lbfgs' finds the same minimum with SciPy's L-BFGS-B and never stores large
      columns; from 1,000 columns on it took a fifth to a third of the time. 'sgd' makes an update after
      every sample, with the gradient of the notes.
    alpha: L2 penalty: alpha / 2 times the sum of the squared coefficients of these columns is added to
      half the sum of the squared errors, as in Ridge(alpha). The coefficient of x_i x_j is 2 Q_ij for
      i < j; b is not penalised. 'auto' is 1, and 0 for 'sgd'.
    max_iter: the largest number of iterations of 'lbfgs', or of passes of 'sgd' over the samples.
    tol: 'lbfgs' stops when the gradient of the mean loss is shorter than tol times that loss; the
      gradient is taken in b and in the coefficients of columns scaled to variance 1. 'sgd' stops when
      five passes have not lowered the mean loss by tol. 'auto' is 0.05, and None (never) for 'sgd'.
    learning_rate: as in `QuadraticLogisticRegression`, but 'auto' is a tenth of that, because the steps
      of a squared error follow the noise of y.
    init: as in `QuadraticLogisticRegression`; 'cholesky' needs no start.
    standardize: as in `QuadraticLogisticRegression`; y is never scaled.
    warm_start: start a fit from the neurons of the last fit; 'cholesky' needs no start.
    verbose: print a line after every iteration.
    random_state: None, a seed, np.random.RandomState or np.random.Generator, for 'sgd' and for a random
      start.

  Attributes:
    n_features_in_: n, the number of features.
    feature_names_in_: [n], the names of the features, if X had names.
    quadratic_: [K, n, n], the symmetric Q of each target, in the units of X.
    linear_: [K, n], w of each target.
    intercept_: [K], b of each target.
    feature_importances_: [n], see `QuadraticLogisticRegression`.
    n_iter_: the number of iterations or passes; 1 for 'cholesky'.
    loss_curve_: [n_iter_], see `QuadraticLogisticRegression`; not for 'cholesky'.
    learning_rate_: the eta that was used, for 'sgd'.

  Raises:
    ValueError: from `fit`, as in scikit-learn: NaN or infinite numbers, lengths that differ. An
      `InputError`, which is a ValueError: a parameter is out of range, the columns would not fit into
      memory, or the training overflowed.

  >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
  >>> QuadraticRegressor(alpha=0).fit(X, 2 * X[:, 0] ** 2 - 1).predict([[5.0]]).round(6).tolist()
  [49.0]
  """

  SOLVERS = ("cholesky", "lbfgs", "sgd")
  _logistic = False

  def __init__(
    self,
    *,
    solver="cholesky",
    alpha="auto",
    max_iter=100,
    tol="auto",
    learning_rate="auto",
    init="zeros",
    standardize="auto",
    warm_start=False,
    verbose=False,
    random_state=None,
  ):
    super().__init__(
      solver=solver,
      alpha=alpha,
      max_iter=max_iter,
      tol=tol,
      learning_rate=learning_rate,
      init=init,
      standardize=standardize,
      warm_start=warm_start,
      verbose=verbose,
      random_state=random_state,
    )

  def __sklearn_tags__(self):
    tags = super().__sklearn_tags__()
    tags.target_tags.multi_output = True
    return tags

  def fit(self, X, y, sample_weight=None):
    """Trains on X [N, n] and y [N] or [N, K], with weights sample_weight [N]; returns self."""
    self._check_parameters()
    self._fit(*self._checked(X, y, sample_weight))
    return self

  @by_sample
  def partial_fit(self, X, y, sample_weight=None):
    """Makes one pass of SGD over these samples in their order; returns self.

    X is [N, n], y is [N] or [N, K], sample_weight is [N]. The scaling is updated with these samples.
    """
    self._check_parameters()
    first = not hasattr(self, "_theta")
    X, y, weights = self._checked(X, y, sample_weight, reset=first)
    self._fit_partly(X, y, weights, first)
    return self

  def predict(self, X):
    """yhat of every sample of X [N, n]: [N] or [N, K], as the y of the fit."""
    z = self._z(X)
    return z[:, 0] if self._flat else z

  def _checked(self, X, y, sample_weight, reset=True):
    X, y = validate_data(self, X, y, dtype=DTYPES, multi_output=True, y_numeric=True, reset=reset)
    flat, y = y.ndim == 1, y.reshape(len(y), -1)
    if not reset and y.shape[1] != len(self.intercept_):
      raise InputError(f"y has {y.shape[1]} targets, but the fit before had {len(self.intercept_)}")
    self._flat = flat
    return X, y, _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

  def _minimise(self, x, y, weights, theta, unit=1.0):
    if self.solver == "lbfgs":
      # y is rescaled so that `tol` does not depend on the unit of y.
      unit = np.sqrt(np.average((y - y.mean(0)) ** 2, axis=0, weights=weights).mean())
      return super()._minimise(x, y, weights, theta, unit if unit > 0 else 1.0)
    size = x.shape[0] * (x.shape[1] + x.shape[1] * (x.shape[1] + 1) // 2)
    if size > _LARGEST:
      raise InputError(
        f"solver='cholesky' would store {size * x.itemsize / 2**30:.1f} GiB of columns for these "
        f"{x.shape[0]:,} samples of {x.shape[1]} features: use solver='lbfgs', which stores none"
      )
    alpha = 1.0 if isinstance(self.alpha, str) else self.alpha
    ridge = Ridge(alpha, solver="cholesky").fit(_columns.stored(x), y, sample_weight=weights)
    self.n_iter_ = 1
    q, w = _columns.neurons(ridge.coef_.reshape(y.shape[1], -1).T, x.shape[1])
    self._keep((q, w, np.ravel(ridge.intercept_)), x.dtype)
    return True
