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

  For two classes there is one quadratic neuron, for more there is one for each class. With 'lbfgs' the
  probabilities of more than two classes are the softmax of all z, as in LogisticRegression. With 'sgd'
  each neuron is a sigmoid that separates its class from the rest. `qnn_jax.inspect` takes a fitted
  estimator and gives its eigenpairs and kinds of quadrics.

  Args:
    solver: 'lbfgs' finds the minimum of the convex loss with SciPy's L-BFGS-B. 'sgd' makes the paper's
      update after every sample: (8), (11) with its sign corrected, (19).
    alpha: L2 penalty: alpha / 2 times the sum of the squared coefficients of the columns x_i and
      x_i x_j, i <= j, is added to the sum of the losses. The columns are those of the features that the
      neurons get. The coefficient of x_i x_j is 2 Q_ij for i < j; b is not penalised. alpha is 1 / C of
      LogisticRegression on PolynomialFeatures(2). 'auto' is 1, and 0 for 'sgd'.
    max_iter: the largest number of iterations of 'lbfgs', or of passes of 'sgd' over the samples.
    tol: 'lbfgs' stops when the gradient of the mean loss is shorter than tol times that loss; the
      gradient is taken in b and in the coefficients of columns scaled to variance 1. 'sgd' stops when
      five passes have not lowered the mean loss by tol. 'auto' is 0.05, and None (never) for 'sgd'.
    learning_rate: eta of 'sgd', a positive number or 'auto'. 'auto' is the reciprocal of the mean of
      |phi(x)|^2 over the training samples, with phi(x) = (1, x, M(x)). A step for an average sample then
      changes its own z by at most 1, whatever the number and the units of the features. A |phi|^2 above
      ten times the median is taken as ten times the median, in the mean and in that sample's step.
    init: how Q starts: 'zeros', 'identity', or 'random' for U[0, 0.01), symmetrised. w and b start at
      zero, or from U[0, 0.01) with 'random'. The minimum does not depend on it.
    standardize: True scales the features to mean 0 and variance 1, since x^2 magnifies unsuitable units
      and offsets, which neither the penalty nor SGD corrects. False gives the neurons X itself, as in the
      paper. 'auto' is False if every feature has a mean from -10 to 10 and a mean absolute deviation
      from 0.1 to 10. Then the units may tell which features matter, an outlier does not shrink the other
      values, and the minimum is exactly that of LogisticRegression on PolynomialFeatures(2). For other
      features, and in partial_fit, 'auto' is True.
    class_weight: None, 'balanced' or {label: weight}: factors of the sample weights, as in scikit-learn.
    warm_start: start a fit from the neurons of the last fit, if it has the same features and classes.
    verbose: print a line after every iteration.
    random_state: None, a seed, np.random.RandomState or np.random.Generator. It draws a random start,
      and the order of the samples for 'sgd', which is the same in every pass as in the paper.

  Attributes:
    classes_: [C], the sorted labels.
    n_features_in_: n, the number of features.
    feature_names_in_: [n], the names of the features, if X had names.
    quadratic_: [K, n, n], the symmetric Q of each neuron, in the units of X; K = 1 for two classes, else
      K = C. With standardised features they are converted after the training.
    linear_: [K, n], w of each neuron. There is no `coef_`, because feature selectors would use it alone.
    intercept_: [K], b of each neuron.
    feature_importances_: [n], of sum 1: the part of each feature, by w and by Q, in the variance of z.
    n_iter_: the number of iterations or passes.
    loss_curve_: [n_iter_], for 'lbfgs' the mean loss with its penalty after every iteration; for 'sgd'
      the mean over every pass of each sample's loss before its own step, without the penalty. Both are
      summed over the neurons.
    learning_rate_: the eta that was used, for 'sgd'.

  Raises:
    ValueError: from `fit`, as in scikit-learn: NaN or infinite features, only one class, continuous
      labels, lengths that differ. From the other methods: another number of features than at the fit.
      An `InputError`, which is a ValueError: a parameter is out of range, or the training overflowed.

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
    """Trains on X [N, n] and labels y [N], with weights sample_weight [N]; returns self."""
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
      del self._theta  # with other classes the old neurons are no start
    self.classes_ = classes
    self._softmax = self.solver == "lbfgs"
    self._fit(X, self._targets(y), weights)
    return self

  @by_sample
  def partial_fit(self, X, y, classes=None, sample_weight=None):
    """Makes one pass of SGD over these samples in their order; returns self.

    The scaling of the features is updated with these samples.

    Args:
      X: [N, n] samples.
      y: [N] labels.
      classes: all labels that any call will have; needed in the first call.
      sample_weight: [N] weights.
    """
    self._check_parameters()
    first = not hasattr(self, "_theta")
    if first and classes is None:
      raise InputError(
        "the first call of partial_fit needs classes: all labels that any call will have"
      )
    X, y = validate_data(self, X, y, dtype=DTYPES, reset=first)
    check_classification_targets(y)
    known = np.unique(classes) if first else self.classes_
    if classes is not None and not np.array_equal(np.unique(classes), known):
      raise InputError(f"classes must be the same as in the first call: {known.tolist()}")
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
    """z of every sample of X [N, n]: [N] for two classes, positive for `classes_[1]`; else [N, C]."""
    z = self._z(X)
    return z[:, 0] if self._neurons == 1 else z

  def predict(self, X):
    """The labels [N] of X [N, n]: for each sample the class whose neuron has the largest output."""
    z = self._z(X)
    return self.classes_[(z[:, 0] > 0).astype(int) if self._neurons == 1 else z.argmax(1)]

  def predict_proba(self, X):
    """The probabilities [N, C] of X [N, n], in the order of `classes_`.

    For more than two classes they are the softmax, or for 'sgd' the sigmoids divided by their sum.
    """
    return np.exp(self.predict_log_proba(X))

  def predict_log_proba(self, X):
    """The logarithms [N, C] of `predict_proba` of X [N, n], exact even where a probability rounds to 0."""
    z = self._z(X)
    if self._neurons == 1:
      return _log_sigmoid(np.concatenate([-z, z], axis=1))
    outputs = z if self._softmax else _log_sigmoid(z)
    return outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)

  @property
  def _neurons(self) -> int:
    return 1 if len(self.classes_) == 2 else len(self.classes_)

  def _targets(self, y: np.ndarray) -> np.ndarray:
    """The targets of each neuron, [N, K]: 1 for the second of two classes, else one neuron a class."""
    ones = self.classes_[1:] if self._neurons == 1 else self.classes_
    return (y[:, None] == ones).astype(np.float64)

  def _weights(self, X, y, sample_weight) -> np.ndarray:
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if isinstance(self.class_weight, str):  # 'balanced', where weights count as numbers of samples
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
