"""scikit-learn's own checks of its estimators, in every solver."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from qnn_jax.sklearn import QuadraticLogisticRegression, QuadraticRegressor


def expected(estimator):
  """As scikit-learn has it for SGDClassifier and SGDRegressor."""
  if estimator.solver != "sgd":
    return {}
  return {
    "check_sample_weight_equivalence_on_dense_data": "a sample of weight 2 is one step of twice the "
    "length, not two steps at two places of the order"
  }


@parametrize_with_checks(
  [
    *(QuadraticLogisticRegression(solver=s) for s in QuadraticLogisticRegression.SOLVERS),
    *(QuadraticRegressor(solver=s) for s in QuadraticRegressor.SOLVERS),
  ],
  expected_failed_checks=expected,
)
def test_scikit_learns_own_checks(estimator, check):
  check(estimator)
