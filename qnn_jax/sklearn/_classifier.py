"""Quadratic logistic regression, Section 2, as a scikit-learn classifier."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from qnn_jax.errors import InputError
from qnn_jax.sklearn._base import DTYPES, QuadraticModel, by_sample


class QuadraticLogisticRegression(ClassifierMixin, QuadraticModel):
  """P(y = 1 | x) = sigmoid(x^T Q x + w^T x + b), (1), with the cross-entropy (3).

  Two classes take one quadratic neuron, more take one a class: for 'lbfgs' the softmax of all z with
  its cross-entropy, as LogisticRegression has it; for 'sgd' a sigmoid each, its class against the rest.
  `qnn_jax.inspect` takes a fitted one: eigenpairs, kinds of quadrics.

  Args:
    solver: 'lbfgs', the minimum of the convex loss, by SciPy's L-BFGS-B; 'sgd', the paper's steps
      after every sample, (8), (11) mended, (19).
    alpha: L2 penalty, alpha / 2 times the sum of the squared coefficients of the columns x_i and
      x_i x_j, i <= j, of what the neurons are given, beside the sum of the losses: 1 / C of
      LogisticRegression on PolynomialFeatures(2). Q_ij counts as its column's coefficient 2 Q_ij, b
      not at all. 'auto' is 1, for 'sgd' 0.
    max_iter: iterations of 'lbfgs', or passes of 'sgd' over the samples, at most.
    tol: 'lbfgs' ends where the gradient of the mean loss, in the coefficients of columns of variance
      1 and in b, is shorter than tol times that loss; 'sgd' where five passes have not lowered the
      mean loss by tol. 'auto' is 0.05, for 'sgd' None, which is never.
    learning_rate: eta of 'sgd', positive; or 'auto', the reciprocal of the mean of |phi(x)|^2 over
      the training samples, phi(x) = (1, x, M(x)): an average sample's step then moves its own z by
      at most 1, whatever the number and the units of the features. There a sample of more than ten
      times the median counts as one of ten times, in the mean and in its own step.
    init: where Q starts: 'zeros', 'identity', or 'random', U[0, 0.01) symmetrised; w and b start
      at zero, or random likewise. The minimum does not depend on it.
    standardize: True gives the neurons features of mean 0 and variance 1: x^2 magnifies what is
      wrong with units and offsets, which neither the penalty nor SGD can cure. False, the paper's,
      gives them X. 'auto' is False where every feature is of order 1 already: a mean from -10 to 10,
      a mean absolute deviation from 0.1 to 10. There the units may tell which features matter, an
      outlier does not shrink the others, and the minimum is exactly that of LogisticRegression on
      PolynomialFeatures(2). Elsewhere, and in partial_fit, it is True.
    class_weight: None, 'balanced' or {label: weight}, factors of the sample weights, as
      scikit-learn has them.
    warm_start: a fit starts from the last one's neurons, if it has as many features and classes.
    verbose: print a line after every iteration.
    random_state: None, a seed, np.random.RandomState or np.random.Generator; draws a random start,
      and the order of the samples for 'sgd', which is the same in every pass as in the paper.

  Attributes:
    classes_: [C] the labels, sorted.
    n_features_in_: n.
    feature_names_in_: [n], if X had names.
    quadratic_: [K, n, n] symmetric Q of each neuron, in X's own units; K = 1 for two classes, else
      C. With standardised features these are worked out afterwards.
    linear_: [K, n] w. There is no `coef_`, which selectors would take for all there is.
    intercept_: [K] b.
    feature_importances_: [n], of sum 1: every feature's part, by w and by Q, in the variance of z.
    n_iter_: iterations or passes made.
    loss_curve_: [n_iter_] mean loss after every iteration, its penalty included, or of every pass
      before each sample's own step, without; summed over the neurons.
    learning_rate_: eta as used, for 'sgd'.

  Raises:
    ValueError: from `fit` as scikit-learn has it: NaN or infinite features, one class only,
      continuous labels, lengths that differ; from the others, another number of features than at
      the fit. As `InputError`: a parameter out of its range, or a training that left the floats.

  >>> X, y = [[-1, -1], [1, -1], [-1, 1], [1, 1]], ["no", "yes", "yes", "no"]
  >>> QuadraticLogisticRegression().fit(X, y).predict(X).tolist()
  ['no', 'yes', 'yes', 'no']
  """

  def __init__(
    self,
    *,
    solver="lbfgs",
    alpha="auto",
    max_iter=100,
    tol="auto",
    learning_rate="auto",
    init="zeros",
    standardize="auto",
    class_weight=None,
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
    self.class_weight = class_weight

  def fit(self, X, y, sample_weight=None):
    """Trains on X [N, n] and labels y [N], with weights [N]; returns self."""
    self._check_parameters()
    X, y = validate_data(self, X, y, dtype=DTYPES)
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) < 2:
      raise ValueError(
        "this classifier needs samples of at least 2 classes, but y has only one class: "
        f"{classes.tolist()[0]!r}"
      )
    weights = self._weights(X, y, sample_weight)
    if self.warm_start and not np.array_equal(getattr(self, "classes_", classes), classes):
      del self._theta  # another class's neuron is no start
    self.classes_ = classes
    self._softmax = self.solver == "lbfgs"
    self._fit(X, self._targets(y), weights)
    return self

  @by_sample
  def partial_fit(self, X, y, classes=None, sample_weight=None):
    """One pass of SGD over these samples in their order, with the scaling updated; returns self.

    `classes` are all labels that will come: needed in the first call.
    """
    self._check_parameters()
    first = not hasattr(self, "_theta")
    if first and classes is None:
      raise InputError("the first call of partial_fit needs classes, all labels that will come")
    X, y = validate_data(self, X, y, dtype=DTYPES, reset=first)
    check_classification_targets(y)
    known = np.unique(classes) if first else self.classes_
    if classes is not None and not np.array_equal(np.unique(classes), known):
      raise InputError(f"classes must stay what the first call gave: {known.tolist()}")
    if len(known) < 2:
      raise InputError(f"classes must be at least two labels, got {known.tolist()}")
    if not np.isin(y, known).all():
      strange = np.setdiff1d(y, known)
      raise InputError(f"y has the label {strange[0]!r}, which is not in classes")
    if isinstance(self.class_weight, str):
      raise InputError("class_weight='balanced' needs all samples at once: use fit, or a dict")
    weights = self._weights(X, y, sample_weight)
    self.classes_ = known
    self._softmax = False
    self._fit_partly(X, self._targets(y), weights, first)
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
    """[N, C] in the order of `classes_`; of more than two, softmax, or sigmoids over their sum."""
    return np.exp(self.predict_log_proba(X))

  def predict_log_proba(self, X):
    """The logarithms of `predict_proba`, exact where that rounds to 0: [N, C]."""
    z = self._z(X)
    if self._neurons == 1:
      return _log_sigmoid(np.concatenate([-z, z], axis=1))
    outputs = z if self._softmax else _log_sigmoid(z)
    return outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)

  @property
  def _neurons(self) -> int:
    return 1 if len(self.classes_) == 2 else len(self.classes_)

  def _targets(self, y: np.ndarray) -> np.ndarray:
    """y of each neuron, [N, K]: one for the second class of two, else one for each class."""
    ones = self.classes_[1:] if self._neurons == 1 else self.classes_
    return (y[:, None] == ones).astype(np.float64)

  def _weights(self, X, y, sample_weight) -> np.ndarray:
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if isinstance(self.class_weight, str):  # 'balanced': as if weights were numbers of samples
      labels, of = np.unique(y, return_inverse=True)
      totals = np.bincount(of, weights)
      factors = weights.sum() / (len(labels) * np.where(totals > 0, totals, 1))
      return weights * factors[of]
    try:
      return weights * compute_sample_weight(self.class_weight, y)
    except (ValueError, TypeError, AttributeError) as error:
      raise InputError(
        f"class_weight must be None, 'balanced' or a dict of a weight for every label, got "
        f"{self.class_weight!r}"
      ) from error

  def _check_parameters(self):
    super()._check_parameters()
    given = self.class_weight
    if not (given is None or isinstance(given, dict) or given == "balanced"):
      raise InputError(
        f"class_weight must be None, 'balanced' or a dict of labels and weights, got {given!r}"
      )


def _log_sigmoid(z: np.ndarray) -> np.ndarray:
  """log(1 / (1 + exp(-z))), which overflows nowhere."""
  return -np.logaddexp(0, -z)
