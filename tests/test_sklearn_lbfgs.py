"""L-BFGS finds the minimum that scikit-learn's own models find on PolynomialFeatures(2)."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from qnn_jax import inspect
from qnn_jax.errors import InputError
from qnn_jax.sklearn import QuadraticLogisticRegression, QuadraticRegressor, _columns, _lbfgs


@pytest.fixture(scope="module")
def iris():
  X, y = load_iris(return_X_y=True)
  return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def diabetes():
  X, y = load_diabetes(return_X_y=True)
  return StandardScaler().fit_transform(X[:, :4]), y


def poly(X):
  return PolynomialFeatures(2, include_bias=False).fit_transform(X)


def tight(**arguments):
  return QuadraticLogisticRegression(tol=1e-9, max_iter=2000, **arguments)


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 3.0}])
def test_two_classes_are_logistic_regression_on_the_columns(iris, alpha, class_weight):
  X, y = iris[0][30:], (iris[1][30:] == 1).astype(int)
  weights = np.random.default_rng(0).uniform(0, 2, len(y))
  peer = LogisticRegression(C=1 / alpha, class_weight=class_weight, tol=1e-9, max_iter=5000)
  peer.fit(poly(X), y, weights)
  ours = tight(alpha=alpha, class_weight=class_weight, standardize=False).fit(X, y, weights)
  np.testing.assert_allclose(
    ours.decision_function(X), peer.decision_function(poly(X)), rtol=1e-3, atol=2e-3
  )
  np.testing.assert_allclose(ours.intercept_, peer.intercept_, rtol=1e-3)


def test_more_classes_are_one_softmax(iris):
  X, y = iris
  weights = np.random.default_rng(0).uniform(0, 2, len(y))
  ours = tight(standardize=False).fit(X, y, weights)
  peer = LogisticRegression(tol=1e-9, max_iter=5000).fit(poly(X), y, weights)
  np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(poly(X)), atol=2e-4)
  np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)), atol=1e-9)


@pytest.mark.parametrize("neurons", [1, 3])
def test_products_of_x_are_those_of_its_columns(monkeypatch, neurons):
  rng = np.random.default_rng(0)
  x, theta, r = (
    rng.normal(size=(50, 4)),
    rng.normal(size=(14, neurons)),
    rng.normal(size=(50, neurons)),
  )
  phi = poly(x)
  monkeypatch.setattr(_columns, "_CHUNK", 1)
  monkeypatch.setattr(_columns, "_BLOCK", 3)
  for stored in (2**23, 0):
    monkeypatch.setattr(_columns, "STORED", stored)
    operator = _columns.columns(x)
    np.testing.assert_allclose(operator.matmat(theta), phi @ theta)
    np.testing.assert_allclose(operator.rmatmat(r), phi.T @ r)
  weights = rng.uniform(size=50)
  mean, variance = _columns.moments(x, weights)
  np.testing.assert_allclose(mean, np.average(phi, axis=0, weights=weights))
  np.testing.assert_allclose(variance, np.average((phi - mean) ** 2, axis=0, weights=weights))
  q, w = _columns.neurons(theta, 4)
  np.testing.assert_allclose(np.einsum("ni,kij,nj->nk", x, q, x) + x @ w.T, phi @ theta)
  np.testing.assert_allclose(_columns.coefficients(q, w), theta)


@pytest.mark.parametrize(
  "loss", [_lbfgs.cross_entropy, _lbfgs.softmax_cross_entropy, _lbfgs.half_squared_error]
)
def test_derivatives_are_finite_differences(loss):
  z, y, h = np.random.default_rng(0).normal(0, 3, (7, 3)), np.eye(3)[np.arange(7) % 3], 1e-6
  for k in range(3):
    step = h * np.eye(3)[k]
    slope = (loss(z + step, y)[0] - loss(z - step, y)[0]).sum(1) / (2 * h)
    np.testing.assert_allclose(loss(z, y)[1][:, k], slope, atol=1e-7)


def test_features_of_order_one_are_taken_as_they_are():
  X, y = load_iris(return_X_y=True)
  for factor, standardize in ((1, False), (100, True)):
    chosen, told = (
      QuadraticLogisticRegression(standardize=s).fit(factor * X, y) for s in ("auto", standardize)
    )
    assert (chosen.quadratic_ == told.quadratic_).all()


def test_float32_stays(iris):
  X, y = iris
  wide, narrow = tight().fit(X, y), tight().fit(X.astype(np.float32), y)
  for name in ("quadratic_", "linear_", "intercept_"):
    assert getattr(narrow, name).dtype == np.float32
    assert getattr(wide, name).dtype == np.float64
  p = narrow.predict_proba(X.astype(np.float32))
  assert p.dtype == np.float32
  np.testing.assert_allclose(p, wide.predict_proba(X), atol=0.01)


def test_what_is_not_converged_is_told(iris):
  with pytest.warns(ConvergenceWarning, match="not converged after max_iter=2 iterations") as told:
    model = QuadraticLogisticRegression(max_iter=2).fit(*iris)
  assert told[0].filename == __file__
  assert model.n_iter_ == 2 == len(model.loss_curve_)
  model = QuadraticLogisticRegression().fit(*iris)
  assert 2 < model.n_iter_ < 100
  assert (np.diff(model.loss_curve_) < 0).all()


def test_a_warm_start_is_already_there(iris):
  X, y = iris
  model = QuadraticLogisticRegression(warm_start=True).fit(X, y)
  first = model.n_iter_
  # Almost the same samples, with a scaling of their own: the neurons are carried over.
  assert model.fit(X[3:], y[3:]).n_iter_ < first / 2
  assert model.fit(X[3:], y[3:]).n_iter_ <= 2
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    model.fit(X[:100], y[:100])  # of two classes now: no start


def test_verbose_tells_every_iteration(iris, capsys):
  model = QuadraticLogisticRegression(verbose=True).fit(*iris)
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == model.n_iter_
  assert lines[0].startswith("QuadraticLogisticRegression: iteration 1: loss ")


@pytest.mark.parametrize("solver", ["cholesky", "lbfgs"])
def test_the_regressor_is_ridge_on_the_columns(diabetes, solver):
  X, y = diabetes
  y = np.stack([y, X[:, 0] * X[:, 1] - y], axis=1)
  weights = np.random.default_rng(0).uniform(0.1, 2, len(y))
  peer = Ridge(2.0).fit(poly(X), y, weights)
  ours = QuadraticRegressor(solver=solver, alpha=2.0, standardize=False, tol=1e-9, max_iter=3000)
  ours.fit(X, y, weights)
  np.testing.assert_allclose(ours.predict(X), peer.predict(poly(X)), rtol=1e-4, atol=0.01)
  q, w, b = inspect.quadric(ours)
  z = np.einsum("ni,kij,nj->nk", X, q, X) + X @ w.T + b
  np.testing.assert_allclose(z, ours.predict(X), rtol=1e-9, atol=1e-8)


def test_columns_that_would_fill_the_memory_are_refused():
  X = np.zeros((2000, 600), np.float32)
  with pytest.raises(InputError, match="1.3 GiB of columns .* use solver='lbfgs'"):
    QuadraticRegressor().fit(X, X[:, 0])
