"""Quadratic neurons without a link: least squares."""

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

  One neuron a target. `qnn_jax.inspect` takes a fitted one: eigenpairs, kinds of quadrics.

  Args:
    solver: 'cholesky', the exact minimum, by scikit-learn's Ridge on the F = n + n(n+1)/2 columns
      x_i and x_i x_j; 'lbfgs', the same minimum by SciPy's L-BFGS-B, without ever making columns
      that would be large: from 1,000 columns on it took a fifth to a third of the time; 'sgd', the
      notes' gradient, sample by sample.
    alpha: L2 penalty, alpha / 2 times the sum of the squared coefficients of those columns, beside
      half the sum of the squared errors, as Ridge(alpha) has it: Q_ij counts as its column's
      coefficient 2 Q_ij, b not at all. 'auto' is 1, for 'sgd' 0.
    max_iter: iterations of 'lbfgs', or passes of 'sgd', at most.
    tol: 'lbfgs' ends where the gradient of the mean loss, in the coefficients of columns of variance
      1 and in b, is shorter than tol times that loss; 'sgd' where five passes have not lowered the
      mean loss by tol. 'auto' is 0.05, for 'sgd' None, which is never.
    learning_rate: of 'sgd', see `QuadraticLogisticRegression`; 'auto' is a tenth of what it is there,
      as steps of a squared error follow the noise of y.
    init: where Q, w and b start, see there; 'cholesky' has no start.
    standardize: as `QuadraticLogisticRegression` has it; y is taken as it is.
    warm_start: a fit starts from the last one's neurons; 'cholesky' has no start.
    verbose: print a line after every iteration.
    random_state: None, a seed, np.random.RandomState or np.random.Generator; for 'sgd' and a random
      start.

  Attributes:
    n_features_in_: n.
    feature_names_in_: [n], if X had names.
    quadratic_: [K, n, n] symmetric Q of each target, in X's own units.
    linear_: [K, n] w.
    intercept_: [K] b.
    feature_importances_: [n], see `QuadraticLogisticRegression`.
    n_iter_: iterations made; 1 for 'cholesky'.
    loss_curve_: mean loss after every iteration, as there; not for 'cholesky'.
    learning_rate_: eta as used, for 'sgd'.

  Raises:
    ValueError: from `fit` as scikit-learn has it: NaN or infinite numbers, lengths that differ. As
      `InputError`: a parameter out of its range, columns that would not fit into the memory, or a
      training that left the floats.

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
    """Trains on X [N, n] and y [N] or [N, K], with weights [N]; returns self."""
    self._check_parameters()
    self._fit(*self._checked(X, y, sample_weight))
    return self

  @by_sample
  def partial_fit(self, X, y, sample_weight=None):
    """One pass of SGD over these samples in their order, with the scaling updated; returns self."""
    self._check_parameters()
    first = not hasattr(self, "_theta")
    X, y, weights = self._checked(X, y, sample_weight, reset=first)
    self._fit_partly(X, y, weights, first)
    return self

  def predict(self, X):
    """yhat of every sample, of y's shape: [N] or [N, K]."""
    z = self._z(X)
    return z[:, 0] if self._flat else z

  def _checked(self, X, y, sample_weight, reset=True):
    X, y = validate_data(self, X, y, dtype=DTYPES, multi_output=True, y_numeric=True, reset=reset)
    flat, y = y.ndim == 1, y.reshape(len(y), -1)
    if not reset and y.shape[1] != len(self.intercept_):
      raise InputError(f"y has {y.shape[1]} targets, and the fit before had {len(self.intercept_)}")
    self._flat = flat
    return X, y, _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)

  def _minimise(self, x, y, weights, theta, unit=1.0):
    if self.solver == "lbfgs":
      # In a unit of y such that `tol` means the same whatever y's own.
      unit = np.sqrt(np.average((y - y.mean(0)) ** 2, axis=0, weights=weights).mean())
      return super()._minimise(x, y, weights, theta, unit if unit > 0 else 1.0)
    size = x.shape[0] * (x.shape[1] + x.shape[1] * (x.shape[1] + 1) // 2)
    if size > _LARGEST:
      raise InputError(
        f"solver='cholesky' would make {size * x.itemsize / 2**30:.1f} GiB of columns of these "
        f"{x.shape[0]:,} samples of {x.shape[1]} features: use solver='lbfgs', which makes none"
      )
    alpha = 1.0 if isinstance(self.alpha, str) else self.alpha
    ridge = Ridge(alpha, solver="cholesky").fit(_columns.stored(x), y, sample_weight=weights)
    self.n_iter_ = 1
    q, w = _columns.neurons(ridge.coef_.reshape(y.shape[1], -1).T, x.shape[1])
    self._keep((q, w, np.ravel(ridge.intercept_)), x.dtype)
    return True
