"""The estimator is a scikit-learn classifier, and the quadric it reports is the one it uses."""

import functools
import pickle
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_circles
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from qnn_jax.errors import InputError
from qnn_jax.sklearn import QuadraticLogisticRegression, _sgd
from qnn_jax.training import logistic

sgd = functools.partial(QuadraticLogisticRegression, solver="sgd")
XOR = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]]), np.array(["no", "yes", "yes", "no"])


@pytest.fixture(scope="module")
def circles():
  return make_circles(200, noise=0.1, factor=0.4, random_state=0)


@pytest.fixture(scope="module")
def iris():
  return load_iris(return_X_y=True)


def test_learns_what_a_line_cannot(circles):
  assert cross_val_score(LogisticRegression(), *circles, cv=3).max() < 0.7
  assert cross_val_score(QuadraticLogisticRegression(random_state=0), *circles, cv=3).min() > 0.95


@pytest.mark.fast
@pytest.mark.parametrize("init", ["zeros", "identity", "random"])
def test_learns_xor_from_any_start(init):
  model = sgd(init=init, random_state=0).fit(*XOR)
  assert model.score(*XOR) == 1
  assert model.predict_proba(XOR[0]).argmax(1).tolist() == [0, 1, 1, 0]


def test_several_classes(iris):
  X, y = iris
  model = QuadraticLogisticRegression(random_state=0).fit(X, np.array(["c", "a", "b"])[y])
  assert model.classes_.tolist() == ["a", "b", "c"]
  assert model.score(X, np.array(["c", "a", "b"])[y]) > 0.95
  p = model.predict_proba(X)
  assert p.shape == (150, 3)
  np.testing.assert_allclose(p.sum(1), 1)
  assert (model.classes_[p.argmax(1)] == model.predict(X)).all()
  np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("standardize", [True, False])
def test_the_reported_quadric_is_the_one_used(iris, standardize, solver):
  X, y = iris
  model = QuadraticLogisticRegression(solver=solver, standardize=standardize, tol=1e-2)
  model.set_params(random_state=0).fit(X, y)
  assert model.quadratic_.shape == (3, 4, 4)
  assert (model.quadratic_ == model.quadratic_.swapaxes(1, 2)).all()
  z = np.einsum("ni,kij,nj->nk", X, model.quadratic_, X) + X @ model.linear_.T + model.intercept_
  np.testing.assert_allclose(z, model.decision_function(X), rtol=1e-9, atol=1e-9)


@pytest.mark.fast
def test_two_classes_take_the_papers_one_neuron():
  # No scaling, Q = I, the order drawn by the estimator: the printed equations give the same neuron.
  X, y = XOR
  model = sgd(learning_rate=0.1, max_iter=3, init="identity", standardize=False, random_state=7)
  model.fit(X, y)
  order = np.random.RandomState(7).permutation(4)
  q, w, b = np.eye(2, dtype=np.float32), np.zeros(2, np.float32), np.float32(0)
  targets = (y == "yes").astype(np.float32)
  for _ in range(3):
    q, w, b = logistic.epoch_reference(q, w, b, X[order], targets[order], 0.1)
  np.testing.assert_allclose(model.quadratic_[0], q, rtol=1e-5)
  np.testing.assert_allclose(model.linear_[0], w, atol=1e-6)
  np.testing.assert_allclose(model.intercept_, [b], rtol=1e-5)


def test_the_automatic_rate_is_what_it_says(iris):
  X, y = iris
  model = sgd(standardize=False, max_iter=1).fit(X, y)
  phi = np.asarray(logistic.features(X.astype(np.float32)))
  assert model.learning_rate_ == pytest.approx(1 / (phi**2).sum(1).mean(), rel=1e-5)


def test_units_and_offsets_do_not_matter(circles):
  X, y = circles
  model = sgd(standardize=True, random_state=0)
  moved = X * [1e6, 1e-6] + [3e7, -2e-5]
  p, q = model.fit(X, y).predict_proba(X), model.fit(moved, y).predict_proba(moved)
  np.testing.assert_allclose(p, q, atol=1e-4)


def test_too_many_features_to_store_give_the_same(iris, monkeypatch):
  model = sgd(max_iter=5, random_state=0)
  stored = model.fit(*iris).quadratic_
  monkeypatch.setattr(_sgd, "STORED", 0)
  np.testing.assert_allclose(model.fit(*iris).quadratic_, stored, rtol=1e-3, atol=1e-6)


def test_confident_probabilities_stay_finite(iris):
  X, y = iris
  model = QuadraticLogisticRegression(random_state=0).fit(X, y)
  far = 1e6 * np.ones((1, 4))
  assert np.isfinite(model.predict_log_proba(far)).all()
  np.testing.assert_allclose(model.predict_proba(far).sum(1), 1)


def test_pipeline_grid_search_clone_and_pickle(circles):
  X, y = circles
  pipeline = make_pipeline(PolynomialFeatures(1, include_bias=False), sgd(random_state=0))
  grid = {"quadraticlogisticregression__max_iter": [1, 50]}
  search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
  assert search.best_score_ > 0.95
  best = search.best_estimator_
  assert (pickle.loads(pickle.dumps(best)).predict_proba(X) == best.predict_proba(X)).all()
  assert (clone(best).fit(X, y).predict_proba(X) == best.predict_proba(X)).all()


@pytest.mark.parametrize(
  "X, y, message",
  [
    ([[np.nan, 0], [1, 1]], [0, 1], "contains NaN"),
    ([[np.inf, 0], [1, 1]], [0, 1], "infinity"),
    ([[0, 0], [1, 1]], [1, 1], "at least 2 classes.*only one class: .*1"),
    ([[0, 0], [1, 1]], [0.5, 1.5], "Unknown label type: continuous"),
    ([[0, 0], [1, 1]], [0, 1, 1], "inconsistent numbers of samples"),
    ([0, 1], [0, 1], "Expected 2D array"),
  ],
)
def test_bad_data_is_refused_as_scikit_learn_does(X, y, message):
  with pytest.raises(ValueError, match=message):
    QuadraticLogisticRegression().fit(X, y)


def test_another_number_of_features_is_refused():
  model = sgd(max_iter=1).fit(*XOR)
  with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 2 features"):
    model.predict(np.zeros((1, 3)))
  with pytest.raises(ValueError, match="contains NaN"):
    model.predict([[np.nan, 0]])


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"learning_rate": 0}, "learning_rate must be 'auto' or a positive number, got 0"),
    ({"learning_rate": "fast"}, "learning_rate must be 'auto' or a positive number, got 'fast'"),
    ({"learning_rate": np.nan}, "learning_rate must be 'auto' or a positive number, got nan"),
    ({"max_iter": 0}, "max_iter must be a whole number from 1 up, got 0"),
    ({"max_iter": 1.5}, "max_iter must be a whole number from 1 up, got 1.5"),
    ({"init": "ones"}, "init must be one of zeros, identity, random, got 'ones'"),
  ],
)
def test_bad_parameters(arguments, message):
  with pytest.raises(InputError, match=re.escape(message)):
    QuadraticLogisticRegression(**arguments).fit(*XOR)


@pytest.mark.parametrize("size", [1e25, 1e100])
def test_a_training_that_leaves_the_floats_says_so(size):
  X, y = XOR
  with pytest.raises(InputError, match="standardize=True"):
    sgd(standardize=False).fit(size * X, y)


def test_the_package_does_not_need_scikit_learn():
  program = """
    import sys
    sys.modules["sklearn"] = None  # as if it were not installed
    import qnn_jax, qnn_jax.training.logistic
    try:
      import qnn_jax.sklearn
    except ImportError as error:
      print(error)
  """
  done = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
  )
  assert "pip install 'qnn_jax[sklearn]'" in done.stdout
