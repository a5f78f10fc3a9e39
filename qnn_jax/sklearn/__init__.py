"""The quadratic neurons of Section 2 as scikit-learn estimators: a classifier and a regressor.

Only this package needs scikit-learn, which is an optional extra: `pip install 'qnn_jax[sklearn]'`.
"""

try:
  import sklearn as _  # noqa: F401
except ImportError as error:
  raise ImportError(
    "qnn_jax.sklearn needs scikit-learn 1.7 or later: pip install 'qnn_jax[sklearn]'"
  ) from error

from qnn_jax.sklearn._classifier import QuadraticLogisticRegression
from qnn_jax.sklearn._regressor import QuadraticRegressor

__all__ = ["QuadraticLogisticRegression", "QuadraticRegressor"]
