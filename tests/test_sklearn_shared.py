"""What both estimators and all solvers share: selection, weights, parts, seeds, interruption, mistakes."""

import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_circles
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score

from qnn_jax.errors import InputError
from qnn_jax.sklearn import QuadraticLogisticRegression, QuadraticRegressor, _sgd
from qnn_jax.training import logistic

SOLVERS = [
  *(QuadraticLogisticRegression(solver=solver) for solver in ("lbfgs", "sgd")),
  *(QuadraticRegressor(solver=solver) for solver in ("cholesky", "lbfgs", "sgd")),
]
every = pytest.mark.parametrize("model", SOLVERS, ids=lambda m: f"{type(m).__name__}-{m.solver}")


@pytest.fixture(scope="module")
def product():
  """Six features; the product of the third and the fifth is all there is to know."""
  X = np.random.default_rng(0).normal(size=(300, 6))
  return X * [1, 1, 100, 1, 0.01, 1], (X[:, 2] * X[:, 4] > 0).astype(int)


@every
def test_selectors_see_what_only_Q_has(product, model):
  X, y = product
  rfe = RFE(model, n_features_to_select=2).fit(X, y)
  assert np.flatnonzero(rfe.support_).tolist() == [2, 4]
  chosen = SelectFromModel(model, threshold="1.5*mean").fit(X, y)
  assert np.flatnonzero(chosen.get_support()).tolist() == [2, 4]
  assert chosen.estimator_.feature_importances_.sum() == pytest.approx(1)
  with pytest.raises(AttributeError, match="w is linear_, Q is quadratic_"):
    _ = chosen.estimator_.coef_


@pytest.mark.parametrize("standardize", [True, False])
def test_importances_are_parts_of_the_variance_of_z(standardize):
  rng = np.random.default_rng(0)
  X = rng.normal(3, 2, size=(100_000, 3))
  model = QuadraticRegressor(alpha=0, standardize=standardize)
  u = (X - X.mean(0)) / X.std(0)
  model.fit(X, u[:, 0] + 2 * u[:, 1] * u[:, 2] + u[:, 2] ** 2)
  # Of variances 1, 4 (in halves) and 2.
  np.testing.assert_allclose(model.feature_importances_, [1 / 7, 2 / 7, 4 / 7], atol=1e-6)


@pytest.mark.parametrize("kind", [QuadraticLogisticRegression, QuadraticRegressor])
def test_partial_fits_are_the_passes_of_a_fit(product, kind):
  X, y = product[0] / product[0].std(0), product[1]
  whole = kind(solver="sgd", max_iter=1, random_state=3, learning_rate=1e-3, standardize=False)
  whole.fit(X, y)
  order = np.random.RandomState(3).permutation(len(X))
  parts = kind(solver="sgd", learning_rate=1e-3, standardize=False)
  first = {"classes": [0, 1]} if kind is QuadraticLogisticRegression else {}
  parts.partial_fit(X[order[:100]], y[order[:100]], **first)
  parts.partial_fit(X[order[100:]], y[order[100:]])
  assert parts.n_iter_ == 2 == len(parts.loss_curve_)
  np.testing.assert_allclose(parts.quadratic_, whole.quadratic_, rtol=1e-4, atol=1e-7)


def test_partial_fits_learn_with_the_scaling_of_all_so_far(product):
  X, y = product
  model = QuadraticLogisticRegression(solver="sgd")
  for _ in range(10):
    for rows in np.array_split(np.arange(len(X)), 5):
      model.partial_fit(X[rows], y[rows], classes=[0, 1])
  assert model.score(X, y) > 0.93
  assert not hasattr(QuadraticLogisticRegression(), "partial_fit")


def test_weights_and_penalty_of_a_step_are_the_gradients(product):
  """One sample: theta - eta (weight dL/dtheta + alpha theta) with L2 on the columns' coefficients."""
  x, y, eta, weight, alpha = np.array([[0.5, -1.0, 2.0]]), np.array([[1.0]]), 0.1, 3.0, 0.7
  start = np.linspace(-1, 1, 10)[:, None]
  (theta, _) = next(
    _sgd.passes(
      start, x, y, np.array([eta * weight]), np.array([weight]), alpha=alpha, logistic_loss=True
    )
  )
  phi = np.asarray(logistic.features(x[0].astype(np.float32)))
  twice = np.where(np.isin(np.arange(10), [5, 6, 8]), 4.0, 1.0) * (np.arange(10) > 0)
  yhat = 1 / (1 + np.exp(-start[:, 0] @ phi))
  expected = start[:, 0] + eta * weight * ((1 - yhat) * phi - alpha * twice * start[:, 0])
  np.testing.assert_allclose(theta[:, 0], expected, rtol=1e-5)


def test_an_outlier_ruins_neither_solver():
  X, y = make_circles(500, noise=0.1, factor=0.6, random_state=0)
  X[0] = 100
  clean = slice(1, None)
  for solver in ("lbfgs", "sgd"):
    model = QuadraticLogisticRegression(solver=solver, random_state=0, standardize=False).fit(X, y)
    assert model.score(X[clean], y[clean]) > 0.9


@pytest.mark.parametrize("seed", [np.random.Generator, np.random.RandomState])
def test_generators_are_seeds(product, seed):
  make = np.random.default_rng if seed is np.random.Generator else np.random.RandomState
  kept = [
    QuadraticLogisticRegression(solver="sgd", max_iter=2, random_state=make(s)).fit(*product)
    for s in (0, 0, 1)
  ]
  assert (kept[0].quadratic_ == kept[1].quadratic_).all()
  assert (kept[0].quadratic_ != kept[2].quadratic_).any()


def test_searches_and_calibration(product):
  search = GridSearchCV(QuadraticLogisticRegression(), {"alpha": [0.1, 1]}, cv=2, n_jobs=2)
  assert search.fit(*product).best_score_ > 0.8
  calibrated = CalibratedClassifierCV(QuadraticLogisticRegression(), cv=2).fit(*product)
  assert calibrated.score(*product) > 0.8
  assert cross_val_score(QuadraticRegressor(), *product, cv=3).mean() > 0.1


def test_an_early_stop_of_sgd(product):
  model = QuadraticLogisticRegression(solver="sgd", tol=1e-2, random_state=0).fit(*product)
  assert model.n_iter_ == len(model.loss_curve_) < 100


def test_ctrl_c_ends_a_training_of_hours():
  program = """
    import numpy as np
    from qnn_jax.sklearn import QuadraticLogisticRegression
    X = np.random.default_rng(0).normal(size=(20_000, 100))
    model = QuadraticLogisticRegression(solver="sgd", verbose=True, max_iter=10**6, tol=None)
    try:
      model.fit(X, X[:, 0] > 0)
    except KeyboardInterrupt:
      print("interrupted")
  """
  command = [sys.executable, "-c", textwrap.dedent(program)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    assert "epoch 1" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=100)[0]
  assert rest.endswith("interrupted\n")


@every
@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"solver": "newton"}, "solver must be one of "),
    ({"alpha": -1}, "alpha must be 'auto' or a number from 0 up, got -1"),
    ({"tol": "low"}, "tol must be 'auto' or None or a number from 0 up, got 'low'"),
    ({"warm_start": 1}, "warm_start must be True or False, got 1"),
    ({"standardize": "yes"}, "standardize must be 'auto', True or False, got 'yes'"),
    ({"verbose": -1}, "verbose must be True, False or a number from 0 up, got -1"),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_name_the_parameter(model, arguments, message):
  model = type(model)(**{"solver": model.solver, **arguments})
  with pytest.raises(InputError, match=re.escape(message)):
    model.fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"class_weight": "even"}, "class_weight must be None, 'balanced' or a dict"),
    ({"class_weight": {5: 1}}, "class_weight must be None, 'balanced' or a dict"),
    ({"solver": "sgd", "random_state": "x"}, "random_state must be None, a whole number"),
  ],
  ids=["word", "label", "seed"],
)
def test_mistakes_of_the_classifier(arguments, message):
  with pytest.raises(InputError, match=message):
    QuadraticLogisticRegression(**arguments).fit([[0.0], [1.0]], [0, 1])


@every
def test_bad_data(model):
  with pytest.raises(TypeError, match="Sparse data was passed"):
    model.fit(scipy.sparse.csr_array([[0.0], [1.0]]), [0, 1])
  # scikit-learn 1.8 has a sentence of its own.
  with pytest.raises(ValueError, match="must have a positive weight|at least one non-zero"):
    model.fit([[0.0], [1.0]], [0, 1], sample_weight=[0, 0])


def test_partial_fits_that_do_not_fit_together():
  model = QuadraticLogisticRegression(solver="sgd")
  with pytest.raises(InputError, match="the first call of partial_fit needs classes"):
    model.partial_fit([[0.0]], [0])
  with pytest.raises(InputError, match="classes must be at least two labels"):
    model.partial_fit([[0.0]], [0], classes=[0])
  model.partial_fit([[0.0]], [0], classes=[0, 1])
  with pytest.raises(InputError, match="classes must be the same as in the first call"):
    model.partial_fit([[0.0]], [0], classes=[0, 2])
  with pytest.raises(InputError, match="the label .*2.*, which is not in classes"):
    model.partial_fit([[0.0]], [2])
